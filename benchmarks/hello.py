"""A flow of one task as a whole process, and what ``import dataflow`` costs.

    python -m benchmarks.hello [--peer prefect]
"""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.harness import PROJECT, Report, alternate, arguments, home
from benchmarks.peers import HELLO_PREFECT, has_prefect

HELLO = """
from dataflow import flow, task
@task
def hello(name): return f"Hello, {name}!"
@flow
def main(): return hello.submit("you").result()
assert main() == "Hello, you!"
"""
HEAVY = ("distributed", "bokeh", "alembic", "dask", "pandas")
LOADED = f"import sys, dataflow; print(*sorted(set(sys.modules) & set({HEAVY})))"


def main() -> int:
    """Measure; return the exit code."""
    parser = arguments(__doc__)
    parser.set_defaults(repeats=7)
    options = parser.parse_args()
    report = Report("hello", "Whole processes")
    with home() as folder:
        script = folder / "hello_flow.py"
        script.write_text(HELLO)
        sides = {
            "python -c pass": lambda: run("-c", "pass"),
            "import dataflow": lambda: run("-c", "import dataflow"),
            "task and flow": lambda: run("-c", "from dataflow import flow, task"),
            "hello": lambda: run(str(script)),
        }
        if "prefect" in options.peer and has_prefect(options.peer_python):
            peer = folder / "hello_prefect.py"
            peer.write_text(HELLO_PREFECT)
            sides["Prefect's hello"] = lambda: run(
                str(peer), python=options.peer_python, PREFECT_HOME=str(folder / "prefect"))
        run(str(script))
        seconds = alternate(sides, options.repeats, report)
        loaded = run("-c", LOADED).split()
    bare = seconds.pop("python -c pass") * 1e3
    limits = {"import dataflow": 150, "hello": 500}
    for name, taken in seconds.items():
        more = taken * 1e3 - bare
        limit = limits.get(name)
        report.add(name, more, "ms", must=f"< {limit} ms" if limit else "",
                   passed=more < limit if limit else None, note="more than python -c pass, "
                   f"which takes {bare:.0f} ms" if name == "hello" else "")
    report.add("heavy modules after import", len(loaded), "", must="none", passed=not loaded,
               note=" ".join(loaded))
    return report.finish(strict=options.strict)


def run(*arguments: str, python: str = sys.executable, **variables: str) -> str:
    """Run Python with arguments; return what it printed. Raises where it fails."""
    done = subprocess.run([python, *arguments], cwd=PROJECT, env={**os.environ, **variables},
                          check=True, capture_output=True, text=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
