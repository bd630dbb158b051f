"""Questions about runs that alerts and triggers ask: whose they are, what came before them.

Lives here: statements that read. Does not live here: what follows from the answers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select

from dataflow.event_log import Past, RunFacts
from dataflow.flow_moves import ENDS
from dataflow.stores.agenda.schema import deployments, queued_runs
from dataflow.stores.schema import flow_runs

_F, _Q, _D = flow_runs.c, queued_runs.c, deployments.c
_ENDS = tuple(sorted(ENDS))
_MOST_ABOVE = 20  # flow runs around each other that are looked at


def facts(connection: Connection, flow_run_ids: Sequence[str]) -> dict[str, RunFacts]:
    """Return what is known of runs, of those that are there.

    The deployment's spec is as it was put last: other alerts make no other version.
    """
    found: dict[str, RunFacts] = {}
    deep = depths(connection, flow_run_ids)
    for at in range(0, len(flow_run_ids), 500):
        query = select(
            _F.id, _F.alerts, _Q.due_s, _D.name.label("deployment"), _D.spec,
        ).outerjoin(queued_runs, _Q.flow_run_id == _F.id).outerjoin(
            deployments, _D.key == _Q.deployment
        ).where(_F.id.in_(list(flow_run_ids[at:at + 500])))
        for row in connection.execute(query):
            spec: dict[str, Any] = json.loads(row.spec) if row.spec else {}
            own = json.loads(row.alerts) if row.alerts else []
            found[row.id] = RunFacts(
                deployment=row.deployment, deployment_spec=spec, due_s=row.due_s,
                depth=deep.get(row.id, 0),
                alerts=[*own, *(each for each in spec.get("alerts", ()) if each not in own)])
    return found


def depths(connection: Connection, flow_run_ids: Collection[str]) -> dict[str, int]:
    """Return how many runs made by triggers each run follows from, itself among them.

    A run that no trigger made has the depth of the run around it.
    """
    found: dict[str, int] = {}
    above = {each: {each} for each in flow_run_ids}  # a run → those asked about, at first itself
    for _ in range(_MOST_ABOVE):
        parents: dict[str, set[str]] = {}
        for row in _triggers_and_parents(connection, list(above)):
            if row.trigger is not None:
                found.update({each: int(json.loads(row.trigger).get("depth", 0))
                              for each in above[row.id]})
            elif row.parent_flow_run_id is not None:
                parents.setdefault(row.parent_flow_run_id, set()).update(above[row.id])
        above = parents
        if not above:
            break
    return found


def _triggers_and_parents(connection: Connection, flow_run_ids: Sequence[str]) -> Iterator[Any]:
    for at in range(0, len(flow_run_ids), 500):
        yield from connection.execute(
            select(_F.id, _F.parent_flow_run_id, _Q.trigger).outerjoin(
                queued_runs, _Q.flow_run_id == _F.id
            ).where(_F.id.in_(flow_run_ids[at:at + 500])))


def past(connection: Connection, flow_name: str, deployment: str | None, before_s: float,
         without: str, limit: int) -> Past:
    """Return what runs that ended up to a moment came to."""
    ended = select(_F.state_type, _F.start_time_s, _F.end_time_s).where(
        _F.flow_name == flow_name, _F.kind == "flow", _F.state_type.in_(_ENDS),
        _F.end_time_s <= before_s, _F.id != without,
    ).order_by(_F.end_time_s.desc()).limit(limit)
    if deployment is not None:
        ended = ended.join(queued_runs, _Q.flow_run_id == _F.id).join(
            deployments, _D.key == _Q.deployment).where(_D.name == deployment)
    completed = ended.where(_F.state_type == "COMPLETED")
    took = [(row.end_time_s - row.start_time_s, row.end_time_s)
            for row in connection.execute(completed.where(_F.start_time_s.is_not(None)))]
    return Past(
        durations_s=[each for each, _ in took],
        ended=[row.state_type for row in connection.execute(ended)],
        last_completed_s=took[0][1] if took else None)
