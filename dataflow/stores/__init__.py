"""Adapters of the store port (``dataflow.store``): SQLite files, PostgreSQL, memory for tests.

Lives here: :func:`open_store`, which chooses the adapter. Does not live here:
an import of SQLAlchemy before a store is opened (it takes 100 ms).
"""

from __future__ import annotations

from importlib.metadata import entry_points
from os import PathLike
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dataflow.exceptions import StoreError
from dataflow.postgres import is_postgres, shown
from dataflow.store import Store


def open_store(location: str | PathLike[str] | None = None) -> Store:
    """Open a run store; a file that does not exist is made.

    Parameters
    ----------
    location
        A path, ``sqlite:///relative.db``, ``sqlite:////absolute.db``,
        ``postgresql://user@host/database`` (with the extra ``[postgres]``),
        ``memory:`` for a store that ends with the process, or a URL whose
        scheme is registered in the entry point group ``dataflow.stores``. None:
        the setting ``DATAFLOW_STORE``, else ``dataflow.db`` in ``DATAFLOW_HOME``.

    Raises
    ------
    StoreError
        The store cannot be opened, or the location names no store that we know.
    """
    if location is None:
        from dataflow.settings import get_settings

        location = get_settings().store_location
    text = str(location)
    if text == "memory:":
        from dataflow.stores.memory import MemoryStore

        return MemoryStore()
    if is_postgres(text):
        from dataflow.stores.postgres import PostgresStore

        return PostgresStore(text)
    scheme, separator, _ = text.partition("://")
    if separator and scheme != "sqlite":
        return _registered(scheme, text)
    if text == "memory":  # "memory:" is meant; a file of that name would be ./memory
        raise _unknown(text)
    path = _path_of(text)
    from dataflow.stores.sqlite import SqliteStore

    return SqliteStore(path)


def _registered(scheme: str, location: str) -> Store:
    """Open the store of a third party that is registered for a scheme."""
    found = next(iter(entry_points(group="dataflow.stores", name=scheme)), None)
    if found is None:
        raise _unknown(location)
    store: Store = found.load()(location)
    return store


def _path_of(location: str) -> Path:
    if "://" not in location and not location.startswith("sqlite:"):
        if not location:
            raise _unknown(location)
        return Path(location).expanduser()
    parts = urlsplit(location)
    if parts.scheme != "sqlite" or parts.netloc or parts.query or len(parts.path) < 2:
        raise _unknown(location)
    return Path(unquote(parts.path[1:])).expanduser()


def _unknown(location: str) -> StoreError:
    scheme = location.partition("://")[0] if "://" in location else location
    return StoreError(
        f"Cannot open the run store {_without_password(location)!r}: {scheme!r} is no store "
        "that this version knows. Give the path of a file, sqlite:///path/to/file.db, "
        "postgresql://user@host/database or memory: (DATAFLOW_STORE, DATAFLOW_HOME).",
        path=_without_password(location), reason="unknown",
    )


def _without_password(location: str) -> str:
    return shown(location) if "://" in location else location
