"""Results in S3 or what speaks like it, by obstore.

Lives here: the adapter. Does not live here: obstore before the storage is used;
other clouds (``fsspec_urls.py``); who may write there (the bucket's policy says).

A put is atomic, and what was put is listed at once (S3 promises both).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from dataflow.exceptions import ResultStorageError
from dataflow.result_storage import Found, ResultStorage
from dataflow.storages.failures import translated


def s3_storage(url: str, **options: Any) -> ResultStorage:
    """Return a storage for an ``s3://`` URL: by obstore, else by s3fs where that is installed.

    Raises
    ------
    ResultStorageError
        Neither is installed.
    """
    try:
        import obstore  # noqa: F401  # only whether it is there
    except ImportError:
        from dataflow.storages.fsspec_urls import FsspecStorage

        try:
            return FsspecStorage(url, **options)
        except ResultStorageError as error:
            raise ResultStorageError(
                f"Cannot open the result storage {url}: it needs obstore, which is not installed. "
                "What to do: pip install 'dataflow[s3]', here and on the workers.",
                location=url, reason="extra missing") from error
    return S3Storage(url, **options)


class S3Storage(ResultStorage):
    """Keep results in a bucket.

    Parameters
    ----------
    url
        ``s3://bucket/folder``.
    options
        Configuration of obstore's ``S3Store``: ``endpoint``, ``region``,
        ``access_key_id``, … They travel to workers. What is not given is taken from
        ``AWS_*`` variables where the storage is used.
    """

    shared = True
    block_bytes = 1 << 18

    def __init__(self, url: str, **options: Any) -> None:
        path = url.partition("://")[2].strip("/")
        self.location, self.options = f"s3://{path}", options
        self.bucket, _, self.prefix = path.partition("/")
        if not self.bucket:
            raise ResultStorageError(f"{url!r} names no bucket.", location=url, reason="unknown")
        self._store: Any = None
        self._lock = threading.Lock()

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, S3Storage) and other.location == self.location
                and other.options == self.options)

    def __hash__(self) -> int:
        return hash(self.location)

    def __reduce__(self) -> Any:
        return _again, (self.location, self.options)

    def _opened(self) -> Any:
        with self._lock:
            if self._store is None:
                self._store = store_of(self.bucket, self.prefix, self.options)
            return self._store

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes of a file; see the port."""
        import obstore

        with self._translated("read"):
            options: Any = {}
            if start < 0:
                options = {"range": {"suffix": -start}}
            elif start or stop is not None:
                if stop is not None and stop <= start:
                    return b""
                options = {"range": {"offset": start} if stop is None else (start, stop)}
            try:
                got = obstore.get(self._opened(), _safe(name, self), options=options)
                data = bytes(got.bytes())
            except obstore.exceptions.BaseError:
                size = obstore.head(self._opened(), _safe(name, self))["size"] if options else 1
                if size > max(0, start):
                    raise
                return b""  # nothing lies in that range, which servers tell in many ways
            return data[: stop + start] if start < 0 and stop is not None else data

    def write(self, name: str, data: Sequence[bytes]) -> None:
        """Write a file; see the port."""
        import obstore

        with self._translated("write to"):
            whole = data[0] if len(data) == 1 else b"".join(data)
            obstore.put(self._opened(), _safe(name, self), whole)

    def delete(self, name: str) -> None:
        """Delete a file; see the port."""
        import obstore

        with self._translated("delete from"):
            try:
                obstore.delete(self._opened(), _safe(name, self))
            except FileNotFoundError:
                return

    def move(self, old: str, new: str) -> None:
        """Give a file another name (a copy, then a delete); see the port."""
        import obstore

        with self._translated("write to"):
            obstore.rename(self._opened(), _safe(old, self), _safe(new, self))

    def list(self, prefix: str = "", *, deep: bool = False) -> Iterator[Found]:
        """Yield the files of a folder; see the port."""
        import obstore

        with self._translated("read"):
            store = self._opened()
            found: Any
            if deep:
                found = [each for page in obstore.list(store, prefix or None) for each in page]
            else:
                found = obstore.list_with_delimiter(store, prefix or None)["objects"]
        for each in found:
            name = each["path"]
            if not any(part.startswith(".") for part in name.split("/")):
                yield Found(name, each["size"], each["last_modified"].timestamp())

    def _translated(self, doing: str) -> Any:
        import obstore.exceptions

        return translated(self.location, doing, obstore.exceptions.BaseError)


def _again(location: str, options: dict[str, Any]) -> S3Storage:
    return S3Storage(location, **options)


def _safe(name: str, storage: S3Storage) -> str:
    parts = name.split("/")
    if "" in parts or ".." in parts:
        raise ResultStorageError(
            f"The name {name!r} leads out of the result storage {storage.location}: refused.",
            location=storage.location, reason="name")
    return name


def store_of(bucket: str, prefix: str, options: dict[str, Any]) -> Any:
    """Return a bucket as obstore knows it; what is not given is taken from ``AWS_*``."""
    import os

    from obstore.store import S3Store

    options = dict(options)
    endpoint = (options.get("endpoint") or options.get("aws_endpoint")
                or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
                or os.environ.get("AWS_ENDPOINT"))
    client: Any = dict(options.pop("client_options", {}))
    if endpoint is not None:
        options.setdefault("endpoint", endpoint)
        options.setdefault("virtual_hosted_style_request", False)
        if endpoint.startswith("http://"):
            client.setdefault("allow_http", True)
    return S3Store(bucket, prefix=prefix or None, client_options=client, **options)
