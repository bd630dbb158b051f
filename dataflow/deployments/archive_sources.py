"""Code of a zip at a URL of fsspec: one folder per checksum.

Lives here: the download, bounded, and its checksum. Does not live here: unpacking
(``archive_unpacking.py``), the folders (``code_cache.py``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dataflow.deployments.archive_unpacking import unpack
from dataflow.deployments.code_cache import fresh_folder, put, shelf, within
from dataflow.deployments.code_keeping import hold, take_away_old
from dataflow.deployments.source_urls import masked_url, refused, secrets_in, with_variables
from dataflow.exceptions import CodeSourceError, DataflowError

LIMIT_BYTES = 512 << 20
"""Of the zip itself."""

_CHUNK_BYTES = 4 << 20


def fetch_archive(url: str, wanted: str | None, subfolder: str | None,
                  home: Path, *, limit_bytes: int = LIMIT_BYTES) -> tuple[str, Path]:
    """Return the checksum of the zip that is at a URL, and the folder with its files.

    Parameters
    ----------
    url
        Checked.
    wanted
        The checksum that it must have; None: whatever is there now.
    subfolder
        Of what is in the zip.
    home
        ``DATAFLOW_HOME``.
    limit_bytes
        A zip that is larger is refused.

    Raises
    ------
    CodeSourceError
        See :meth:`dataflow.deployments.Source.fetch`.
    """
    shown = masked_url(url)
    place = shelf(home, "zip", "unpacked")
    if wanted is not None and hold(place / wanted):
        return wanted, within(place / wanted, subfolder, shown)
    with fresh_folder(place) as fresh:
        file = fresh / "code.zip"
        digest = _download(url, shown, file, limit_bytes)
        if wanted is not None and digest != wanted:
            raise refused(url, f"{shown} has the checksum {digest}, and {wanted} was asked for: "
                          "it is refused. What to do: put the right zip there, or give the new "
                          "checksum.", "wrong checksum")
        if not hold(place / digest):
            files = fresh / "files"
            files.mkdir(mode=0o700)
            unpack(file, files, shown)
            put(files, place / digest)
            hold(place / digest)
            take_away_old(home, time.time())
    return digest, within(place / digest, subfolder, shown)


def _download(url: str, shown: str, file: Path, limit_bytes: int) -> str:
    """Write what is at a URL into a file, and return its checksum."""
    digest, size = sha256(), 0
    whole = with_variables(url)
    try:
        with open(file, "xb") as out:
            for chunk in _chunks(whole, limit_bytes):
                size += len(chunk)
                if size > limit_bytes:
                    raise refused(url, f"{shown} has more than {limit_bytes >> 20} MB: it is "
                                  "refused. What to do: leave data out of the zip of the code.",
                                  "too large")
                digest.update(chunk)
                out.write(chunk)
    except CodeSourceError:
        raise
    except Exception as error:  # a backend's own: aiohttp's, botocore's, paramiko's, …
        raise _unreachable(url, whole, shown, error) from error
    return digest.hexdigest()


def _unreachable(url: str, whole: str, shown: str, error: Exception) -> CodeSourceError:
    said = str(error).replace(whole, shown)
    for secret in sorted(secrets_in(whole), key=len, reverse=True):
        said = said.replace(secret, "***")
    if isinstance(error, (ImportError, ValueError)) and not isinstance(error, DataflowError):
        scheme = url.partition("://")[0]
        what = f"install the package that serves {scheme}:// with fsspec on this machine"
    else:
        what = "see that the zip is there and that this machine may read it"
    return refused(url, f"{shown} cannot be fetched: {type(error).__name__}: {said}. What to do: "
                   f"{what}.", "unreachable")


def _chunks(url: str, limit_bytes: int) -> Iterator[bytes]:
    scheme = urlsplit(url).scheme
    if scheme in ("file", "local"):
        with open(unquote(urlsplit(url).path), "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    elif scheme in ("s3", "s3a"):
        yield _out_of_s3(url, limit_bytes)
    else:
        import fsspec

        with fsspec.open(url, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


def _out_of_s3(url: str, limit_bytes: int) -> bytes:
    """Return an object by one request, so that it is not of two versions; cut above the limit."""
    from dataflow.storages.object_store import s3_storage

    folder, _, name = url.partition("://")[2].rpartition("/")
    return s3_storage(f"s3://{folder}").read(name, 0, limit_bytes + 1)
