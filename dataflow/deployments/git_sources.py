"""Code of a git repository: one folder per commit.

Lives here: which commit a ref is, and the checkout. Does not live here: the
command (``git_command.py``), the folders (``code_cache.py``), the rules of URLs
and refs (``source_urls.py``).

A checkout is a repository of its own with one commit and no remote, so that
nothing of the URL stands in it and ``git status`` still tells what was changed.
"""

from __future__ import annotations

import re
import time
from hashlib import blake2b
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from dataflow.deployments.code_cache import fresh_folder, put, shelf, within
from dataflow.deployments.code_keeping import hold, take_away_old
from dataflow.deployments.git_command import GitTimeout, Said, git, words
from dataflow.deployments.source_urls import masked_url, refused, secrets_in, with_variables

_COMMIT = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")
_ASK_S = 60.0


def fetch_git(url: str, ref: str | None, subfolder: str | None, home: Path,
              timeout_s: float) -> tuple[str, Path]:
    """Return the commit that a ref is now, and the folder with its files.

    Parameters
    ----------
    url
        Without ``git+``, checked.
    ref
        Branch, tag, commit with all its digits, or None for the default branch.
    subfolder
        Of the repository.
    home
        ``DATAFLOW_HOME``.
    timeout_s
        For each command of git.

    Raises
    ------
    CodeSourceError
        See :meth:`dataflow.deployments.Source.fetch`.
    """
    place = shelf(home, "git", _key(url))
    named = ref.lower() if ref is not None and _COMMIT.fullmatch(ref) else None
    if named is not None and hold(place / named):  # neither network nor credentials
        return named, within(place / named, subfolder, f"git+{masked_url(url)}")
    repository = _Repository(url, timeout_s)
    commit, full_ref = repository.commit_of(ref) if named is None else (named, None)
    if not hold(place / commit):
        commit = _check_out(repository, place, commit, full_ref)
        hold(place / commit)
        take_away_old(home, time.time())
    return commit, within(place / commit, subfolder, repository.shown)


def _key(url: str) -> str:
    """Return the name of a repository's shelf, the same whatever credentials it is asked with."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    plain = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    stem = re.sub(r"[^A-Za-z0-9_-]", "", path.rstrip("/").rpartition("/")[2].removesuffix(".git"))
    return f"{stem[:40] or 'repository'}-{blake2b(plain.encode(), digest_size=8).hexdigest()}"


class _Repository:
    """A remote repository, asked without its credentials on any command line."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self.shown = f"git+{masked_url(url)}"
        self._timeout_s = timeout_s
        whole = with_variables(url)
        self._secrets = sorted(secrets_in(whole))
        self.url, self._config = _apart(whole)

    def run(self, *args: str, folder: Path | None = None, timeout_s: float | None = None) -> Said:
        """Run git with this repository's credentials."""
        limit_s = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        try:
            return git(*args, folder=folder, timeout_s=limit_s, config=self._config)
        except GitTimeout:
            raise refused(self.shown, f"{self.shown} cannot be fetched: git gave no answer in "
                          f"{limit_s:g} s and was ended. What to do: try again when the host "
                          "answers, or name a commit that is here already.", "timeout") from None

    def commit_of(self, ref: str | None) -> tuple[str, str]:
        """Return (commit, full name) of a branch or tag, as the repository says now."""
        if ref is None:
            wanted = ["HEAD"]
        elif ref.startswith("refs/"):
            wanted = [ref]
        else:
            wanted = [f"refs/heads/{ref}", f"refs/tags/{ref}"]
        said = self.run("ls-remote", "--", self.url, *wanted,
                        *(f"{each}^{{}}" for each in wanted if each != "HEAD"), timeout_s=_ASK_S)
        if said.code:
            self.fail(said, "asked")
        lines = [line.partition("\t") for line in said.out.splitlines()]
        found = {name: commit for commit, tab, name in lines if tab}
        there = [name for name in wanted if name in found]
        if len(there) > 1:
            raise refused(self.shown, f"{self.shown} has a branch and a tag {ref!r}: write "
                          f"{' or '.join(there)}.", "ambiguous ref")
        if not there:
            self._no_ref(ref)
        name = there[0]
        return found.get(f"{name}^{{}}", found[name]), name

    def fail(self, said: Said, doing: str) -> NoReturn:
        """Raise for what git said."""
        raise refused(
            self.shown, f"{self.shown} cannot be {doing}. Git said: {words(said, self._secrets)}\n"
            "What to do: see that the URL is right and that `git ls-remote` answers on this "
            "machine for this user without a password; a commit that was fetched before "
            "needs no network.", "unreachable")

    def _no_ref(self, ref: str | None) -> NoReturn:
        if ref is None:
            raise refused(self.shown, f"{self.shown} has no default branch: it may be empty. "
                          "Name a branch.", "no such ref")
        digits = " A commit is given with all its 40 digits." if re.fullmatch(
            r"[0-9a-fA-F]{4,39}", ref) else ""
        raise refused(self.shown, f"{self.shown} has no branch or tag {ref!r}.{digits}",
                      "no such ref")


def _apart(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without credentials, and the setting of git that puts them in again."""
    parts = urlsplit(url)
    userinfo, _, host = parts.netloc.rpartition("@")
    if not userinfo or parts.scheme == "ssh":
        return url, {}
    front = f"{parts.scheme}://{host}/"
    return (url.replace(f"{userinfo}@", "", 1),
            {f"url.{parts.scheme}://{userinfo}@{host}/.insteadOf": front})


def _check_out(repository: _Repository, place: Path, commit: str, ref: str | None) -> str:
    """Make the folder of a commit, and return the commit that it is of.

    That may be another one than was asked for: a branch may have moved meanwhile, and
    a tag object stands for the commit that it names.
    """
    with fresh_folder(place) as fresh:
        made = "sha256" if len(commit) == 64 else "sha1"
        _done(repository, fresh, "init", "--quiet", "--template=", f"--object-format={made}")
        found = _fetched(repository, fresh, commit, ref)
        _done(repository, fresh, "checkout", "--quiet", "--force", "--detach", found)
        (fresh / ".git" / "FETCH_HEAD").unlink(missing_ok=True)
        put(fresh, place / found)
    return found


def _fetched(repository: _Repository, fresh: Path, commit: str, ref: str | None) -> str:
    """Bring a commit into a new repository, and return it.

    It is asked for by its number, which some servers do not answer; then by its name,
    and with none, everything is brought.
    """
    def fetch(*what: str) -> Said:
        return repository.run("fetch", "--quiet", "--no-tags", "--no-recurse-submodules",
                              *what[:-1], "--", repository.url, *what[-1].split(),
                              folder=fresh)

    got = "FETCH_HEAD"
    said = fetch("--depth=1", commit)
    if said.code and ref is not None:
        said = fetch("--depth=1", ref)
    elif said.code:
        got = commit
        said = fetch("+refs/heads/*:refs/remotes/from/* +refs/tags/*:refs/tags/*")
    if said.code:
        repository.fail(said, f"fetched at {commit}")
    known = repository.run("rev-parse", "--verify", "--quiet", f"{got}^{{commit}}", folder=fresh)
    if known.code:
        raise refused(repository.shown, f"{repository.shown} has no commit {commit}.",
                      "no such ref")
    return known.out.strip()


def _done(repository: _Repository, fresh: Path, *args: str) -> Said:
    said = repository.run(*args, folder=fresh)
    if said.code:
        repository.fail(said, f"laid out in {fresh.parent}")
    return said
