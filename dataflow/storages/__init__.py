"""Adapters of the result storage port (``dataflow.result_storage``): a folder, S3, any fsspec URL.

Lives here: :func:`open_storage`, which chooses the adapter. Does not live here:
an import of fsspec or obstore before a storage needs it.
"""

from __future__ import annotations

import os
from pathlib import Path

from dataflow.exceptions import ResultStorageError
from dataflow.result_storage import ResultStorage


def open_storage(
    location: str | os.PathLike[str] | ResultStorage | None = None,
) -> ResultStorage:
    """Return the storage that a path, URL or setting names. Nothing is made or read yet.

    Parameters
    ----------
    location
        A folder; ``s3://bucket/folder`` (the extra ``[s3]``; credentials and endpoint from
        ``AWS_*`` variables); any other URL of fsspec; a storage, which is returned. None:
        the setting for it, else ``results`` in ``DATAFLOW_HOME``.

    Raises
    ------
    ResultStorageError
        No storage that we know has such a URL, or what it needs is not installed.
    """
    if isinstance(location, ResultStorage):
        return location
    if location is None:
        from dataflow.settings import get_settings

        settings = get_settings()
        location = getattr(settings, "result_storage_location", None) or settings.home / "results"
    text = os.fspath(location)
    if not isinstance(text, str) or not text:
        raise ResultStorageError(f"{location!r} names no result storage: give a folder or a URL.",
                                 location=str(location), reason="unknown")
    scheme, mark, rest = text.partition("://")
    if not mark or "/" in scheme:
        from dataflow.storages.local import FolderStorage

        return FolderStorage(Path(text))
    if scheme in ("file", "local"):
        from urllib.parse import unquote

        from dataflow.storages.local import FolderStorage

        return FolderStorage(Path(unquote(rest)))
    if scheme in ("s3", "s3a"):
        from dataflow.storages.object_store import s3_storage

        return s3_storage(f"s3://{rest}")
    from dataflow.storages.fsspec_urls import FsspecStorage

    return FsspecStorage(text)
