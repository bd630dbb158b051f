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
    return store_error(path, doing, cause)
