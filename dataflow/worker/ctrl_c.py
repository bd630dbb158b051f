"""Ctrl-C, told from a KeyboardInterrupt that a task raises itself.

Lives here: that one question. The first is meant for the flow, the second is a
crash of the task like ``SystemExit``. Does not live here: what follows
(``attempt.py``, ``runners/inline.py``).
"""

from __future__ import annotations

import dis
import signal
import threading
from types import TracebackType

_RAISE = dis.opmap["RAISE_VARARGS"]


def is_ctrl_c(error: BaseException) -> bool:
    """Tell whether an exception came by a signal: in the main thread, by no ``raise``."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    if threading.current_thread() is not threading.main_thread():
        return False
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is None or not _by_raise(last)


def _by_raise(last: TracebackType) -> bool:
    """Tell whether the innermost frame is at a ``raise`` of its own accord.

    A handler written in Python raises on behalf of the signal, and so does ``asyncio.run``.
    """
    code = last.tb_frame.f_code
    if code.co_code[last.tb_lasti] != _RAISE:
        return False
    handler = getattr(signal.getsignal(signal.SIGINT), "__code__", None)
    return code is not handler and last.tb_frame.f_globals.get("__name__") != "asyncio.runners"
