"""Statements as the driver takes them: composed by SQLAlchemy once in a process, then text.

Lives here: the texts of statements that run a few times in each flow run, where
composing them costs more than the database does. Does not live here: what rows
are written by (``writing.py`` has its own texts), statements that run seldom.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

_NAMED = re.compile(r"%\(\w+\)s")
_texts: dict[tuple[str, ...], str] = {}


def text_for(connection: Connection, make: Callable[..., Any], *names: str) -> str:
    """Return the text of a statement for ``exec_driver_sql``; values go by position.

    Parameters
    ----------
    make
        A function of a module, which composes the statement of ``names``. Its bound
        parameters stand in the order in which their values will come.
    """
    dialect = connection.dialect
    key = (dialect.name, make.__module__, make.__name__, *names)
    text = _texts.get(key)
    if text is None:
        text = _texts[key] = _NAMED.sub("%s", str(make(*names).compile(dialect=dialect)))
    return text
