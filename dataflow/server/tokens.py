"""The token of the service: from the settings, else from a file that is made once.

Lives here: the file, its mode, and what is refused about it. Does not live here: the
comparison (``gate.py``).
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import stat
from pathlib import Path

from dataflow.exceptions import ServerError
from dataflow.settings_value import Settings

_BYTES = 32
_TOKEN = re.compile(r"[!-~]{16,512}")

logger = logging.getLogger("dataflow.server")


def token_of(settings: Settings) -> str:
    """Return the token; it is made where there is none yet.

    Raises
    ------
    ServerError
        The file cannot be made or read, or is none that one should trust.
    """
    if settings.api_token is not None:
        return settings.api_token
    path = settings.home / "token"
    try:
        if not path.exists() and not path.is_symlink():
            _make(path)
        return _read(path)
    except OSError as error:
        if isinstance(error, ServerError):
            raise
        raise _refused(path, f"cannot be used ({os.strerror(error.errno or 0)})") from error


def known_token(settings: Settings) -> str | None:
    """Return the token where there is one already; None otherwise. Raises ServerError."""
    there = settings.api_token is not None or (settings.home / "token").exists()
    return token_of(settings) if there else None


def _make(path: Path) -> None:
    """Make the file, whole at once: of several processes that start, one has made it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".token-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)
    except FileExistsError:
        return
    finally:
        fresh.unlink()


def _read(path: Path) -> str:
    try:
        descriptor = os.open(
            path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refused(path, "is a link") from None
        raise
    with os.fdopen(descriptor, errors="replace") as file:
        seen = os.fstat(file.fileno())
        if not stat.S_ISREG(seen.st_mode):
            raise _refused(path, "is no file")
        if seen.st_uid != os.geteuid():
            raise _refused(path, "belongs to somebody else")
        if seen.st_mode & 0o077:
            os.fchmod(file.fileno(), 0o600)
            logger.warning("%s could be read by others, which is mended. Whoever read it has the "
                           "token still: delete the file to have another one made.", path)
        text = file.read(4096).strip()
    if not _TOKEN.fullmatch(text):
        raise _refused(path, "holds no token (16 to 512 visible characters)")
    return text


def _refused(path: Path, why: str) -> ServerError:
    return ServerError(
        f"The token of the service is to be in {path}, which {why}. Nothing was started. What to "
        "do: delete it, so that another one is made, or set DATAFLOW_API_TOKEN.",
        address=str(path), reason="token")
