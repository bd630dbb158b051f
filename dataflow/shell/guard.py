"""No command outlives the process that started it, however that one ends.

Lives here: one ``/bin/sh`` beside this process, started with the first command.
It reads the process groups that live from a pipe; when the pipe ends, because
this process is gone (``SIGKILL`` included), it ends the groups that are left:
TERM, then KILL after the grace. Does not live here: the orderly end of a
command (``process.py``).
"""

from __future__ import annotations

import os
import threading

SHELL = "/bin/sh"
GRACE_S = 2

_SCRIPT = """
trap '' INT TERM HUP QUIT PIPE TSTP
cd /
live=
while read -r sign group; do
  if [ "$sign" = + ]; then
    live="$live $group"
  else
    left=
    for one in $live; do [ "$one" = "$group" ] || left="$left $one"; done
    live=$left
  fi
done
[ -n "$live" ] || exit 0
for one in $live; do kill -s TERM -- "-$one"; done
left=$1
while [ $left -gt 0 ]; do
  sleep 0.1
  left=$((left - 1))
  any=
  for one in $live; do kill -s 0 -- "-$one" && any=1; done
  [ -n "$any" ] || exit 0
done
for one in $live; do kill -s KILL -- "-$one"; done
"""

_lock = threading.Lock()
_pipe: int | None = None
_live: set[int] = set()


def prepare() -> None:
    """Start the guard where it is not there yet, so that telling it later is one write."""
    with _lock:
        if _pipe is None:
            _start()


def watch(group: int) -> None:
    """End this process group when this process is gone."""
    with _lock:
        _live.add(group)
        if not _tell(f"+ {group}\n"):  # somebody has killed the guard
            _start()


def forget(group: int) -> None:
    """Leave this process group alone: it has ended."""
    with _lock:
        _live.discard(group)
        _tell(f"- {group}\n")


def _tell(line: str) -> bool:
    """Write a line to the guard; False where none is there."""
    global _pipe
    if _pipe is None:
        return False
    try:
        os.write(_pipe, line.encode())
    except BrokenPipeError:
        os.close(_pipe)
        _pipe = None
    return _pipe is not None


def _start() -> None:
    global _pipe
    if os.path.exists(SHELL):
        _pipe = _started()
        for group in _live:
            _tell(f"+ {group}\n")


def _started() -> int:
    read, write = os.pipe()
    try:
        os.posix_spawn(
            SHELL, [SHELL, "-c", _SCRIPT, "dataflow-shell-guard", str(GRACE_S * 10)],
            {"PATH": os.environ.get("PATH", os.defpath)}, setpgroup=0,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, read, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ])
    except BaseException:
        os.close(write)
        raise
    finally:
        os.close(read)
    return write


def _after_fork() -> None:
    """A forked child has commands of its own; with its end of the pipe none would ever end."""
    global _pipe, _lock
    _lock = threading.Lock()
    _live.clear()
    if _pipe is not None:
        os.close(_pipe)
        _pipe = None


os.register_at_fork(after_in_child=_after_fork)
