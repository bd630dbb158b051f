"""Deployments of a folder of flows, and workers in processes of their own that may be killed.

Lives here: writing the flows, starting workers, asking for runs and waiting for
them. Does not live here: assertions.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from dataflow.agenda import DeploymentRow, QueuedRun
from dataflow.deployments import DeploymentSpec
from dataflow.service.asking import ask, waited
from dataflow.service.deploying import register
from dataflow.store import FlowRunRow, Store
from dataflow.stores import open_store
from tests.run_support import ROOT, descendants, end_all, wait_until

_WORKER = """
    import sys
    from dataflow.service import worker
    worker.CLAIM_S = float(sys.argv[1])
    from dataflow.cli import main
    sys.exit(main(["worker", "start", *sys.argv[2:]]))
"""


class Site:
    """A folder of flows with deployments of them, in the store of ``DATAFLOW_HOME``.

    Parameters
    ----------
    folder
        Where the flows' file is written.
    text
        The file.
    """

    def __init__(self, folder: Path, text: str) -> None:
        self.folder = folder
        self.file = folder / "flows.py"
        self.file.write_text(textwrap.dedent(text))
        self._workers: list[subprocess.Popen[bytes]] = []
        self._families: list[psutil.Process] = []
        (folder / "worker.py").write_text(textwrap.dedent(_WORKER))

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Open the store."""
        store = open_store()
        try:
            yield store
        finally:
            store.close()

    def deploy(self, flow: str, name: str = "d", **fields: Any) -> DeploymentRow:
        """Register a deployment of a flow in the file."""
        fields = {"source": str(self.folder), "entrypoint": f"flows.py:{flow}", **fields}
        with self.store() as store:
            made = register(store.agenda(),
                            DeploymentSpec(name=name, flow_name=flow, **fields), time.time())
            assert made.row is not None
            return made.row

    def ask(self, name: str, parameters: Mapping[str, Any] | None = None, **fields: Any) -> str:
        """Queue a run."""
        with self.store() as store:
            return ask(store, name, parameters or {}, time.time(), **fields)

    def ended(self, flow_run_id: str, timeout_s: float = 40.0) -> FlowRunRow:
        """Wait for the end of a run."""
        with self.store() as store:
            return waited(store, flow_run_id, timeout_s, 0.05)

    def row(self, flow_run_id: str) -> FlowRunRow:
        """Return a run as it stands."""
        with self.store() as store:
            return store.find_flow_run(flow_run_id)

    def queued(self, flow_run_id: str) -> QueuedRun:
        """Return a run's place in the queue."""
        with self.store() as store:
            found = store.agenda().queued(flow_run_id)
            assert found is not None
            return found

    def worker(self, *options: str, claim_s: float = 30.0) -> subprocess.Popen[bytes]:
        """Start a worker as the command line does."""
        out = (self.folder / f"worker-{len(self._workers)}.log").open("wb")
        with out:
            process = subprocess.Popen(
                [sys.executable, str(self.folder / "worker.py"), str(claim_s), *options],
                cwd=self.folder, start_new_session=True, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        self._workers.append(process)
        return process

    def said(self) -> str:
        """Return what all workers wrote."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))

    def kill_all_of(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker and the processes of its runs, as a host that goes down does."""
        family = [psutil.Process(worker.pid), *descendants(worker.pid)]
        for process in family:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        worker.wait()

    def process_of(self, flow_run_id: str) -> int:
        """Return the process id of a run that has begun."""
        wait_until(lambda: self.row(flow_run_id).state_type == "RUNNING", "it runs", 40)
        pid = self.row(flow_run_id).pid
        assert pid is not None
        return pid

    def close(self) -> None:
        """End what was started."""
        for worker in self._workers:
            if worker.poll() is None:
                self._families += [psutil.Process(worker.pid), *descendants(worker.pid)]
        end_all(self._families)
        for worker in self._workers:
            worker.wait()
