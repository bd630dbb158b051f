"""Statements that write down what follows from events, and who may.

Lives here: the memory of those who judge, its version, the lead of a loop. Does not live
here: runs that follow (``stores/agenda/``), messages (``parcels.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from dataflow.event_log import LONGEST_LEAD_S
from dataflow.stores.events.schema import leads, memory

_M, _L = memory.c, leads.c
_VERSION = ""  # the name under which the version stands in the memory


def remembered(connection: Connection) -> tuple[int, dict[str, str]]:
    """Return the version of the memory, and what is in it."""
    found = {row.name: row.value for row in connection.execute(select(memory))}
    return int(found.pop(_VERSION, 0)), found


def next_version(connection: Connection, version: int) -> bool:
    """Raise the version, which is locked until the transaction ends; False: it is another."""
    if version == 0 and connection.execute(
            select(_M.name).where(_M.name == _VERSION)).first() is None:
        connection.execute(insert(memory).values(name=_VERSION, value="1"))
        return True
    return bool(connection.execute(update(memory).where(
        _M.name == _VERSION, _M.value == str(version)).values(value=str(version + 1))).rowcount)


def remember(connection: Connection, new: Mapping[str, str | None]) -> None:
    """Put what is to be remembered in the place of what was; None: nothing any more."""
    for name, value in new.items():
        if value is None:
            connection.execute(delete(memory).where(_M.name == name))
        elif not connection.execute(
                update(memory).where(_M.name == name).values(value=value)).rowcount:
            connection.execute(insert(memory).values(name=name, value=value))


def lead(connection: Connection, loop: str, owner: str, now_s: float, until_s: float) -> bool:
    """Become or stay the one that runs a loop; False: another one is."""
    taken = connection.execute(update(leads).where(
        _L.loop == loop, or_(_L.owner == owner, ~_holds(now_s)),
    ).values(owner=owner, until_s=until_s)).rowcount
    if taken:
        return True
    if connection.execute(select(_L.loop).where(_L.loop == loop)).first() is not None:
        return False
    if until_s >= now_s:
        connection.execute(insert(leads).values(loop=loop, owner=owner, until_s=until_s))
    return True


def leader(connection: Connection, loop: str, now_s: float) -> str | None:
    """Return who runs a loop; None: nobody."""
    found: str | None = connection.execute(
        select(_L.owner).where(_L.loop == loop, _holds(now_s))).scalar()
    return found


def _holds(now_s: float) -> Any:
    return _L.until_s.between(now_s, now_s + LONGEST_LEAD_S)
