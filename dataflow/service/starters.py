"""How a worker begins runs: what it asks of processes, of this process, of commands.

Lives here: the contract. Does not live here: its kinds (``processes.py``, ``inline.py``,
``commands.py``), which of them a worker has (``worker_kinds.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dataflow.agenda import QueuedRun
from dataflow.memory_kills import MemoryKills
from dataflow.service.orders import Order


class Begun(Protocol):
    """A run that was begun."""

    @property
    def pid(self) -> int:
        """Return the id of the process that stands for it here."""

    @property
    def kills(self) -> MemoryKills | None:
        """Return what says whether the kernel killed it for its memory; None: nobody asked it."""

    @property
    def told_to_end(self) -> bool:
        """Tell whether it was cancelled."""

    def exit_code(self) -> int | None:
        """Return how it ended, the negative number of a signal, None while it goes on."""

    def words(self) -> str | None:
        """Return what was said by a command that has ended; None: it is no command."""

    def cancel(self, now_s: float, patience_s: float) -> None:
        """Interrupt the flow as Ctrl-C would; called again and again, past the patience, end it.

        ``now_s`` is of a clock that nobody sets.
        """

    def kill(self) -> None:
        """End it at once: the run is another worker's."""

    def end_children(self) -> None:
        """End what it left behind when it was killed."""


class Starter(Protocol):
    """Begins runs."""

    def begin(self, run: QueuedRun, order: Order, ended: Callable[[], object]) -> Begun:
        """Begin a run; ``ended`` is called, in a thread, when it has ended.

        Raises OSError or RuntimeError where nothing was begun, for want of resources.
        """

    def prepare(self) -> None:
        """Get ready for the next run."""

    def close(self) -> None:
        """End what was got ready."""
