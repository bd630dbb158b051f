"""The border at which the errors of SQLAlchemy and of databases become StoreError.

Lives here: the translation, once for all stores. Does not live here: what an
error of SQLite or the system means (``dataflow/store_errors.py``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dataflow.exceptions import DataflowError, StoreError
from dataflow.store_errors import store_error


@contextmanager
def translated(path: str, doing: str) -> Iterator[None]:
    """Raise what the database or the system raises inside as StoreError.

    Parameters
    ----------
    path
        The store's file.
    doing
        ``"open"``, ``"read"``, ``"write to"`` or ``"close"``, for the text.
    """
    try:
        yield
    except DataflowError:
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise _store_error(path, doing, error) from error


def _store_error(path: str, doing: str, error: Exception) -> StoreError:
    cause: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig
    if type(cause).__module__.partition(".")[0] == "psycopg":
        return postgres_error(path, doing, cause)
    return store_error(path, doing, cause)


_SERVER = "see that the server runs and can be reached, and that DATAFLOW_STORE names it"
_UNREACHABLE = ("unreachable", "the server cannot be reached, or the connection was lost", _SERVER)
_POSTGRES: dict[str, tuple[str, str, str]] = {
    # by SQLSTATE, or by its class
    "08": _UNREACHABLE,
    "28": ("denied", "the server does not let this user in", "check user and password"),
    "3D": ("no database", "there is no such database", "make it with createdb, or name another"),
    "53100": ("full", "the server's disk is full", "free some space on the server"),
    "53300": ("busy", "the server has no connection left", "raise its max_connections"),
    "57P": _UNREACHABLE,  # shut down, starting up
    "42501": ("read-only", "this user may not write there", "grant it the right to"),
    "25006": ("read-only", "the server takes no writes", "name the server that does"),
    "40": ("locked", "other writers were in the way", "try again"),
    "55P03": ("locked", "a lock could not be had", "find the session that holds it"),
}


_REFUSALS = {  # a connection that is refused comes without a state
    'database "': "3D", "authentication failed": "28", "pg_hba.conf": "28", 'role "': "28",
    "no password supplied": "28", "too many": "53300", "connection slots": "53300",
}


def postgres_error(where: str, doing: str, cause: BaseException | None) -> StoreError:
    """Return the error to raise for what psycopg raised."""
    state = getattr(cause, "sqlstate", None) or ""
    known = next(
        (_POSTGRES[key] for key in (state, state[:3], state[:2]) if key in _POSTGRES), None)
    said = str(cause).strip().replace("\n", "; ")
    if known is None and not state and type(cause).__name__ == "OperationalError":
        known = next((_POSTGRES[key] for text, key in _REFUSALS.items() if text in said),
                     _UNREACHABLE)
    reason, what, advice = known or ("failed", "it failed", "look at the server and its log")
    return StoreError(
        f"Cannot {doing} the run store {where}: {what} ({said}). Nothing was changed. "
        f"What to do: {advice}.",
        path=where, reason=reason,
    )
