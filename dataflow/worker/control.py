"""What reaches a batch while it runs: the wish that it stop, and Ctrl-C.

Lives here: :class:`Control`. Does not live here: how the wish travels (runners).
"""

from __future__ import annotations


class Control:
    """Polled by a running batch before each element; set from any thread.

    Attributes
    ----------
    interrupt
        The KeyboardInterrupt that met an element in the main thread: to be raised again
        when the batch has been reported.
    """

    __slots__ = ("interrupt", "stopped")

    def __init__(self) -> None:
        self.stopped = False
        self.interrupt: BaseException | None = None

    def stop(self) -> None:
        """Ask the batch to hand back what it has not started."""
        self.stopped = True

    def interrupted(self, error: BaseException) -> None:
        """Stop, since an element met Ctrl-C."""
        self.interrupt = error
        self.stopped = True
