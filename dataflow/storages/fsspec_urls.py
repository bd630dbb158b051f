"""Results at any URL of fsspec: ``gs://``, ``abfs://``, ``sftp://``, ``memory://`` (tests), …

Lives here: the adapter. Does not live here: fsspec before the storage is used;
who may write there (the service knows, and nothing is checked here).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from secrets import token_hex
from typing import Any

from dataflow.exceptions import ResultStorageError
from dataflow.result_storage import Found, ResultStorage
from dataflow.storages.failures import translated

_WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az", "abfss", "adl", "oss", "memory", "r2"})
"""Protocols whose files appear whole when they are put."""


class FsspecStorage(ResultStorage):
    """Keep results at a URL that fsspec knows.

    Parameters
    ----------
    url
        ``protocol://path``.
    options
        For the file system, e.g. credentials. They travel to workers; variables of the
        environment do not.
    """

    block_bytes = 1 << 18

    def __init__(self, url: str, **options: Any) -> None:
        protocol, _, path = url.partition("://")
        self.url, self.options = url.rstrip("/"), options
        self.location = f"{protocol}://{path.rpartition('@')[2].rstrip('/')}"
        self.shared = protocol not in ("memory", "file", "local")
        self._protocol = protocol
        self._made: Any = None
        self._lock = threading.Lock()
        self._filesystem()  # a URL that nobody knows is told of at once

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, FsspecStorage) and other.url == self.url
                and other.options == self.options)

    def __hash__(self) -> int:
        return hash(self.url)

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["url"], **state["options"])  # type: ignore[misc]  # as if made anew

    def _filesystem(self) -> tuple[Any, str]:
        """Return the file system and the root's path in it."""
        with self._lock:
            if self._made is None:
                self._made = _opened(self.url, self._protocol, self.location, self.options)
            found: tuple[Any, str] = self._made
            return found

    def _place(self, name: str) -> tuple[Any, str]:
        fs, root = self._filesystem()
        parts = name.split("/")
        if "" in parts or ".." in parts:
            raise ResultStorageError(
                f"The name {name!r} leads out of the result storage {self.location}: refused.",
                location=self.location, reason="name")
        return fs, f"{root}/{name}"

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes of a file; see the port."""
        with self._translated("read"):
            fs, path = self._place(name)
            data: bytes = fs.cat_file(path, start=start or None, end=stop)
            return data

    def write(self, name: str, data: Sequence[bytes]) -> None:
        """Write a file; see the port."""
        with self._translated("write to"):
            fs, path = self._place(name)
            whole = data[0] if len(data) == 1 else b"".join(data)
            folder = path.rpartition("/")[0]
            fs.makedirs(folder, exist_ok=True)
            if self._protocol in _WHOLE:
                fs.pipe_file(path, whole)
                return
            hidden = f"{folder}/.tmp-{token_hex(8)}"
            try:
                fs.pipe_file(hidden, whole)
                fs.mv(hidden, path)
            except BaseException:
                if fs.exists(hidden):
                    fs.rm_file(hidden)
                raise

    def delete(self, name: str) -> None:
        """Delete a file; see the port."""
        with self._translated("delete from"):
            fs, path = self._place(name)
            try:
                fs.rm_file(path)
            except FileNotFoundError:
                return
            fs.invalidate_cache()

    def move(self, old: str, new: str) -> None:
        """Give a file another name; see the port."""
        with self._translated("write to"):
            fs, source = self._place(old)
            _, target = self._place(new)
            if not fs.exists(source):
                raise FileNotFoundError(old)
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            fs.mv(source, target)
            fs.invalidate_cache()

    def list(self, prefix: str = "", *, deep: bool = False) -> Iterator[Found]:
        """Yield the files of a folder; see the port."""
        with self._translated("read"):
            fs, root = self._filesystem()
            folder = f"{root}/{prefix}" if prefix else root
            fs.invalidate_cache()  # listings are remembered, and others write as well
            depth = {} if deep else {"maxdepth": 1}
            try:
                found = fs.find(folder, detail=True, **depth)
            except FileNotFoundError:
                return
        for path, facts in found.items():
            name = path[len(root) :].lstrip("/") if path.startswith(root) else path
            if not any(part.startswith(".") for part in name.split("/")):
                yield Found(name, int(facts.get("size") or 0), date_of(facts))

    def _translated(self, doing: str) -> Any:
        # what is raised is the backend's own choice: aiohttp's, botocore's, paramiko's, …
        return translated(self.location, doing, Exception)


def _opened(url: str, protocol: str, location: str, options: dict[str, Any]) -> tuple[Any, str]:
    try:
        import fsspec

        fs, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        raise ResultStorageError(
            f"Cannot open the result storage {location}: {error}. What to do: install the "
            f"package that serves {protocol}:// with fsspec (here and on the workers), or name "
            "a folder.", location=location, reason="extra missing") from error
    except Exception as error:  # a backend's own
        raise ResultStorageError(
            f"Cannot open the result storage {location}: {type(error).__name__}: {error}.",
            location=location, reason="failed") from error
    return fs, path.rstrip("/")


def date_of(facts: dict[str, Any]) -> float:
    """Return when a file was changed, by what a listing says of it; 0 where it does not."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = facts.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return 0.0
