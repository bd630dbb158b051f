"""Whether the kernel killed a process for its memory: asked where it says so.

Lives here: the kernel's counter of such kills in a control group, its log, and what a process's
exit code then reads like. Does not live here: whose processes these are (``worker/isolate.py``,
``service/processes.py``), what Dask's nanny says (``runners/dask/deaths.py``).

A process that was killed by SIGKILL says nothing of who did it. Two places do: the control group
(cgroup v2 ``memory.events``, v1 ``memory.oom_control``) counts the kills among its processes,
and the kernel's log names each process by its id, which is ours unless we live in a container.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

OUT_OF_MEMORY = "killed by the kernel: out of memory"
PERHAPS = "out of memory, perhaps"

_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_KILLED = re.compile(r"[Kk]illed process (\d+)\b")
_FIRST_NAMESPACE = "pid:[4026531836]"  # of process ids: the kernel's own
_EARLIER_S = 1.0  # the log's clock and ours may differ by so much
_RECORD_BYTES = 8192


class MemoryKills:
    """What the kernel said of kills for memory before a process died; asked again afterwards.

    Parameters
    ----------
    counter
        The file of the control group that the process is in; None: there is none.
    log
        Reads the kernel's log: lines with the seconds since the machine's start.
    """

    def __init__(self, counter: Path | None = None, *,
                 log: Callable[[], Iterable[tuple[float, str]]] | None = None) -> None:
        self._counter = own_counter() if counter is None else counter
        self._log = kernel_log if log is None else log
        self.look()

    def look(self) -> None:
        """Note that the process is alive by now: kills until here were of others."""
        self._since_s = time.monotonic()
        self._count = _count(self._counter)

    def had(self, pid: int) -> bool:
        """Tell whether the kernel says that it killed a process that is dead by SIGKILL.

        The counter names no process: it speaks of this one where it went up since it was
        looked at while the process was alive.
        """
        now = _count(self._counter)
        if now is not None and self._count is not None and now > self._count:
            return True
        return any(
            int(killed[1]) == pid and at_s >= self._since_s - _EARLIER_S
            for at_s, line in self._log() if (killed := _KILLED.search(line)) is not None)


def own_counter() -> Path | None:
    """Return the file that counts the kills in this process's control group, if there is one."""
    return _counter_of("/proc/self/cgroup", "/sys/fs/cgroup")


@cache
def _counter_of(groups: str, root: str) -> Path | None:
    try:
        lines = Path(groups).read_text().splitlines()
    except OSError:  # no Linux
        return None
    return counter_in(lines, Path(root))


def counter_in(groups: Iterable[str], root: Path) -> Path | None:
    """Return the counter of a control group.

    Parameters
    ----------
    groups
        Lines of ``/proc/<pid>/cgroup``: ``0::/path``, or ``4:memory:/path`` in version 1.
    root
        Where control groups are mounted.
    """
    for line in sorted(groups, key=lambda line: not line.startswith("0::")):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mounts, name = [root, root / "unified"], "memory.events"
        elif "memory" in controllers.split(","):
            mounts, name = [root / "memory"], "memory.oom_control"
        else:
            continue
        for mount in mounts:
            for folder in (mount / path.strip("/"), mount):  # in a container its own is on top
                if _count(folder / name) is not None:
                    return folder / name
    return None


def _count(counter: Path | None) -> int | None:
    if counter is None:
        return None
    try:
        found = _COUNT.search(counter.read_text())
    except OSError:
        return None
    return None if found is None else int(found[1])


def kernel_log() -> list[tuple[float, str]]:
    """Return the kernel's log, empty where it may not be read or knows other process ids."""
    lines: list[tuple[float, str]] = []
    with suppress(OSError):
        if os.readlink("/proc/self/ns/pid") != _FIRST_NAMESPACE:
            return lines
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        try:
            while True:
                with suppress(BrokenPipeError):  # what was to be read next is overwritten by now
                    record = os.read(log, _RECORD_BYTES).decode("utf-8", "replace")
                    head, _, text = record.partition(";")
                    lines.append((int(head.split(",")[2]) / 1e6, text))
        except (BlockingIOError, ValueError, IndexError):  # the end, or a record of another form
            pass
        finally:
            os.close(log)
    return lines


def why_killed(code: int, pid: int, kills: MemoryKills | None) -> str | None:
    """Return what is to be said of memory where a process has ended; None: nothing.

    Parameters
    ----------
    code
        Its exit code, or the negative number of a signal.
    pid
        The process.
    kills
        Looked at while it was alive; None: nobody did.
    """
    if code != -signal.SIGKILL:
        return None
    return OUT_OF_MEMORY if kills is not None and kills.had(pid) else PERHAPS
