"""Bytes of a command's output become lines, of which the last are kept.

Lives here: splitting and the bounded memory of lines. Does not live here:
where bytes come from (``process.py``).
"""

from __future__ import annotations

import codecs
import re
from collections import deque

LINE_LIMIT = 32 * 1024
"""Characters after which a line without an end is cut into pieces."""

_END = re.compile(r"\r\n|\r|\n")


class LineSplitter:
    r"""Splits a stream of UTF-8 at ``\n``, ``\r\n`` and ``\r``; what is not UTF-8 is replaced.

    A line ended by ``\r`` (a progress bar) is given out at once.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun: list[str] = []  # pieces of a line whose end has not come
        self._length = 0
        self._after_return = False

    def feed(self, data: bytes, *, last: bool = False) -> list[str]:
        """Return the lines that have ended; with ``last`` also one without an end."""
        text = self._decoder.decode(data, last)
        if self._after_return and text:
            text = text.removeprefix("\n")
            self._after_return = False
        self._after_return = self._after_return or text.endswith("\r")
        *ended, rest = _END.split(text)
        lines: list[str] = []
        for line in ended:
            lines += self._ended(line)
        self._begun.append(rest)
        self._length += len(rest)
        if self._length > LINE_LIMIT or (last and self._length):
            pieces = self._ended("")
            if not last:
                rest = pieces.pop()
                self._begun, self._length = [rest], len(rest)
            lines += pieces
        return lines

    def _ended(self, end: str) -> list[str]:
        line = "".join(self._begun) + end
        self._begun, self._length = [], 0
        return [line[at:at + LINE_LIMIT] for at in range(0, len(line), LINE_LIMIT)] or [""]


class Tail:
    """The last lines of a stream, and how many there were.

    Parameters
    ----------
    keep
        Lines kept; None keeps all.
    """

    def __init__(self, keep: int | None) -> None:
        self._lines: deque[str] = deque(maxlen=keep)
        self.count = 0

    def add(self, line: str) -> None:
        """Take a line; the first one goes when there are too many."""
        self._lines.append(line)
        self.count += 1

    def last(self, count: int | None = None) -> list[str]:
        """Return the lines kept, or the last ``count`` of them."""
        for _ in range(3):
            try:
                lines = list(self._lines)
                break
            except RuntimeError:  # another thread adds lines just now
                continue
        else:
            lines = list(self._lines.copy())
        return lines if count is None else lines[max(0, len(lines) - count):]
