"""Folders that tell at once when something changes in them, where ``watchfiles`` is installed.

Lives here: the thread that listens. Does not live here: looking (``file_watcher.py``), which
finds everything without it, some seconds later.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Sequence

from dataflow.triggers.file_globs import SPECIAL, base_of

logger = logging.getLogger("dataflow.triggers")


class FolderWaker:
    """Calls when something changes in a folder; does nothing without the extra ``[watch]``.

    Parameters
    ----------
    wake
        Called with the paths that changed, in a thread of its own.
    """

    def __init__(self, wake: Callable[[Collection[str]], object]) -> None:
        self._wake = wake
        self._folders: frozenset[tuple[str, bool]] = frozenset()
        self._stop = threading.Event()

    def watch(self, urls: Iterable[str]) -> None:
        """Listen to the folders of these places, and to no others any more."""
        folders = frozenset(
            folder for url in urls if "://" not in url and (folder := _folder_of(url)) is not None)
        if folders == self._folders:
            return
        self.close()
        self._folders, self._stop = folders, threading.Event()
        for deep in (False, True):
            some = sorted(folder for folder, all_beneath in folders if all_beneath == deep)
            if some:
                threading.Thread(target=self._listen, args=(some, deep, self._stop), daemon=True,
                                 name="dataflow-folders").start()

    def close(self) -> None:
        """Listen no more."""
        self._stop.set()
        self._folders = frozenset()

    def _listen(self, folders: Sequence[str], deep: bool, stop: threading.Event) -> None:
        try:
            import watchfiles
        except ImportError:
            return
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it counts all that changes
        try:
            for changes in watchfiles.watch(
                    *folders, recursive=deep, stop_event=stop, watch_filter=None,
                    debounce=200, step=50, rust_timeout=500,
                    raise_interrupt=False, ignore_permission_denied=True):
                self._wake({path for _, path in changes})
        except Exception as error:  # too many watches, a folder that went
            logger.debug("changes in %s are seen by looking alone: %s", folders, error)
            if not stop.is_set():
                self._folders = frozenset()  # another try at the next glance


def _folder_of(url: str) -> tuple[str, bool] | None:
    """Return the folder in which something changes, and whether all beneath it counts."""
    path = os.path.abspath(os.path.expanduser(base_of(url)))
    if not os.path.isdir(path):
        path = os.path.dirname(path)
        return (path, False) if os.path.isdir(path) else None
    deep = not SPECIAL.search(url) or "**" in url
    return path, deep and path != "/"
