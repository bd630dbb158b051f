"""Drivers that start at once: forked from a process that has imported everything.

Lives here: :class:`Nursery`, for tests that kill dozens of drivers. Does not
live here: what is killed when, and what is asserted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.run_support import ROOT

_MOTHER = """
import json, os, runpy, sys, traceback
import numpy, sqlalchemy
import dataflow.driver, dataflow.flow_run, dataflow.stores, dataflow.worker.keeping
import runners, runners.inline, runners.threads

def child(order):
    os.setsid()
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(
        order["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for fd, onto in ((null, 0), (out, 1), (out, 2)):
        os.dup2(fd, onto)
    os.environ.update(order["env"])
    sys.argv = order["argv"]
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)

ended = {}
for line in sys.stdin:
    order = json.loads(line)
    if "argv" in order:
        pid = os.fork()
        if pid == 0:
            child(order)
        print(pid, flush=True)
    else:
        pid = order["poll"]
        if pid not in ended:
            gone, status = os.waitpid(pid, os.WNOHANG)
            if gone == pid:
                ended[pid] = os.waitstatus_to_exitcode(status)
        print(ended.get(pid, -1000), flush=True)
"""


class Child:
    """A driver that was forked."""

    def __init__(self, nursery: Nursery, pid: int, out: Path) -> None:
        self._nursery, self.pid, self.out = nursery, pid, out

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        code = self._nursery.ask({"poll": self.pid})
        return None if code == -1000 else code

    def ended(self) -> bool:
        return self.code is not None

    def kill(self) -> None:
        """Kill it and all that it started, and wait until it is gone."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.wait(20)

    def wait(self, timeout_s: float) -> None:
        self.until(self.ended, timeout_s)

    def until(self, true: Callable[[], Any], timeout_s: float) -> None:
        """Wait for something; fail with the driver's output where it does not come."""
        give_up = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < give_up, self.out.read_text()[-4000:]
            time.sleep(0.005)


class Nursery:
    """Forks drivers; ends those that are left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []
        self._mother = subprocess.Popen(
            [sys.executable, "-c", _MOTHER], cwd=ROOT, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})

    def start(self, script: Path, *args: object) -> Child:
        """Run a script with ``DATAFLOW_HOME`` as it is now."""
        out = self._folder / f"out-{len(self._children)}"
        pid = self.ask({"argv": [str(script), *map(str, args)], "out": str(out), "env": {
            name: value for name, value in os.environ.items() if name.startswith("DATAFLOW_")}})
        self._children.append(Child(self, pid, out))
        return self._children[-1]

    def ask(self, order: dict[str, Any]) -> int:
        assert self._mother.stdin is not None and self._mother.stdout is not None
        self._mother.stdin.write(json.dumps(order) + "\n")
        self._mother.stdin.flush()
        return int(self._mother.stdout.readline())

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        for child in self._children:
            if self._mother.poll() is None and not child.ended():
                child.kill()
        self._mother.kill()
        self._mother.wait(10)
        for stream in (self._mother.stdin, self._mother.stdout):
            if stream is not None:
                stream.close()
