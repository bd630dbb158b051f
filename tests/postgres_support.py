"""A PostgreSQL server of the test run's own: on a unix socket in a temporary folder, no port.

Lives here: finding the binaries, starting and stopping, a fresh database. Does
not live here: fixtures (``conftest.py``), anything of the store.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

OVERRIDE = os.environ.get("DATAFLOW_TEST_POSTGRES")  # the URL of a server to use instead
_SETTINGS = {
    "listen_addresses": "", "fsync": "off", "full_page_writes": "off", "max_connections": "300",
    "shared_buffers": "32MB",
}
_numbers = itertools.count(1)


class NoServer(Exception):
    """There is no server to be had here; the text says why."""


class Server:
    """A server that is started in a folder of its own.

    Parameters
    ----------
    url
        Of a server that runs already: it is used, never started nor stopped.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self._watcher: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self._bin = Path()
        if url is None:
            self._bin = _binaries()
            self._user = _user()
            self._folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # short: a socket's
            if self._user is not None:
                shutil.chown(self._folder, self._user)
            self._watch()
            self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync",
                      "--encoding=UTF8", "--locale=C")
            self.start()

    @property
    def owned(self) -> bool:
        """Tell whether the server can be stopped and started."""
        return self._url is None

    @property
    def url(self) -> str:
        """Return the URL of the server's first database."""
        return self._url or f"postgresql://postgres@/postgres?host={quote(str(self._folder))}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = " ".join(f"-c {name}='{value}'" for name, value in _SETTINGS.items())
        self._run("pg_ctl", "start", "-w", "-t", "60", "-l", str(self._folder / "log"),
                  "-o", f"-k {self._folder} {options}")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: ``fast`` ends what goes on, ``immediate`` is as good as a crash."""
        self._run("pg_ctl", "stop", "-w", "-t", "60", "-m", mode)

    def close(self) -> None:
        """Stop the server where it is ours, and remove its folder."""
        if self._watcher is not None:
            self._watcher.communicate()  # its input ends, which is what it waits for
            self._watcher = None

    def _watch(self) -> None:
        """Let a process of its own stop the server when this one ends, however it ends."""
        script = 'cat; "$1/pg_ctl" -D "$2/data" stop -m immediate; rm -rf "$2"'
        self._watcher = subprocess.Popen(
            ["sh", "-c", script, "sh", str(self._bin), str(self._folder)], user=self._user,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd="/", start_new_session=True)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database; yield its URL; drop it."""
        name = f"dataflow_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, statement: str) -> list[Any]:
        """Execute a statement in the first database."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]  # a text of ours
            return cursor.fetchall() if cursor.description else []

    def kill(self) -> None:
        """Kill the whole server at once."""
        os.kill(int((self._folder / "data" / "postmaster.pid").read_text().split()[0]),
                signal.SIGQUIT)

    def _run(self, command: str, *arguments: str) -> None:
        said = self._folder / "said"
        with said.open("a") as output:  # a file: the server would keep a pipe open for ever
            done = subprocess.run(
                [str(self._bin / command), "-D", str(self._folder / "data"), *arguments],
                user=self._user, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, timeout=100, check=False)
        if done.returncode:
            log = self._folder / "log"
            text = said.read_text() + (log.read_text() if log.exists() else "")
            raise NoServer(f"{command} failed: {text[-2000:]}")


def _binaries() -> Path:
    """Return the folder with initdb and pg_ctl."""
    config = shutil.which("pg_config")
    found = [shutil.which("initdb") or ""]
    if config is not None:
        bindir = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        found.append(bindir.stdout.strip() + "/initdb")
    found += sorted(glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)
    for initdb in map(Path, found):
        if initdb.is_file() and (initdb.parent / "pg_ctl").is_file():
            return initdb.resolve().parent
    raise NoServer("initdb and pg_ctl are not installed (Debian's package postgresql has them), "
                   "and DATAFLOW_TEST_POSTGRES names no server")


def _user() -> str | None:
    """Return the user to run the server as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise NoServer("a server does not run as root, and there is no user to run it as")
