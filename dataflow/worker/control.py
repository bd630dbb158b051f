"""What reaches a batch while it runs: the wish that it stop, and Ctrl-C.

Lives here: :class:`Control`, and which one the running code is under. Does not live here: how the
wish travels (runners).
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar


class Control:
    """Polled by a running batch before each element; set from any thread.

    Parameters
    ----------
    around
        Of a batch that runs within another one's thread: whoever wants to be
        told of a stop is told of that one's.

    Attributes
    ----------
    worker
        How the worker is called in the records, where it is another process than the flow's.
    interrupt
        The KeyboardInterrupt that met an element in the main thread: to be raised again
        when the batch has been reported.
    """

    __slots__ = ("_around", "_told", "interrupt", "stopped", "worker")

    def __init__(self, around: Control | None = None) -> None:
        self.stopped = False
        self.worker: str | None = None
        self.interrupt: BaseException | None = None
        self._told: list[Callable[[], None]] | None = None
        self._around = around

    def stop(self) -> None:
        """Ask the batch to hand back what it has not started, and what it started to end."""
        self.stopped = True
        for tell in list(self._told or ()):
            tell()

    def interrupted(self, error: BaseException) -> None:
        """Stop, since an element met Ctrl-C."""
        self.interrupt = error
        self.stopped = True

    def on_stop(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` when a stop is asked for, perhaps twice; at once if it was."""
        if self._around is not None:
            self._around.on_stop(tell)
            return
        if self._told is None:
            self._told = []
        self._told.append(tell)
        if self.stopped:  # looked at last: a stop in between is not missed
            tell()

    def forget(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` no more."""
        if self._around is not None:
            self._around.forget(tell)
        elif self._told is not None and tell in self._told:
            self._told.remove(tell)


current_control: ContextVar[Control | None] = ContextVar("dataflow_control", default=None)
