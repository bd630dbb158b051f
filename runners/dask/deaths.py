"""What is known of a worker's death: signal, exit status, memory.

Lives here: watching the worker processes whose nannies live in this process,
and what nannies elsewhere tell the scheduler. Does not live here: what a death
leads to (``trouble.py``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from signal import Signals
from typing import Any

from dataflow.memory_kills import MemoryKills, why_killed
from runners.dask import compat

_KEPT = 256
_UNKNOWN_SIGNAL = 255  # what Dask reports when somebody else has read the exit status


class Deaths:
    """Knows how workers died, by address.

    Parameters
    ----------
    cluster
        A cluster object of this process, or None.
    """

    def __init__(self, cluster: Any | None) -> None:
        self._cluster = cluster
        self._processes: dict[str, compat.Process] = {}
        self._nameless: list[compat.Process] = []  # their nanny does not know the address yet
        self._memory: dict[str, str] = {}
        self._limits: dict[str, int | None] = {}
        self._kills: dict[int | None, MemoryKills] = {}  # by pid, from when it was seen alive last
        self._guard = threading.Lock()
        self.refresh()

    @property
    def expects_news(self) -> bool:
        """Whether worker processes are watched, so that a cause will be known in a moment."""
        return bool(self._processes or self._nameless)

    def refresh(self) -> None:
        """Note which process belongs to which worker."""
        with self._guard:
            named = {id(process) for process in self._processes.values()}
            for address, process in compat.worker_processes(self._cluster):
                if id(process) in named:
                    continue
                if address is not None and address not in self._processes:
                    self._processes[address] = process
                    named.add(id(process))
                elif process.exitcode is None and all(
                    process is not other for other in self._nameless
                ):
                    # a nanny that restarts its worker tells the old address for a while; one
                    # that has ended when it is first seen died of something before our time
                    self._nameless.append(process)
            self._nameless = [p for p in self._nameless if id(p) not in named][-_KEPT:]
            while len(self._processes) > _KEPT:
                self._processes.pop(next(iter(self._processes)))
            watched, now = [*self._processes.values(), *self._nameless], MemoryKills()
            self._kills = {
                process.pid: now if process.exitcode is None else self._kills.get(process.pid, now)
                for process in watched}

    def memory_kill(self, address: str, pid: int, rss: int) -> None:
        """Note that a nanny says it killed a worker for its memory."""
        limit = self._limits.get(address)
        near = "its memory limit" if not limit else (
            f"its memory limit of {limit / 2**20:.0f} MiB")
        with self._guard:
            self._memory[address] = (
                f"process {pid} was killed by its nanny, out of memory: it used "
                f"{rss / 2**20:.0f} MiB, too near {near}"
            )

    def knows_limits_of(self, addresses: Iterable[str]) -> bool:
        """Tell whether :meth:`limits` has heard of all these workers."""
        return all(address in self._limits for address in addresses)

    def limits(self, limits: Mapping[str, int | None]) -> None:
        """Note how much memory workers may use, in bytes; None: as much as they want."""
        self._limits.update(limits)
        while len(self._limits) > _KEPT:
            self._limits.pop(next(iter(self._limits)))

    def forget(self, address: str) -> None:
        """A new worker has this address: what is known of the one before it is over."""
        with self._guard:
            self._memory.pop(address, None)
            for named, process in compat.worker_processes(self._cluster):
                if named == address and process.exitcode is None:
                    self._processes[address] = process

    def cause(self, address: str) -> str | None:
        """Return how a worker died, None when nothing is known (yet)."""
        with self._guard:
            if address in self._memory:
                return self._memory[address]
            process = self._processes.get(address)
            if process is None:
                return self._nameless_cause(address)
        return None if process.exitcode is None else self._described(process)

    def _described(self, process: compat.Process) -> str:
        """Return how a process ended, and whether the kernel says that it was for its memory."""
        pid, code = process.pid, process.exitcode or 0
        why = None if pid is None else why_killed(code, pid, self._kills.get(pid))
        return describe(pid, code) + (f" ({why})" if why is not None else "")

    def _nameless_cause(self, address: str) -> str | None:
        """Return how a worker died whose nanny did not know its address yet."""
        ended = [process for process in self._nameless if process.exitcode is not None]
        if len(ended) == 1:
            self._nameless.remove(ended[0])
            self._processes[address] = ended[0]
            return self._described(ended[0])
        codes = {process.exitcode or 0 for process in ended}
        return describe(None, codes.pop()) if len(codes) == 1 else None


def describe(pid: int | None, exitcode: int) -> str:
    """Return an exit code as words; without ``pid`` where it is not certain."""
    who = "its process" if pid is None else f"process {pid}"
    if exitcode == _UNKNOWN_SIGNAL:
        return f"{who} ended in an unknown way"
    if exitcode >= 0:
        return f"{who} exited with status {exitcode}"
    try:
        name = Signals(-exitcode).name
    except ValueError:
        name = "unknown"
    return f"{who} was killed by signal {-exitcode} ({name})"
