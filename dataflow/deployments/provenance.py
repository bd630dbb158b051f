"""What is recorded of the code that a version of a deployment runs.

Lives here: :class:`Provenance` and gathering it. Does not live here: which packages
a flow's modules import (``imported_packages.py``), fetching code
(``code_sources.py``), where it is kept.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflow.deployments.git_command import GitTimeout, git
from dataflow.deployments.imported_packages import packages_of
from dataflow.exceptions import CodeSourceError, NotCacheable

if TYPE_CHECKING:
    from dataflow.flows import Flow

_GIT_S = 15.0
_MADE_BY_PYTHON = (":(exclude,glob)**/__pycache__/**", ":(exclude,glob)**/*.pyc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the code of a version comes from, and what it ran with.

    Attributes
    ----------
    revision
        As it was fetched: a commit, ``sha256:…`` of a zip; None for a local folder.
    commit
        Of the git repository that the folder is in; None where it is in none.
    dirty
        Whether files of the folder differ from the commit, or are not in it (those that
        git ignores aside); None where that cannot be told.
    code_digest
        32 hex digits of the flow's code with all of the user's own that it reaches: see
        ``dataflow.code_identity``. None where it has none.
    code_note
        Why it has none.
    packages
        Distribution → version: dataflow, Dask and what the flow's modules import.
    python, platform, machine
        ``"3.11.7"``, ``"Linux-6.1…"``, ``"x86_64"``.
    """

    revision: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    code_digest: str | None = None
    code_note: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    platform: str = ""
    machine: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON."""
        return {**{each.name: getattr(self, each.name) for each in fields(self)},
                "packages": dict(self.packages)}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Provenance:
        """Return what :meth:`to_json` wrote; what a newer version wrote beside it is left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in facts.items() if name in known})


def provenance_of(flow: Flow[Any, Any], folder: str | os.PathLike[str],
                  revision: str | None = None) -> Provenance:
    """Return where a flow's code comes from, and what this process runs it with.

    Parameters
    ----------
    flow
        The flow, loaded from the folder.
    folder
        The source's folder.
    revision
        As it was fetched.

    Notes
    -----
    Never raises for code or a folder that cannot be looked into: what is not known is
    None. Takes some 50 ms, two calls of git among them.
    """
    commit, dirty = commit_of(Path(folder))
    digest, note = _code_of(flow)
    return Provenance(
        revision=revision, commit=commit, dirty=dirty, code_digest=digest, code_note=note,
        packages=packages_of(flow.fn), python=platform.python_version(),
        platform=platform.platform(), machine=platform.machine())


def commit_of(folder: Path) -> tuple[str | None, bool | None]:
    """Return the commit that a folder is at and whether it was changed; None: not known.

    What Python itself writes beside the code is no change.
    """
    try:
        head = git("rev-parse", "--verify", "--quiet", "HEAD^{commit}", folder=folder,
                   timeout_s=_GIT_S)
        if head.code:
            return None, None
        status = git("status", "--porcelain", "--untracked-files=normal", "--", ".",
                     *_MADE_BY_PYTHON, folder=folder, timeout_s=_GIT_S)
    except (CodeSourceError, GitTimeout, OSError):  # no git, or a folder that cannot be read
        return None, None
    return head.out.strip(), None if status.code else bool(status.out.strip())


def _code_of(flow: Flow[Any, Any]) -> tuple[str | None, str | None]:
    from dataflow.code_identity import code_identity

    try:
        return code_identity(flow.fn).digest.hex(), None
    except NotCacheable as error:
        return None, str(error)
