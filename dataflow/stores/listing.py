"""Queries that list flow runs and flows, page by page.

Lives here: filters, and where a page begins. Does not live here: what belongs to one
run (``reading.py``).

A page begins behind the last row of the one before, which is found by an index: page
1,000 costs what page 1 costs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from dataflow.store import FlowRow, FlowRunRow
from dataflow.stores import owners, schema
from dataflow.stores.reading import IS_FLOW, NEWEST_FIRST
from dataflow.stores.rows import flow_run_row

_RUNS = schema.flow_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which flow runs are wanted; see :meth:`.Store.flow_runs`."""

    state: str | None = None
    flow: str | None = None
    parent: str | None = None
    deployment: str | None = None
    tag: str | None = None
    since_s: float | None = None
    before: str | None = None

    def conditions(self, connection: Connection) -> list[ColumnElement[bool]]:
        """Return what must hold. Raises RunNotFound."""
        found: list[ColumnElement[bool]] = [IS_FLOW]
        if self.state is not None:
            wanted = self.state.casefold()
            found.append(or_(func.lower(_RUNS.c.state_type) == wanted,
                             func.lower(_RUNS.c.state_name) == wanted))
        if self.flow is not None:
            found.append(_RUNS.c.flow_name == self.flow)
        if self.parent is not None:
            found.append(_RUNS.c.parent_task_run_id == self.parent)
        if self.deployment is not None:
            found.append(_of_deployment(self.deployment))
        if self.tag is not None:
            found.append(_has_tag(self.tag))
        if self.since_s is not None:
            found.append(_RUNS.c.created_s >= self.since_s)
        if self.before is not None:
            found.append(_older_than(connection, self.before))
        return found


def flow_runs(connection: Connection, wanted: Wanted, limit: int | None) -> list[FlowRunRow]:
    """Return flow runs, newest first. Raises RunNotFound."""
    statement = select(_RUNS).where(*wanted.conditions(connection))
    return [flow_run_row(row) for row in connection.execute(
        statement.order_by(*NEWEST_FIRST).limit(limit))]


def flows(connection: Connection, limit: int | None, after: str | None) -> list[FlowRow]:
    """Return the flows that have runs, by name."""
    names = select(_RUNS.c.flow_name).where(IS_FLOW)
    if after is not None:
        names = names.where(_RUNS.c.flow_name > after)
    page = names.distinct().order_by(_RUNS.c.flow_name).limit(limit).subquery()
    counted = (
        select(_RUNS.c.flow_name, _RUNS.c.state_type, func.count().label("runs"),
               func.max(_RUNS.c.created_s).label("newest"))
        .where(IS_FLOW, _RUNS.c.flow_name.in_(select(page.c.flow_name)))
        .group_by(_RUNS.c.flow_name, _RUNS.c.state_type)
        .order_by(_RUNS.c.flow_name, _RUNS.c.state_type))
    found: dict[str, list[Any]] = {}
    for row in connection.execute(counted):
        found.setdefault(row.flow_name, []).append(row)
    return [
        FlowRow(name=name, counts={row.state_type: row.runs for row in rows},
                last_created=datetime.fromtimestamp(max(row.newest for row in rows), UTC))
        for name, rows in found.items()]


def _older_than(connection: Connection, flow_run_id: str) -> ColumnElement[bool]:
    last = connection.execute(select(_RUNS.c.created_s, _RUNS.c.key).where(
        _RUNS.c.id == flow_run_id)).one_or_none()
    if last is None:
        raise owners.not_found(flow_run_id)
    return and_(_RUNS.c.created_s <= last.created_s,  # by itself, so that the index is used
                or_(_RUNS.c.created_s < last.created_s, _RUNS.c.key < last.key))


def _of_deployment(name: str) -> ColumnElement[bool]:
    from dataflow.stores.agenda.schema import deployments, queued_runs

    return _RUNS.c.id.in_(
        select(queued_runs.c.flow_run_id)
        .join(deployments, deployments.c.key == queued_runs.c.deployment)
        .where(deployments.c.name == name))


def _has_tag(tag: str) -> ColumnElement[bool]:
    """Return the condition that a tag stands in the JSON list.

    A quote inside of a text has a backslash before it, so that only the first quote of a text
    comes after ``[`` or a space.
    """
    text = json.dumps(tag)
    return or_(*(func.replace(_RUNS.c.tags, opening + text, "") != _RUNS.c.tags
                 for opening in ("[", " ")))
