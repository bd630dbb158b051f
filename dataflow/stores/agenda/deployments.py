"""Statements on deployments, their versions and their schedules as they are put.

Lives here: putting, finding, pausing, deleting. Does not live here: what happens
when a schedule is due (``schedules.py``).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, insert, or_, select, text, update

from dataflow.agenda import DeploymentRow, NewDeployment, NewSchedule, VersionRow
from dataflow.exceptions import DeploymentNotFound
from dataflow.ids import new_run_id
from dataflow.stores.agenda.schema import REACTING, deployments, schedules, versions

_D, _V, _S = deployments.c, versions.c, schedules.c
_THERE = _D.there == 1


def put(
    connection: Connection, new: NewDeployment, now_s: float
) -> tuple[int, bool]:
    """Put a deployment; return its key and whether anything is another now."""
    row = connection.execute(
        select(deployments).where(_D.name == new.name, _THERE).with_for_update()
    ).one_or_none()
    values = {
        "flow_name": new.flow_name, "paused": int(new.paused), "pool": new.pool,
        "queue": new.queue, "priority": new.priority, "run_limit": new.limit,
        "collision": new.collision, "on_crash": new.on_crash,
        "spec": json.dumps(new.spec, sort_keys=True)}
    if row is None:
        made = connection.execute(insert(deployments).values(
            id=new_run_id(), name=new.name, version=0, created_s=now_s, updated_s=now_s,
            there=1, **values).returning(_D.key))
        key = int(made.scalar_one())
        changed, number = True, 0
    else:
        key, number = int(row.key), int(row.version)
        before = json.loads(row.spec)
        if bool(before.get("paused", False)) == new.paused:
            values["paused"] = row.paused  # by hand, perhaps: what is put says nothing else now
        if before.get("limit") == new.spec.get("limit") == new.limit:
            values["run_limit"] = row.run_limit
        changed = any(getattr(row, name) != value for name, value in values.items())
    if number == 0 or _digest(connection, key, number) != new.digest:
        number, changed = number + 1, True
        connection.execute(insert(versions).values(
            deployment=key, number=number, label=new.label, digest=new.digest,
            spec=json.dumps(new.spec), provenance=json.dumps(new.provenance), created_s=now_s))
    changed |= _put_schedules(connection, key, new.schedules, now_s)
    if row is not None and row.paused and not values["paused"]:
        _rested(connection, key, now_s)
    if changed:
        connection.execute(update(deployments).where(_D.key == key).values(
            version=number, updated_s=now_s, **values))
    return key, changed


def _digest(connection: Connection, key: int, number: int) -> str:
    return str(connection.execute(select(_V.digest).where(
        _V.deployment == key, _V.number == number)).scalar_one())


def _put_schedules(
    connection: Connection, key: int, new: Sequence[NewSchedule], now_s: float
) -> bool:
    """Put schedules in the place of those that are there; the same ones go on as they stand."""
    there = {row.slug: row for row in connection.execute(
        select(schedules).where(_S.deployment == key))}
    changed = False
    for each in new:
        row, spec = there.pop(each.slug, None), json.dumps(each.spec, sort_keys=True)
        if row is not None and row.spec == spec:
            continue  # it may have been paused by hand
        changed = True
        values: dict[str, Any] = {
            "spec": spec, "active": int(each.active), "made_s": now_s, "handled_s": None,
            "next_s": each.next_s if each.active else None}
        if row is None:
            connection.execute(insert(schedules).values(
                deployment=key, slug=each.slug, **values))
        else:
            connection.execute(update(schedules).where(_S.key == row.key).values(**values))
    for row in there.values():
        changed = True
        connection.execute(schedules.delete().where(_S.key == row.key))
    return changed


def _selected() -> Any:
    return select(
        deployments, _V.label, _V.digest, _V.provenance
    ).join(versions, and_(_V.deployment == _D.key, _V.number == _D.version))


def row_of(row: Any) -> DeploymentRow:
    """Return the value of a row."""
    return DeploymentRow(
        id=row.id, name=row.name, flow_name=row.flow_name, version=row.version, label=row.label,
        digest=row.digest, spec=json.loads(row.spec), provenance=json.loads(row.provenance),
        paused=bool(row.paused), pool=row.pool, queue=row.queue, priority=row.priority,
        limit=row.run_limit, collision=row.collision, on_crash=row.on_crash,
        created_s=row.created_s, updated_s=row.updated_s)


def by_key(connection: Connection, keys: Sequence[int]) -> dict[int, DeploymentRow]:
    """Return deployments by key, also such as were deleted."""
    rows = connection.execute(_selected().where(_D.key.in_(keys)))
    return {row.key: row_of(row) for row in rows}


def every(connection: Connection, limit: int | None = None,
          after: str | None = None) -> list[DeploymentRow]:
    """Return them by name."""
    query = _selected().where(_THERE).order_by(_D.name).limit(limit)
    if after is not None:
        query = query.where(_D.name > after)
    return [row_of(row) for row in connection.execute(query)]


def with_triggers(connection: Connection) -> list[Any]:
    """Return those whose spec names triggers or ``after``, by name, for :func:`row_of`; perhaps
    some more."""
    return list(connection.execute(
        _selected().where(text(f"deployments.there = 1 AND ({REACTING})")).order_by(_D.name)))


def with_deadlines(connection: Connection) -> list[DeploymentRow]:
    """Return those whose spec names a deadline, by name; triggers may have one, too."""
    has = _D.spec.contains('"not_completed_by": "', autoescape=True)
    return [row_of(row) for row in connection.execute(
        _selected().where(_THERE, has).order_by(_D.name))]


def key_of(connection: Connection, name: str) -> int:
    """Find a deployment by name, the second part of it, or id. Raises DeploymentNotFound."""
    rows = connection.execute(
        select(_D.key, _D.name).where(_THERE, or_(_D.name == name, _D.id == name))).all()
    if not rows and "/" not in name:
        rows = connection.execute(
            select(_D.key, _D.name).where(_THERE, _D.name.endswith("/" + name, autoescape=True))
        ).all()
    if len(rows) == 1:
        return int(rows[0].key)
    if rows:
        raise DeploymentNotFound(
            f"{name!r} names several deployments: {', '.join(sorted(r.name for r in rows))}. "
            "Write flow/deployment.", name=name)
    known = list(connection.execute(select(_D.name).where(_THERE)).scalars())
    near = difflib.get_close_matches(name, [*known, *(n.partition("/")[2] for n in known)], 1)
    hint = f" Is {near[0]!r} meant?" if near else (
        " There are none yet." if not known else
        " `dataflow deployment ls` lists those there are.")
    raise DeploymentNotFound(f"There is no deployment {name!r}.{hint}", name=name)


def kept_key_of(connection: Connection, name: str) -> int:
    """Find a deployment, and keep it from being deleted before the transaction ends.

    Raises DeploymentNotFound.
    """
    key = key_of(connection, name)
    return key if _kept(connection, key) else key_of(connection, name)  # deleted since


def _kept(connection: Connection, key: int) -> bool:
    return connection.execute(select(_D.key).where(
        _D.key == key, _THERE).with_for_update(read=True)).first() is not None


def history(connection: Connection, key: int) -> list[VersionRow]:
    """Return the versions of a deployment, the newest first."""
    rows = connection.execute(
        select(versions).where(_V.deployment == key).order_by(_V.number.desc()))
    return [VersionRow(number=row.number, label=row.label, digest=row.digest,
                       spec=json.loads(row.spec), provenance=json.loads(row.provenance),
                       created_s=row.created_s) for row in rows]


def pause(connection: Connection, key: int, paused: bool, now_s: float) -> None:
    """Let a deployment's schedules rest, or go on from now."""
    done = connection.execute(update(deployments).where(
        _D.key == key, _D.paused != int(paused)).values(paused=int(paused)))
    if done.rowcount and not paused:
        _rested(connection, key, now_s)


def _rested(connection: Connection, key: int, now_s: float) -> None:
    """Let schedules go on from now: what came while they rested is not missed."""
    connection.execute(update(schedules).where(_S.deployment == key, _S.active == 1).values(
        made_s=now_s, handled_s=now_s, next_s=now_s))


def delete(connection: Connection, key: int, now_s: float) -> None:
    """Take a deployment and its schedules away; its versions stay with its runs."""
    connection.execute(update(deployments).where(_D.key == key).values(
        deleted_s=now_s, there=None))
    connection.execute(schedules.delete().where(_S.deployment == key))


def count(connection: Connection) -> int:
    """Return how many there are."""
    return int(connection.execute(
        select(func.count()).select_from(deployments).where(_THERE)).scalar_one())
