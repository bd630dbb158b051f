"""Repositories of git for tests: a bare one on disk, and a work tree that pushes to it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_QUIET = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class Repository:
    """A bare repository, and a clone of it on branch main."""

    def __init__(self, bare: Path, work: Path) -> None:
        self.bare, self.work = bare, work
        self.url = f"git+file://{bare}"
        self._run("init", "-q", "--bare", "-b", "main", str(bare))
        self._run("init", "-q", "-b", "main", str(work))
        self.git("remote", "add", "origin", str(bare))

    def git(self, *args: str) -> str:
        """Run git in the work tree and return what it printed."""
        return self._run("-C", str(self.work), *args)

    def commit(self, files: dict[str, str]) -> str:
        """Write files, commit and push all there is; return the commit."""
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        self.push()
        return self.head()

    def push(self) -> None:
        """Push all branches and tags."""
        self.git("push", "-q", "origin", "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")

    def head(self, *, bare: bool = False) -> str:
        """Return the commit that main is at."""
        return self._run("-C", str(self.bare if bare else self.work), "rev-parse", "main^{commit}")

    @staticmethod
    def _run(*args: str) -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        done = subprocess.run(
            ["git", "-c", "user.name=Tester", "-c", "user.email=tester@example.org", *args],
            env=env | _QUIET, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
