"""Where a deployment's code is: a folder, a git repository, or a zip at a URL.

Lives here: :class:`Source`, its text, and which way it is fetched. Does not live
here: the rules of URLs (``source_urls.py``), git (``git_sources.py``), archives
(``archive_sources.py``), the folders that what was fetched is kept in
(``code_cache.py``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

from dataflow.deployments.source_urls import (
    check_archive_url,
    check_git_url,
    check_ref,
    check_subfolder,
    has_credentials,
    masked_url,
    refused,
    text_of,
)

_KEYS = ("url", "ref", "subfolder", "sha256")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Code that is here.

    Attributes
    ----------
    folder
        What entry points are relative to. It is not to be changed where it was fetched:
        others run from it as well.
    revision
        The commit, or ``sha256:…`` of the archive; None for a local folder.
    """

    folder: Path
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where code is; made by :meth:`parse`.

    Attributes
    ----------
    kind
        ``"folder"``, ``"git"`` or ``"archive"``.
    url
        A path, a URL that git knows (without ``git+``), or one that fsspec knows.
    ref
        Branch, tag or commit; None: the repository's default branch.
    subfolder
        What entry points are relative to, within the repository or archive.
    sha256
        What the archive must be; 64 hex digits.
    """

    kind: Literal["folder", "git", "archive"]
    url: str
    ref: str | None = None
    subfolder: str | None = None
    sha256: str | None = None

    @classmethod
    def parse(cls, given: str | Mapping[str, Any] | None,
              base: str | os.PathLike[str] | None = None) -> Source:
        """Return the source that a text or mapping names; nothing is looked up.

        Parameters
        ----------
        given
            None or ``"."``, a folder, ``git+https://host/repo.git@ref#subfolder=flows``
            (also ``git+ssh://``, ``git+file://``), or a zip at a URL of fsspec,
            ``s3://bucket/code.zip#subfolder=flows&sha256=…``. Or a mapping with ``url``,
            ``ref``, ``subfolder`` and ``sha256``, whose URL is taken as it is. An ``@`` in
            the path of a git URL is written ``%40`` in a text.
        base
            What a relative folder is relative to; by default it stays relative.

        Raises
        ------
        CodeSourceError
            It is none, or one that is refused: the text says why.
        """
        if given is None:
            given = "."
        if isinstance(given, Mapping):
            parts = _of_mapping(given)
        elif isinstance(given, str):
            parts = _of_text(text_of(given, "source"))
        else:
            raise refused(repr(given), f"{given!r} is no source: give a text or a mapping "
                          f"with {', '.join(_KEYS)}")
        return _made(cls, parts, base)

    @property
    def shown(self) -> str:
        """Return the text with credentials masked, for people to read."""
        return masked_url(self.text())

    @property
    def has_credentials(self) -> bool:
        """Whether the URL has a password or token in it, other than as ``${VARIABLE}``."""
        return self.kind != "folder" and has_credentials(self.url)

    def text(self) -> str:
        """Return the one text of this source, which :meth:`parse` reads again."""
        if self.kind == "folder":
            return self.url
        front = f"git+{self.url}" if self.kind == "git" else self.url
        ref = f"@{self.ref}" if self.ref else ""
        options = [f"{name}={quote(value, safe='/')}" for name in ("subfolder", "sha256")
                   if (value := getattr(self, name))]
        return front + ref + (f"#{'&'.join(options)}" if options else "")

    def to_json(self) -> dict[str, str]:
        """Return the mapping that :meth:`parse` reads again."""
        url = f"git+{self.url}" if self.kind == "git" else self.url
        parts = {"url": url, "ref": self.ref, "subfolder": self.subfolder, "sha256": self.sha256}
        return {name: value for name, value in parts.items() if value is not None}

    def fetch(self, home: str | os.PathLike[str], *, timeout_s: float = 600.0) -> Fetched:
        """Bring the code here and return its folder; what is here already is not fetched again.

        Parameters
        ----------
        home
            ``DATAFLOW_HOME``; what is fetched is kept in ``code`` in it, for the owner alone.
        timeout_s
            How long git may take for each of its commands.

        Raises
        ------
        CodeSourceError
            It cannot be had, or is refused; nothing incomplete is left where another process
            could take it for whole.

        Notes
        -----
        Any number of processes may fetch the same. A commit that is here needs no network;
        a branch or tag is asked for each time. Submodules are not fetched.
        """
        if self.kind == "git":
            from dataflow.deployments.git_sources import fetch_git

            commit, folder = fetch_git(self.url, self.ref, self.subfolder, Path(home), timeout_s)
            return Fetched(folder=folder, revision=commit)
        if self.kind == "archive":
            from dataflow.deployments.archive_sources import fetch_archive

            digest, folder = fetch_archive(self.url, self.sha256, self.subfolder, Path(home))
            return Fetched(folder=folder, revision=f"sha256:{digest}")
        folder = Path(os.path.abspath(os.path.expanduser(self.url)))
        if not folder.is_dir():
            raise refused(self.url, f"The deployment's folder {folder} is not on this machine. "
                          "What to do: run it where the folder is, or name a git repository or a "
                          "zip as its source.", reason="no such folder")
        return Fetched(folder=folder)


def _of_mapping(given: Mapping[str, Any]) -> dict[str, str]:
    for name, value in given.items():
        if name not in _KEYS:
            raise refused("source", f"source has no {name!r}; there are: {', '.join(_KEYS)}")
        if value is not None and not isinstance(value, str):
            raise refused("source", f"source.{name} must be a text, got {value!r}")
    parts = {name: text_of(value, f"source.{name}") for name, value in given.items()
             if value is not None}
    if not parts.get("url"):
        raise refused("source", "source.url is missing: give a folder, git+https://… or the URL "
                      "of a zip")
    front, mark, rest = parts["url"].partition("://")
    if mark and front.startswith("git+"):
        host, slash, path = rest.partition("/")
        parts["url"] = f"{front}://{host}{slash}{path.replace('@', '%40')}"
    return parts


def _of_text(text: str) -> dict[str, str]:
    """Split a text into its parts: ``@ref`` of git, and what stands behind ``#``."""
    if not _SCHEME.match(text):
        return {"url": text}
    front, mark, behind = text.partition("#")
    parts = {"url": front}
    for option in behind.split("&") if mark else ():
        name, _, value = option.partition("=")
        name = "subfolder" if name == "subdirectory" else name
        if name not in ("subfolder", "sha256") or not value:
            raise refused(text, f"{masked_url(text)}: behind # stand subfolder=… or sha256=…, "
                          f"got {option!r}")
        parts[name] = unquote(value)
    if front.startswith("git+"):
        scheme, _, rest = front.partition("://")
        host, slash, path = rest.partition("/")
        path, at, ref = path.rpartition("@") if "@" in path else (path, "", "")
        parts["url"] = f"{scheme}://{host}{slash}{path}"
        if at:
            parts["ref"] = ref
    return parts


def _made(cls: type[Source], parts: Mapping[str, str],
          base: str | os.PathLike[str] | None) -> Source:
    url, shown = parts["url"], masked_url(parts["url"])
    ref, subfolder, sha256 = (parts.get(name) for name in _KEYS[1:])
    if url.startswith("git+"):
        if sha256 is not None:
            raise refused(shown, f"{shown}: sha256 is for archives; give the commit as ref")
        plain = url.removeprefix("git+")
        check_git_url(plain)
        return cls(kind="git", url=plain, ref=check_ref(ref, shown),
                   subfolder=check_subfolder(subfolder, shown))
    if ref is not None:
        raise refused(shown, f"{shown}: ref is for git repositories, whose URL begins with git+")
    if _SCHEME.match(url) or "::" in url:
        check_archive_url(url)
        if sha256 is not None and not _SHA256.fullmatch(sha256):
            raise refused(shown, f"{shown}: sha256 must be 64 hex digits, got {sha256!r}")
        return cls(kind="archive", url=url, subfolder=check_subfolder(subfolder, shown),
                   sha256=sha256)
    if subfolder is not None or sha256 is not None:
        raise refused(shown, f"{shown} is a folder, which has no subfolder or sha256")
    return cls(kind="folder", url=_folder(url, base))


def _folder(text: str, base: str | os.PathLike[str] | None) -> str:
    if not text:
        raise refused(text, "source is empty: give a folder, git+https://… or the URL of a zip")
    if re.match(r"[\w.-]+@[\w.-]+:", text):
        host, _, path = text.partition(":")
        raise refused(text, f"{text} is no folder: write git+ssh://{host}/{path}")
    return text if base is None else os.path.abspath(
        os.path.join(base, os.path.expanduser(text)))
