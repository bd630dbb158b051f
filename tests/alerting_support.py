"""Runs in a store, and what alerts make of them: time is passed in, nothing is sent.

Lives here: writing runs with elements, one turn of the judge. Does not live here:
assertions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dataflow.agenda import NewDeployment, NewRun
from dataflow.alerts import Alert, Configured, Parcel
from dataflow.alerts.alert_lists import tables, to_text
from dataflow.event_log import Findings, Pending
from dataflow.exceptions import SettingsError
from dataflow.ids import new_run_id
from dataflow.outcomes import Code, ErrorRecord
from dataflow.records import CallRecord, ElementRecord, FlowRunRecord, Gulp
from dataflow.service.alert_sources import AlertSources
from dataflow.service.alerting import AlertJudge
from dataflow.store import Store

NOW = float(int(time.time()))
"""Some changes of state have the time of the database, which is that of this machine."""

CODES = {"Failed": Code.FAILED, "Crashed": Code.CRASHED, "Completed": Code.COMPLETED,
         "TimedOut": Code.TIMED_OUT}


class Scene:
    """A store with runs, and a judge of it.

    Parameters
    ----------
    store
        Empty.
    alerts
        Of the files of settings.
    """

    def __init__(self, store: Store, *alerts: Alert, problems: Sequence[str] = ()) -> None:
        self.store = store
        self.log = store.events()
        self.files = Configured(alerts)
        self.problems = [SettingsError(each) for each in problems]
        self.judge = self.new_judge()
        self.records: dict[str, FlowRunRecord] = {}

    def new_judge(self) -> AlertJudge:
        """Return a judge that knows nothing but what is in the store."""
        return AlertJudge(self.store, AlertSources(lambda: (self.files, self.problems)))

    # runs

    def deploy(self, flow: str = "etl", name: str = "nightly", *alerts: Alert,
               made_s: float = NOW, **spec: Any) -> str:
        """Put a deployment; return its name."""
        full = f"{flow}/{name}"
        self.store.agenda().put(NewDeployment(
            name=full, flow_name=flow, digest="d",
            spec={"name": name, "flow_name": flow, "entrypoint": "f.py:f",
                  "alerts": tables(alerts), **spec}), made_s)
        return full

    def queue(self, deployment: str, due_s: float = NOW) -> str:
        """Queue a run of a deployment; return its id."""
        run_id = self.store.agenda().queue(NewRun(
            flow_run_id=new_run_id(), name="tidy-owl", deployment=deployment, parameters={},
            due_s=due_s), due_s)
        flow = deployment.partition("/")[0]
        self.records[run_id] = FlowRunRecord(
            id=run_id, name="tidy-owl", flow_name=flow, state_type="SCHEDULED",
            state_name="Scheduled", created_s=due_s)
        return run_id

    def begin(self, at_s: float = NOW, run_id: str | None = None, *alerts: Alert,
              **fields: Any) -> str:
        """Write a run that has begun; return its id."""
        record = self.records.get(run_id or "") or FlowRunRecord(
            id=new_run_id(), name="tidy-owl", flow_name="etl", created_s=at_s)
        self._write(replace(record, state_type="RUNNING", state_name="Running", run_count=1,
                            start_time_s=at_s, alerts=to_text(alerts), **fields))
        return record.id

    def end(self, run_id: str, state: str, at_s: float, name: str | None = None,
            error: str | None = None, **fields: Any) -> str:
        """Write the end of a run."""
        kind = "" if error is None else error.partition(":")[0]
        record = None if error is None else ErrorRecord(kind, error.partition(": ")[2], error)
        self._write(replace(
            self.records[run_id], state_type=state, state_name=name or state.capitalize(),
            end_time_s=at_s, error=record, **fields))
        return run_id

    def ran(self, state: str, at_s: float, took_s: float = 10.0, **fields: Any) -> str:
        """Write a run from beginning to end."""
        run_id = self.begin(at_s - took_s, None, **fields)
        return self.end(run_id, state, at_s)

    def state(self, run_id: str, kind: str, name: str, message: str | None = None) -> None:
        """Write another state of a run."""
        self._write(replace(self.records[run_id], state_type=kind, state_name=name,
                            message=message))

    def _write(self, record: FlowRunRecord) -> None:
        self.records[record.id] = record
        self.store.write(record.id, Gulp(flow_run=record))

    def elements(self, run_id: str, states: Sequence[str], *, task: str = "load", call: int = 0,
                 at_s: float = NOW, error: str = "flight {} has no air time",
                 first: int = 0) -> None:
        """Write elements of a map with what they came to; the counts are of all of them."""
        rows = [
            ElementRecord(call, first + at, int(CODES[state]), at_s, at_s + 1, 1, "w",
                          error=None if state == "Completed" else ErrorRecord(
                              "ValueError", error.format(first + at), "ValueError"))
            for at, state in enumerate(states)]
        counted: dict[int, int] = {}
        for row in rows:
            counted[row.code] = counted.get(row.code, 0) + 1
        before = {code: n for each in self.store.calls(run_id) if each.call == call
                  for name, n in each.counts.items() for code in [int(CODES[name])]}
        total = {code: counted.get(code, 0) + before.get(code, 0)
                 for code in {*counted, *before}}
        self.store.write(run_id, Gulp(
            calls=[CallRecord(call=call, task_name=task, task_key=task, kind="map",
                              width=sum(total.values()))],
            elements=rows, counts={call: total}))

    # turns

    def findings(self, now_s: float) -> tuple[Pending, Findings]:
        """Judge what waits, and write nothing down."""
        pending = self.log.pending(10_000)
        return pending, self.judge.judge(pending, now_s)

    def turn(self, now_s: float) -> list[Parcel]:
        """Judge what waits and write it down; return the new messages."""
        pending, found = self.findings(now_s)
        handled = replace(found, handled=[each.key for each in pending.events])
        if handled.anything:
            assert self.log.settle(pending.version, handled, now_s)
        return list(found.parcels)
