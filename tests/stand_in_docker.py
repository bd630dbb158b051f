"""A stand-in for ``docker``: ``run`` and ``stop``, with a session in the place of a container.

Lives here: the part of docker's command line that the templates in the docs use. What it runs
sees only the variables that were passed on, as a container does. Does not live here:
assertions.

    docker run --rm --name NAME [-e VARIABLE | -e NAME=VALUE] … IMAGE COMMAND …
    docker stop NAME

Images: ``missing`` cannot be pulled; ``broken`` has nothing to run; ``quiet`` ends with 0 and
does nothing; any other is this machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["STAND_IN_FOLDER"])


def main() -> int:
    """Run a command in a container, or stop one."""
    if sys.argv[1] == "stop":
        return stop(sys.argv[2])
    assert sys.argv[1] == "run", sys.argv
    parser = argparse.ArgumentParser()
    parser.add_argument("--rm", action="store_true")
    parser.add_argument("--name", required=True)
    parser.add_argument("-e", dest="variables", action="append", default=[])
    parser.add_argument("image")
    parser.add_argument("inner", nargs=argparse.REMAINDER)
    given = parser.parse_args(sys.argv[2:])
    with (FOLDER / "calls").open("a") as file:
        file.write(f"{sys.argv[1:]!r}\n")
    if given.image == "missing":
        print("Unable to find image 'missing:latest' locally", file=sys.stderr)
        print("Error response from daemon: pull access denied for missing", file=sys.stderr)
        return 125
    if given.image == "quiet":
        return 0
    if given.image == "broken":
        print('exec: "dataflow": executable file not found in $PATH', file=sys.stderr)
        return 127
    return contained(given)


def contained(given: argparse.Namespace) -> int:
    """Run the inner command; it goes on when this process dies, as a container does."""
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME")
                   if name in os.environ}
    for variable in given.variables:
        name, equals, value = variable.partition("=")
        if equals or name in os.environ:
            environment[name] = value if equals else os.environ[name]
    container = subprocess.Popen(given.inner, env=environment, start_new_session=True, cwd="/")
    (FOLDER / f"{given.name}.pid").write_text(str(container.pid))
    signal.signal(signal.SIGINT, lambda number, frame: container.send_signal(number))
    code = container.wait()
    return 128 - code if code < 0 else code


def stop(name: str) -> int:
    """Stop a container by SIGTERM."""
    (FOLDER / "stopped").open("a").write(f"{name}\n")
    pid = int((FOLDER / f"{name}.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    for _ in range(100):
        time.sleep(0.1)
        if not alive(pid):
            return 0
    os.kill(pid, signal.SIGKILL)
    return 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
