"""How much memory this process had in use at most.

Lives here: :func:`peak_memory`, cheap enough to be asked after each batch. Does not live here:
processor time (``worker/usage.py``), who was killed for its memory (``memory_kills.py``).

Linux hands the figure of ``getrusage`` down from the process that started this one: a small
child of a large parent says that it was as large. So it counts only where it is above what it
was at the first look; until then ``/proc`` is asked, which costs 13 µs instead of 1.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # asked for before it is used

_KIB = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
_HIGH_WATER = re.compile(rb"^VmHWM:\s*(\d+) kB", re.MULTILINE)


def peak_memory() -> int | None:
    """Return the most memory that this process has had in use so far.

    Returns
    -------
    int or None
        Resident bytes, of all threads together and since the process began; None where the
        platform does not tell.
    """
    return _of_this_process.peak()


def _by_rusage() -> int | None:
    if resource is None:
        return None
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * _KIB


def _by_proc() -> int | None:
    with suppress(OSError), open("/proc/self/status", "rb") as status:
        found = _HIGH_WATER.search(status.read())
        return None if found is None else int(found[1]) * 1024
    return None


class PeakMemory:
    """Asks the cheap source where it speaks of this process, else the dear one.

    Parameters
    ----------
    cheap
        Bytes, maybe those of the process that started this one.
    sure
        Bytes of this process; None where that source is not there.
    """

    def __init__(self, cheap: Callable[[], int | None],
                 sure: Callable[[], int | None]) -> None:
        self._cheap, self._sure = cheap, sure
        self._handed_down: int | None = None  # what the cheap source said at first
        self._lock = threading.Lock()

    def peak(self) -> int | None:
        """Return the most bytes in use so far."""
        said = self._cheap()
        with self._lock:
            if self._handed_down is None:
                own = self._sure()
                self._handed_down = 0 if own is None or said is None or said <= own else said
        if said is not None and said > self._handed_down:
            return said
        return self._sure()


_of_this_process = PeakMemory(_by_rusage, _by_proc)
