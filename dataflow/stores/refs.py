"""What a user types to mean a run: an id, the front of an id, a name, or ``last``.

Lives here: reading such a text, and choosing among what answers to it. Pure.
Does not live here: looking anything up (the stores).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.exceptions import RunNotFound

LAST = "last"
_PREFIX = re.compile(r"[0-9a-f-]{4,36}", re.IGNORECASE)
_DEFAULT_NAME = re.compile(r"(?P<task>.+)-(?P<front>[0-9a-f]{3})(?:\[(?P<index>\d{1,11})\])?")


@dataclass(frozen=True, slots=True)
class DefaultName:
    """A default task run name taken apart (see ``dataflow.names``)."""

    task_name: str
    front: str  # of the id of the call's first element
    index: int | None


def full_id(ref: str) -> str | None:
    """Return a ref that is a whole uuid in its canonical form, else None."""
    try:
        return str(uuid.UUID(ref)) if len(ref) >= 32 else None
    except ValueError:
        return None


def id_prefix(ref: str) -> str | None:
    """Return a ref that can be the front of an id in lower case, else None."""
    return ref.lower() if _PREFIX.fullmatch(ref) else None


def default_name(ref: str) -> DefaultName | None:
    """Take a ref apart that looks like a default task run name."""
    match = _DEFAULT_NAME.fullmatch(ref)
    if match is None:
        return None
    index = match["index"]
    return DefaultName(match["task"], match["front"], None if index is None else int(index))


def only(kind: str, ref: str, matches: Sequence[tuple[str, str]], hint: str = "") -> str:
    """Return the id of the one run that answers to ``ref``.

    Parameters
    ----------
    kind
        ``"flow run"`` or ``"task run"``, for the text.
    matches
        (id, name) of each that answers.
    hint
        What else to say where none answers.

    Raises
    ------
    RunNotFound
        None answers, or several do: the text lists the first ten.
    """
    if len(matches) == 1:
        return matches[0][0]
    if matches:
        listed = "\n".join(f"  {id}  {name}" for id, name in matches[:10])
        more = "" if len(matches) <= 10 else f"\n  and {len(matches) - 10} more"
        raise RunNotFound(
            f"Several {kind}s answer to {ref!r}; give more of the id:\n{listed}{more}",
            ref=ref, matches=[id for id, _ in matches],
        )
    if ref == LAST:
        raise RunNotFound(f"There is no {kind} yet.{hint}", ref=ref, matches=[])
    raise RunNotFound(f"No {kind} answers to {ref!r}.{hint}", ref=ref, matches=[])
