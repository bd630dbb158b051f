"""An infrastructure job: commands of other languages as tasks, their output in the run's log.

A made-up access log is cut into parts by sh, each part is summed up by awk in a task of its own,
and words are looked for by a command whose exit code means something. One command hangs: it is
killed at its timeout with all it has started, and the job goes on without it.

    python examples/shell_job.py
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import psutil

from dataflow import flow, get_run_logger, shell, task
from dataflow.exceptions import ShellError, ShellTimeoutError

LINES = 40_000
MAKE_LOG = """
BEGIN {
    for (n = 0; n < lines; n++)
        print "10.0.0." n % 250, (n % 97 ? 200 : n % 2 ? 404 : 500), n * 37 % 5000
}"""
SUM_UP = """
{ bytes[$2] += $3; count[$2] += 1 }
END { for (status in count) print status, count[status], bytes[status] }"""
HANGS = "echo asking; (sleep 600; echo never) & echo $! > hanging.pid; wait"


@task
def make(folder: str) -> list[str]:
    """Write the log and cut it into parts; what the commands print is in the run's log."""
    operation = shell.ShellOperation(working_dir=folder, env={"LINES_EACH": "10000"}, commands=[
        f"awk -v lines={LINES} '{MAKE_LOG}' > access.log",
        'split -l "$LINES_EACH" access.log part.',
        "echo cut into >&2",
        "ls part.*",
    ])
    return operation.run()


@task(retries=1)
def sum_up(folder: str, part: str) -> list[tuple[str, int, int]]:
    """Return (status, requests, bytes) of a part."""
    done = shell.run(["awk", SUM_UP, part], cwd=folder)
    rows = (line.split() for line in done.stdout)
    return [(status, int(count), int(size)) for status, count, size in rows]


@task
def has(folder: str, word: str) -> bool:
    """Tell whether a word stands in the log: grep ends with 1 where not, with 2 on an error."""
    done = shell.run(["grep", "-q", word, "access.log"], cwd=folder, check=False)
    if done.exit_code > 1:
        raise ShellError(f"grep failed: {done.stderr}", exit_code=done.exit_code)
    return done.exit_code == 0


@task
def hang(folder: str) -> str:
    """Ask something that never answers; return what the error says."""
    try:
        return shell.run(HANGS, shell="sh", cwd=folder, timeout=0.5).text
    except ShellTimeoutError as error:
        return str(error)


@flow
def job(folder: str) -> tuple[dict[str, tuple[int, int]], list[bool], str]:
    """Return requests and bytes by status, whether two words are there, and what hung."""
    parts = make.submit(folder)
    sums = sum_up.map(folder, parts)
    found = has.map(folder, [" 500 ", " 418 "], wait_for=[parts])
    silence = hang.submit(folder)
    requests: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for status, count, many in (row for rows in sums.result() for row in rows):
        requests[status] += count
        size[status] += many
    get_run_logger().info("%d requests in %d parts", requests.total(), len(sums))
    return {s: (requests[s], size[s]) for s in requests}, found.result(), silence.result()


def in_plain_python() -> dict[str, tuple[int, int]]:
    """Sum up what the log says."""
    sums: dict[str, tuple[int, int]] = {}
    for n in range(LINES):
        status = "200" if n % 97 else "404" if n % 2 else "500"
        count, size = sums.get(status, (0, 0))
        sums[status] = (count + 1, size + n * 37 % 5000)
    return sums


def runs(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sums, found, silence = job(folder)
        left = runs(int(Path(folder, "hanging.pid").read_text()))
    print(*(f"{status}: {count:,} requests, {size:,} bytes" for status, (count, size)
            in sorted(sums.items())), silence, sep="\n")
    right = (sums == in_plain_python() and found == [True, False]
             and "exceeded its timeout of 0.5" in silence and not left)
    print("Equal to plain Python, nothing left running: " + ("yes" if right else "NO"))
    sys.exit(0 if right else 1)
