"""A backfill in a process of its own: ``python -m dataflow.service.backfill_process``.

Lives here: starting it, and what it does: the parameters come on stdin, one line of JSON
goes back when it has begun or cannot begin. Does not live here: the backfill
(``backfill.py``). What it logs is in the store.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from dataflow.exceptions import BackfillError, DataflowError

_COMMAND = (sys.executable, "-m", "dataflow.service.backfill_process")


def detached(asked: Mapping[str, Any]) -> str:
    """Run a backfill in a process that outlives this one; return the id of its flow run.

    Raises
    ------
    BackfillError
        It could not begin; the text says why.
    """
    process = subprocess.Popen(
        _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, start_new_session=True)
    assert process.stdin is not None and process.stdout is not None
    with process.stdin as pipe:
        pipe.write(json.dumps(dict(asked)))
    with process.stdout as pipe:
        line = pipe.readline()
    answer = json.loads(line) if line else {"error": f"its process ended ({process.wait()})"}
    if "error" in answer:
        raise BackfillError(f"The backfill could not begin: {answer['error']}")
    flow_run_id: str = answer["flow_run_id"]
    return flow_run_id


def main() -> int:
    """Run the backfill that stdin asks for; it ends as Ctrl-C would end it on SIGTERM too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    asked = json.load(sys.stdin)
    from dataflow.service.backfill import performed

    try:
        performed(asked, lambda flow_run_id: _answer({"flow_run_id": flow_run_id}))
    except DataflowError as error:
        _answer({"error": str(error)})
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _answer(facts: Mapping[str, Any]) -> None:
    """Write the one line, and let go of stdout: nobody reads on."""
    if os.fstat(1).st_rdev == os.stat(os.devnull).st_rdev:
        return
    os.write(1, (json.dumps(facts) + "\n").encode())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
