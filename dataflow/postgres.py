"""URLs of PostgreSQL databases and their driver, for the run store and for claims in it.

Lives here: the import of psycopg with a text for who lacks it, forms of a URL.
Does not live here: SQLAlchemy, statements.
"""

from __future__ import annotations

import re
from typing import Any

from dataflow.exceptions import StoreError

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_SECRETS = re.compile(r"([?&](?:password|sslpassword)=)[^&]*", re.IGNORECASE)


def driver() -> Any:
    """Return psycopg. Raises StoreError where it is not installed."""
    try:
        import psycopg
    except ImportError as error:
        raise StoreError(
            "A run store in PostgreSQL needs psycopg, which cannot be imported "
            f"({error}). Install it with: pip install 'dataflow[postgres]'.",
            reason="no driver",
        ) from error
    return psycopg


def is_postgres(location: str) -> bool:
    """Tell whether a store's location is the URL of a PostgreSQL database."""
    return location.partition("://")[0] in SCHEMES and "://" in location


def plain_url(url: str) -> str:
    """Return a URL as the driver reads it."""
    return "postgresql://" + url.partition("://")[2]


def shown(url: str) -> str:
    """Return a URL without its password; rather too little of it than too much."""
    scheme, _, rest = url.partition("://")
    place, mark, query = rest.partition("?")
    user, at, host = place.rpartition("@")  # the last one: a password may have any character
    name, colon, _ = user.partition(":")
    query = _SECRETS.sub(r"\1…", mark + query)
    return f"{scheme}://{name}{':…' if colon else ''}{at}{host}{query}"
