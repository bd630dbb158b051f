"""Other frameworks, measured only where they are installed, each in a process of its own.

Lives here: the same work written for Prefect. Does not live here: anything
that the benchmarks need without it. Needs only the standard library and the
peer, so that another interpreter can run it (``--peer-python``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKERS = 2
_WALK = """
import sys, time
from prefect.utilities.collections import visit_collection
n = int(sys.argv[1])
rows = [[float(i) for i in range(n // 100)] for _ in range(100)]
began = time.perf_counter()
visit_collection(rows, visit_fn=lambda x: x, return_data=False)
print(time.perf_counter() - began)
"""
HELLO_PREFECT = """
from prefect import flow, task
@task
def hello(name): return f"Hello, {name}!"
@flow
def main(): return hello.submit("you").result()
assert main() == "Hello, you!"
"""


def has_prefect(python: str) -> bool:
    """Tell whether an interpreter has Prefect, and say so where it does not."""
    found = subprocess.run([python, "-c", "import prefect"], capture_output=True).returncode == 0
    if not found:
        print("prefect is not installed: its column is left out (or name another interpreter "
              "with --peer-python)", file=sys.stderr)
    return found


def prefect_map(python: str, n: int) -> dict[str, float]:
    """Return the seconds that a no-op map of ``n`` takes in Prefect, by the runner's name."""
    if not has_prefect(python):
        return {}
    with tempfile.TemporaryDirectory(prefix="prefect-bench-") as folder:
        environment = {**os.environ, "PREFECT_HOME": folder, "PREFECT_LOGGING_LEVEL": "ERROR",
                       "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        done = subprocess.run([python, "-m", "benchmarks.peers", str(n)], env=environment,
                              cwd=folder, capture_output=True, text=True)
    if done.returncode:
        print(f"Prefect did not finish:\n{done.stderr[-2000:]}", file=sys.stderr)
        return {}
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def prefect_walk(python: str, n: int) -> float | None:
    """Return the seconds that Prefect's walk takes over a list of lists of ``n`` floats in all."""
    if not has_prefect(python):
        return None
    with tempfile.TemporaryDirectory(prefix="prefect-bench-") as folder:
        done = subprocess.run([python, "-c", _WALK, str(n)], capture_output=True, text=True,
                              env={**os.environ, "PREFECT_HOME": folder}, cwd=folder)
    if done.returncode:
        print(f"Prefect did not finish:\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    return float(done.stdout.splitlines()[-1])


def _measure(n: int) -> dict[str, float]:
    """Run the maps; only ever called in the peer's interpreter."""
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner

    from benchmarks.work import identity

    noop = task(identity)
    runners = {"Prefect, threads": ThreadPoolTaskRunner(max_workers=WORKERS)}
    try:
        from distributed import LocalCluster
        from prefect_dask import DaskTaskRunner
    except ImportError:
        cluster = None
    else:
        cluster = LocalCluster(n_workers=WORKERS, threads_per_worker=1, host="127.0.0.1",
                               dashboard_address="127.0.0.1:0", silence_logs=50)
        runners["Prefect, Dask"] = DaskTaskRunner(address=cluster.scheduler_address)
    taken = {}
    for name, runner in runners.items():
        @flow(task_runner=runner)
        def mapped(count: int) -> list[int]:
            return noop.map(range(count)).result()  # type: ignore[no-any-return]

        mapped(10)
        began = time.perf_counter()
        assert mapped(n) == list(range(n))
        taken[name] = time.perf_counter() - began
    if cluster is not None:
        cluster.close()
    return taken


if __name__ == "__main__":
    print(json.dumps(_measure(int(sys.argv[1]))))
