"""A folder under the name that people know from Prefect.

Lives here: :class:`LocalFileSystem`, a result storage. Does not live here: other
places, which are named by their URL (``result_storage="s3://…"``).
"""

from __future__ import annotations

import os

from dataflow.storages.local import FolderStorage


class LocalFileSystem(FolderStorage):
    """Files in a folder, for the owner alone; may be given as ``result_storage``.

    Parameters
    ----------
    basepath
        The folder; by default as the settings say.
    """

    def __init__(self, basepath: str | os.PathLike[str] | None = None) -> None:
        if basepath is None:
            from dataflow.settings import get_settings

            basepath = get_settings().result_storage_location
        super().__init__(basepath)

    @property
    def basepath(self) -> str:
        """The folder."""
        return self.root

    def read_path(self, path: str) -> bytes:
        """Return what is in a file. FileNotFoundError: it is not there."""
        return self.read(path)

    def write_path(self, path: str, content: bytes) -> None:
        """Write a file whole; one that is there is replaced."""
        self.write(path, [content])
