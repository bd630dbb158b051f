"""Rules of the URLs, refs and paths that code is fetched by.

Lives here: what is refused before anything is run with it, and texts without
credentials. Does not live here: what a source is (``code_sources.py``).

A URL of git is not only an address: ``ext::`` runs a command, a host that begins
with ``-`` is an option of ssh, and a ref that does is one of git.
"""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, unquote, urlsplit

from dataflow.exceptions import CodeSourceError
from dataflow.masking import HIDDEN

GIT_SCHEMES = ("https", "ssh", "file")
_USERINFO = re.compile(r"(?<=://)([^/@?#\s]+)@")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_NO_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|[./]$|^/|^@$")


def refused(url: str, text: str, reason: str = "refused") -> CodeSourceError:
    """Return the error for a source, whose URL is masked in it."""
    return CodeSourceError(text, url=masked_url(url), reason=reason)


def text_of(value: str, what: str) -> str:
    """Return a text that can be an argument of a program. Raises CodeSourceError."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise refused("source", f"{what} has half a character in it (a lone surrogate)") from None
    if "\0" in value or "\n" in value or "\r" in value:
        raise refused("source", f"{what} must be one line of text, got {masked_url(value)!r}")
    return value


def masked_url(text: str) -> str:
    """Return a text with the credentials of its URLs hidden: user:password, and queries.

    The user of ssh (``git@``) is shown: it is no secret.
    """
    def hidden(found: re.Match[str]) -> str:
        user, colon, _ = found[1].partition(":")
        ssh = text[:found.start()].endswith("ssh://")
        return (f"{user}:{HIDDEN}@" if colon else f"{user}@") if ssh else f"{HIDDEN}@"

    return re.sub(r"(?<=\w\?)[^\s#'\"]+", HIDDEN, _USERINFO.sub(hidden, text))


def secrets_in(url: str) -> set[str]:
    """Return the parts of a URL that nobody may read, as they are written and as they are meant."""
    parts = urlsplit(url)
    userinfo = parts.netloc.rpartition("@")[0]
    user, colon, password = userinfo.partition(":")
    found = {password} if colon else set()
    if parts.scheme != "ssh":
        found |= {userinfo, user}
    found |= {each.partition("=")[2] for each in parts.query.split("&")} | {parts.query}
    return {text for each in found for text in (each, unquote(each)) if len(text) > 2}


def has_credentials(url: str) -> bool:
    """Return whether a URL has a secret in it that does not stand there as ``${VARIABLE}``."""
    userinfo = urlsplit(url).netloc.rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    ssh = urlsplit(url).scheme == "ssh"
    parts = [password] if ssh else [user, password]
    query = urlsplit(url).query
    signed = bool(re.search(r"(?i)(?:sig|signature|token|key|secret|password|credential)=", query))
    return signed or any(part and not _VARIABLE.fullmatch(part) for part in parts)


def with_variables(url: str) -> str:
    """Return a URL with the ``${VARIABLE}`` of its user and password filled in.

    Raises
    ------
    CodeSourceError
        There is no such variable in the environment.
    """
    from urllib.parse import quote

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise refused(url, f"{url} needs the variable {found[1]} in the environment of the "
                          "process that fetches the code, where it is not set.", "no credentials")
        return quote(os.environ[found[1]], safe="")

    scheme, mark, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    userinfo, at, host = netloc.rpartition("@")
    return f"{scheme}{mark}{_VARIABLE.sub(value, userinfo)}{at}{host}{slash}{path}"


def check_git_url(url: str) -> None:
    """Refuse a URL (without ``git+``) that git must not be given. Raises CodeSourceError."""
    shown = f"git+{masked_url(url)}"
    parts = _split(url, shown)
    if parts.scheme not in GIT_SCHEMES:
        other = "; over plain http anybody on the way could change the code" if (
            parts.scheme == "http") else ""
        raise refused(url, f"{shown} is refused: git is asked by "
                      f"{', '.join(f'git+{each}://' for each in GIT_SCHEMES)} only{other}.")
    host = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0]
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise refused(url, f"{shown} is refused: write git+file:///absolute/path/repo.git.")
    elif not host or host.startswith("-") or user.startswith("-"):
        raise refused(url, f"{shown} is refused: it names no host that could be asked.")
    if parts.path.startswith("/-") or not parts.path.strip("/"):
        raise refused(url, f"{shown} is refused: it names no repository.")
    if parts.query or parts.fragment:
        raise refused(url, f"{shown} is refused: a repository has no query and no fragment.")


def check_archive_url(url: str) -> None:
    """Refuse a URL that is none of a zip. Raises CodeSourceError."""
    shown = masked_url(url)
    if "::" in url:
        raise refused(url, f"{shown} is refused: chained URLs (::) can do anything; name the zip "
                      "itself.")
    parts = _split(url, shown)
    if parts.scheme in ("git", "ssh") or parts.path.endswith(".git"):
        raise refused(url, f"{shown} names a git repository: write git+{shown}.")
    if not parts.path.strip("/") and not parts.netloc:
        raise refused(url, f"{shown} names no file.")
    if parts.scheme in ("file", "local") and not parts.path.endswith(".zip"):
        raise refused(url, f"{shown} is no zip: write a folder as a path, without file://.")


def check_ref(ref: str | None, shown: str) -> str | None:
    """Return a ref that git may be given. Raises CodeSourceError."""
    if ref is None:
        return None
    if not ref or ref.startswith("-") or _NO_REF.search(ref):
        raise refused(shown, f"{shown}: {ref!r} is no branch, tag or commit; the ref is refused.")
    return ref


def check_subfolder(text: str | None, shown: str) -> str | None:
    """Return a path within a source, in its one form. Raises CodeSourceError."""
    if text is None:
        return None
    parts = [part for part in text.split("/") if part not in ("", ".")]
    wrong = text.startswith(("/", "-", "~")) or "\\" in text or ".." in parts
    if wrong or any(part.lower() == ".git" for part in parts):
        raise refused(shown, f"{shown}: the subfolder {text!r} leads out of the source.")
    return "/".join(parts) or None


def _split(url: str, shown: str) -> SplitResult:
    if _CONTROL.search(url):
        raise refused(url, f"{shown} is refused: a URL has no spaces in it (write %20).")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise refused(url, f"{shown} is no URL: {error}.") from None
    return parts
