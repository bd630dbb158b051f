"""The git command, run so that nothing it is told can make it do something else.

Lives here: one call, its environment, its end at a timeout, its words without
credentials. Does not live here: which calls are made (``git_sources.py``,
``provenance.py``).
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataflow.exceptions import CodeSourceError

_OF_A_REPOSITORY = (  # of the hook or command around us, not of the repository at hand
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CEILING_DIRECTORIES",
    "GIT_TRACE", "GIT_TRACE_CURL", "GIT_CURL_VERBOSE",
)
_SAFE = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false",
    "-c", "protocol.ext.allow=never", "-c", "gc.auto=0",
    "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false",
)
_SAID = 2000  # characters of its words that go into an error


@dataclass(frozen=True, slots=True)
class Said:
    """How a command of git ended: its exit code and its words."""

    code: int
    out: str
    err: str


class GitTimeout(Exception):
    """A command of git took too long and was killed."""


def git(*args: str, folder: Path | None = None, timeout_s: float,
        config: Mapping[str, str] | None = None) -> Said:
    """Run git and return how it ended.

    Parameters
    ----------
    args
        Its arguments; those that come from outside have been checked.
    folder
        Where it runs.
    timeout_s
        After so long it is killed, with all that it started.
    config
        Settings for this call. They go through its environment, which nobody else can
        read, where the command line could be read by everybody.

    Raises
    ------
    CodeSourceError
        There is no git.
    GitTimeout
        It was killed.
    """
    try:
        process = subprocess.Popen(
            ["git", *_SAFE, *args], cwd=folder, env=_environment(config or {}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True)  # no terminal that it could ask for a password
    except FileNotFoundError as error:
        if folder is not None and not folder.is_dir():
            raise CodeSourceError(f"There is no folder {folder}.", url=str(folder),
                                  reason="no such folder") from error
        raise CodeSourceError(
            "The command git is not there. What to do: install git on this machine, or give the "
            "deployment a folder or a zip as its source.", url="", reason="no git") from error
    try:
        out, err = process.communicate(timeout=timeout_s)
    except BaseException as error:
        _kill(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise GitTimeout from None
        raise
    return Said(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def words(said: Said, secrets: Sequence[str] = ()) -> str:
    """Return what git said went wrong, in one paragraph without secrets."""
    text = said.err.strip() or said.out.strip() or f"nothing (exit code {said.code})"
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text[-_SAID:]


def _environment(config: Mapping[str, str]) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in _OF_A_REPOSITORY}
    env |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:https:ssh", "LC_ALL": "C",
            "GIT_OPTIONAL_LOCKS": "0", "GCM_INTERACTIVE": "never", "SSH_ASKPASS": ""}
    first = int(env.get("GIT_CONFIG_COUNT") or 0)
    for number, (key, value) in enumerate(config.items(), first):
        env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = key, value
    env["GIT_CONFIG_COUNT"] = str(first + len(config))
    return env


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.kill()
    process.communicate()
