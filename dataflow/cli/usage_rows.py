"""What runs and task runs used, as the command line shows it.

Lives here: processor time and memory as people read them, what the calls of a table's row used
together, the machine that a worker's name leads to. Does not live here: measuring and adding up
(``worker/usage.py``, ``run_usage.py``), layout (``rendering.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from dataflow.cli.rendering import seconds_text
from dataflow.store import CallRow, CallUsage, Store, TaskRunRow

UNKNOWN = "-"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

Usages = Mapping[tuple[str, int], CallUsage]
"""By id of the run and number of the call."""


def usages_of(store: Store, flow_run_id: str) -> Usages:
    """Return what the calls of a flow run used, of every depth."""
    return {(each.run_id, each.call): each for each in store.usage(flow_run_id)}


def together(usages: Usages, calls: Iterable[CallRow]) -> tuple[float | None, int | None]:
    """Return the processor time of calls in all, and the highest memory of a process of theirs."""
    found = [used for call in calls if (used := usages.get((call.run_id, call.call))) is not None]
    cpu = [used.cpu_s for used in found if used.cpu_s is not None]
    peaks = [used.peak_bytes for used in found if used.peak_bytes is not None]
    return sum(cpu) if cpu else None, max(peaks, default=None)


def cpu_text(cpu_s: float | None, *, estimated: bool = False) -> str:
    """Return processor time, e.g. ``12.3 s``; a share of a batch is said to be one."""
    if cpu_s is None:
        return UNKNOWN
    text = seconds_text(cpu_s)
    return f"about {text} (a share of its batch)" if estimated else text


def memory_text(size_bytes: int | None) -> str:
    """Return memory, e.g. ``1.2 GiB``."""
    if size_bytes is None:
        return UNKNOWN
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1023.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def host_of(row: TaskRunRow, run_host: str | None) -> str | None:
    """Return the machine that a task run was on: that of its worker's address, or of the run's."""
    if row.worker is None:
        return None
    address = row.worker.split()[0]
    there = urlsplit(address).hostname if "://" in address else None
    if there is None or there in _LOOPBACK or address.startswith("inproc:"):
        return run_host
    return there
