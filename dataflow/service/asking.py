"""Asking for a run of a deployment, and waiting for it.

Lives here: :func:`run_deployment`. Does not live here: who runs it (``worker.py``),
the check of its parameters (``deploying.py``).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from dataflow.agenda import NewRun
from dataflow.context import current_flow
from dataflow.deployments.json_values import checked_text
from dataflow.exceptions import DefinitionTypeError
from dataflow.flow_moves import ENDS
from dataflow.ids import new_run_id
from dataflow.names import flow_run_name as fresh_name
from dataflow.service.deploying import checked_parameters
from dataflow.store import FlowRunRow, Store
from dataflow.stores import open_store

POLL_S = 0.2
LEAST_POLL_S = 0.01
NAME_LIMIT = 200
"""Characters in the name of a run that is asked for."""

Sleep = Callable[[float], object]


def run_deployment(
    name: str, parameters: Mapping[str, Any] | None = None,
    scheduled_time: datetime | None = None, flow_run_name: str | None = None,
    timeout: float | None = None, poll_interval: float = POLL_S,
    tags: Iterable[str] | None = None, idempotency_key: str | None = None,
    as_subflow: bool = True, priority: int | None = None,
) -> FlowRunRow:
    """Have a deployment run, and wait for the end of the run.

    Parameters
    ----------
    name
        ``flow/deployment``, the second part alone where that is unique, or its id.
    parameters
        Over those of the deployment; checked before anything is queued.
    scheduled_time
        Not before; default now. One without a zone is in UTC.
    flow_run_name
        Name of the run; made up by default.
    timeout : seconds, optional
        How long to wait for the end: 0 not at all, None as long as it takes.
    poll_interval : seconds
        How often to look.
    tags
        Of the run, beside the deployment's.
    idempotency_key
        The same key again is the same run, not another one.
    as_subflow
        Called in a flow, the run says that it belongs to that one.
    priority
        Instead of the deployment's.

    Returns
    -------
    FlowRunRow
        The run as it stands when it has ended, or the time is up. In a dry run of a flow none is
        made: the row says Completed.

    Raises
    ------
    DeploymentNotFound
        No deployment answers to that name.
    ParameterTypeError
        The parameters do not fit; no run was made.
    """
    for what, seconds in (("timeout", timeout), ("poll_interval", poll_interval)):
        if seconds is not None and (isinstance(seconds, bool)
                                    or not isinstance(seconds, (int, float))):
            raise DefinitionTypeError(f"{what} is a number of seconds, not {seconds!r}.")
    around = current_flow.get()
    if around is not None and around.dry is not None:
        pretended: FlowRunRow = around.dry.pretended_row(around, str(name), parameters)
        return pretended
    store = open_store(None)
    try:
        flow_run_id = ask(
            store, name, parameters or {}, time.time(), due=scheduled_time,
            run_name=flow_run_name, tags=tags, idempotency_key=idempotency_key,
            as_subflow=as_subflow, priority=priority)
        return waited(store, flow_run_id, timeout, poll_interval)
    finally:
        store.close()


def ask(store: Store, name: str, parameters: Mapping[str, Any], now_s: float, *,
        due: datetime | timedelta | None = None, run_name: str | None = None,
        tags: Iterable[str] | None = None, idempotency_key: str | None = None,
        as_subflow: bool = False, priority: int | None = None, cause: str | None = None) -> str:
    """Queue a run of a deployment; return its id. Raises as :func:`run_deployment` does."""
    tags = _tags(tags)
    _check(name, run_name, idempotency_key, priority)
    agenda = store.agenda()
    deployment = agenda.deployment(name)
    around = current_flow.get() if as_subflow else None
    new = NewRun(
        flow_run_id=new_run_id(), name=run_name or fresh_name(random.Random()),
        deployment=deployment.name, parameters=checked_parameters(deployment, parameters),
        due_s=_due_s(due, now_s), tags=tags, priority=priority,
        idempotency_key=idempotency_key, cause=cause or "asked for",
        parent_flow_run_id=None if around is None else around.run.flow_run_id)
    return agenda.queue(new, now_s)


def _check(name: Any, run_name: Any, idempotency_key: Any, priority: Any) -> None:
    _text(name, "name")
    if run_name is not None:
        _text(run_name, "flow_run_name")
        if len(run_name) > NAME_LIMIT:
            raise DefinitionTypeError(
                f"flow_run_name has {len(run_name):,} characters: {NAME_LIMIT} at most.")
    if idempotency_key is not None:
        _text(idempotency_key, "idempotency_key")
    if priority is None:
        return
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) >= 1 << 31:
        raise DefinitionTypeError(f"priority is a whole number below 2**31, not {priority!r:.200}.")


def _text(value: Any, what: str) -> None:
    """Raise DefinitionTypeError for what no store can hold as a text, and for an empty one."""
    if not isinstance(value, str):
        raise DefinitionTypeError(f"{what} is a text, not {value!r:.200}.")
    if not value.strip():
        raise DefinitionTypeError(f"{what} is empty: give a text, or leave it out.")
    try:
        checked_text(value, what)
    except ValueError as error:
        raise DefinitionTypeError(f"{error}.") from None


def _tags(tags: Iterable[str] | None) -> tuple[str, ...]:
    if isinstance(tags, str):
        raise DefinitionTypeError(f"tags is a list of texts, not the text {tags!r}.")
    found = tuple(tags or ())
    for tag in found:
        _text(tag, "a tag")
    return found


def _due_s(due: datetime | timedelta | None, now_s: float) -> float:
    if due is None:
        return now_s
    if isinstance(due, timedelta):
        return now_s + due.total_seconds()
    if not isinstance(due, datetime):
        raise DefinitionTypeError(
            f"scheduled_time is a datetime, not {type(due).__name__}.")
    return (due if due.tzinfo is not None else due.replace(tzinfo=UTC)).timestamp()


def waited(store: Store, flow_run_id: str, timeout_s: float | None, poll_s: float,
           sleep: Sleep = time.sleep) -> FlowRunRow:
    """Return a run when it has ended, or as it stands when the time is up."""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        row = store.find_flow_run(flow_run_id)
        left = None if until is None else until - time.monotonic()
        if row.state_type in ENDS or (left is not None and left <= 0):
            return row
        pause = max(poll_s, LEAST_POLL_S)
        sleep(pause if left is None else min(pause, left))
