"""What a pool, queue, tag or worker may be called, as commands check it.

Lives here: the rules and what is said where they are broken. Does not live here: the same for
deployments (``deployments/spec_checks.py``).
"""

from __future__ import annotations

from dataflow.exceptions import WorkPoolError


def check_pool_name(name: str) -> None:
    """Refuse what is no name of a pool. Raises WorkPoolError."""
    if not _is_name(name) or "/" in name:
        raise WorkPoolError(f"{name!r:.200} is no name of a pool: up to 200 characters, no slash.")


def check_name(kind: str, name: str) -> None:
    """Refuse what is no name of a queue, tag or worker. Raises WorkPoolError."""
    if not _is_name(name):
        raise WorkPoolError(f"{name!r:.200} is no name of a {kind}: up to 200 characters that can "
                            "be seen.")


def _is_name(name: str) -> bool:
    return bool(name.strip()) and name.isprintable() and len(name) <= 200
