"""What a loop says again and again while something is away, said once a minute.

Lives here: whether a text is worth saying now. Does not live here: any log.
"""

from __future__ import annotations

import time
from collections.abc import Callable

AGAIN_S = 60.0
_KEPT = 20


class SaidLately:
    """Remembers what was said; of one thread.

    Parameters
    ----------
    monotonic
        Gives seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._said: dict[str, float] = {}

    def is_new(self, text: str) -> bool:
        """Tell whether a text was not said within ``AGAIN_S``, and note that it is said now."""
        now_s = self._monotonic()
        said_s = self._said.get(text)
        if said_s is not None and now_s - said_s < AGAIN_S:
            return False
        if len(self._said) >= _KEPT:
            self._said.clear()
        self._said[text] = now_s
        return True
