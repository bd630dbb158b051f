"""The one thing that reaches a batch while it runs: the wish that it stop.

Lives here: :class:`Control`. Does not live here: how the wish travels (runners).
"""

from __future__ import annotations


class Control:
    """Polled by a running batch before each element; set from any thread."""

    __slots__ = ("stopped",)

    def __init__(self) -> None:
        self.stopped = False

    def stop(self) -> None:
        """Ask the batch to hand back what it has not started."""
        self.stopped = True
