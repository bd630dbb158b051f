"""What a flow run has from its beginning: runner, driver, record and context.

Lives here: making them from a flow, its parameters and the run around. Does
not live here: the run (``flow_run.py``).
"""

from __future__ import annotations

import logging
import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from inspect import BoundArguments
from typing import Any, Protocol

from dataflow.batch import RunInfo
from dataflow.captured_logs import capture
from dataflow.context import FlowRunContext, LogSink, RunDriver, current_tags, current_task
from dataflow.deployed_run import deployed_run
from dataflow.entrypoints import entrypoint_of
from dataflow.flow_dry_run import DryRun
from dataflow.flow_options import FlowSettings, make_run_name
from dataflow.flow_resume import ResumePoint, pickled_inputs
from dataflow.flow_steps import inside
from dataflow.ids import new_run_id
from dataflow.keeping_defaults import KeepingDefaults, keeping_defaults
from dataflow.logging import prints_to_log, show_on_console
from dataflow.names import flow_run_name
from dataflow.nested import within
from dataflow.outcomes import LogLine
from dataflow.parameters import Parameters, to_json
from dataflow.recorder import Gathered
from dataflow.runner import TaskRunner
from dataflow.runner_choice import DEFAULT, new_runner
from dataflow.settings import get_settings
from dataflow.store import FlowRunRecord, Store
from dataflow.subflow import Ended, StandIn


class Runnable(Protocol):
    """A flow, as far as a run of it needs one."""

    fn: Callable[..., Any]
    kind: str
    arguments: Parameters
    settings: FlowSettings


class _FlowLog(LogSink):
    """The flow's own lines go to the driver's recorder."""

    __slots__ = ("_driver",)

    def __init__(self, driver: RunDriver) -> None:
        self._driver = driver

    def add(self, call: int, index: int, attempt: int, time_s: float, level: int,
            logger: str, message: str, extra: tuple[tuple[str, Any], ...] = ()) -> None:
        self._driver.log(LogLine(call, index, attempt, time_s, level, logger, message, extra))


def pretending(settings: FlowSettings, dry: DryRun) -> FlowSettings:
    """Return the settings of a dry run: here, and once."""
    return replace(settings, task_runner="inline", retries=0, timeout_seconds=None, strict=False,
                   on_exit=dry.on_exit)


def opened(flow: Runnable, settings: FlowSettings, bound: BoundArguments,
           parent: FlowRunContext | None, stand_in: StandIn | None, dry: DryRun | None,
           point: ResumePoint | None = None) -> tuple[FlowRunContext, Store | None]:
    """Make a run's driver and context, and the store it is to close; nothing has begun.

    Parameters
    ----------
    flow, settings, bound
        What is called, how, with what.
    parent
        The run around.
    stand_in
        The call of the run around that stands for this one.
    dry
        The dry run that this belongs to, None: it is real.
    point
        Where a run goes on, None: it is a new one.
    """
    from dataflow.driver import Driver
    from dataflow.stores.reuse import store_for_run

    defaults = get_settings()
    level = logging.getLevelNamesMapping().get(defaults.log_level.upper(), logging.INFO)
    if parent is None:
        show_on_console(level, defaults.logging_to_console)
    runner = _runner(settings, parent, defaults.task_runner)
    info = _info(settings, bound, parent, stand_in, level, point)
    info.extra_loggers = defaults.logging_extra_loggers
    if info.extra_loggers:
        capture(info.extra_loggers, level)
    record = FlowRunRecord(
        id=info.flow_run_id, name=info.flow_run_name, flow_name=settings.name,
        flow_version=settings.version, parameters=to_json(bound.arguments),
        tags=info.tags, created_s=info.started_s,
        parent_flow_run_id=info.parent_flow_run_id,
        parent_task_run_id=info.parent_task_run_id, runner=runner.name,
        host=socket.gethostname(), pid=os.getpid(), entrypoint=entrypoint_of(flow.fn),
        alerts=_alerts(settings),
    )
    if point is not None:
        _go_on(record, point)
    around = _store_around(parent, dry)
    own = None
    if around is None:
        own = store_for_run() if point is None else point.store
    store = around if own is None else own
    info.keeping = _keeping(settings, parent, store)
    driver: RunDriver = Driver(
        record=record, run=info, runner=runner, store=store,
        owns_runner=parent is None or runner is not parent.runner,
        resumption=None if point is None else point.resumption,
        inputs=pickled_inputs(dict(bound.arguments))
        if parent is None and dry is None and (point is None or point.begins) else None,
    )
    log_prints = settings.log_prints
    if log_prints is None:
        log_prints = parent.log_prints if parent is not None else defaults.log_prints
    if log_prints:
        prints_to_log(print)
    context = FlowRunContext(
        info, driver, flow, log_prints, _FlowLog(driver), runner,
        parent.root_flow_run_id if parent is not None else None)
    if parent is not None:
        context.records, context.control = parent.records, parent.control
    context.dry, context.store = dry, store
    if dry is not None and parent is not None and stand_in is not None:
        stood_for = parent.run.flow_run_id, stand_in.call
        dry.stands_for[info.flow_run_id] = stood_for
        dry.note(stood_for, dry.origins(bound.arguments))
    return context, own


def _go_on(record: FlowRunRecord, point: ResumePoint) -> None:
    """Make a record that of a run which goes on."""
    row = point.row
    record.created_s, record.epoch = row.created.timestamp(), point.epoch or 0
    record.parent_flow_run_id = record.parent_flow_run_id or row.parent_flow_run_id
    record.parent_task_run_id = record.parent_task_run_id or row.parent_task_run_id
    if point.begins:
        return
    record.state_type, record.state_name = "SCHEDULED", "Resuming"
    record.start_time_s = None if row.start_time is None else row.start_time.timestamp()
    record.parameters, record.tags = row.parameters, row.tags
    record.run_count, record.first_call = row.run_count, row.first_call
    record.resumed = row.resumed + 1
    record.cpu_s, record.peak_bytes = _used_before(point), row.peak_bytes


def _used_before(point: ResumePoint) -> float | None:
    """Return the processor time of a run so far; of a process that was killed, of its elements."""
    row = point.row
    used = [each.cpu_s for each in point.store.usage(row.id) if each.run_id == row.id]
    known = [cpu_s for cpu_s in used if cpu_s is not None]
    return max(row.cpu_s or 0.0, sum(known)) if known else row.cpu_s


def _alerts(settings: FlowSettings) -> str | None:
    if not settings.alerts:
        return None
    from dataflow.alerts.alert_lists import to_text

    return to_text(settings.alerts)


def _keeping(settings: FlowSettings, parent: FlowRunContext | None,
             store: Store | Gathered | None) -> KeepingDefaults:
    """Return what holds for results where tasks do not say."""
    around: KeepingDefaults | None = None if parent is None else parent.run.keeping
    if around is not None:
        claims = around.claims
    else:
        claims = store.claims().address if isinstance(store, Store) else None
    return keeping_defaults(settings.keeping, claims, around)


def _store_around(parent: FlowRunContext | None, dry: DryRun | None) -> Store | Gathered | None:
    """Return the store that the run around has open, or what gathers records where none is."""
    if dry is not None:
        return dry.store
    if parent is None:
        return None
    gathered: Gathered | None = parent.records
    shared: Store | Gathered | None = parent.store
    return shared if gathered is None else gathered


def continued(old: FlowRunContext, driver: RunDriver, run: RunInfo) -> FlowRunContext:
    """Return the context of what follows: code left behind keeps the one it has."""
    new = FlowRunContext(run, driver, old.flow, old.log_prints, _FlowLog(driver), old.runner,
                         old.root_flow_run_id)
    new.children, new.dry, new.store = old.children, old.dry, old.store
    new.records, new.control = old.records, old.control
    return new


def _runner(settings: FlowSettings, parent: FlowRunContext | None,
            by_setting: str | None) -> TaskRunner:
    option = settings.task_runner
    if parent is not None and (option is None or parent.dry is not None):
        shared: TaskRunner = parent.runner
        return shared
    return new_runner(option or by_setting or DEFAULT)


def _info(settings: FlowSettings, bound: BoundArguments, parent: FlowRunContext | None,
          stand_in: StandIn | None, level: int, point: ResumePoint | None) -> RunInfo:
    info = RunInfo(
        flow_run_id=new_run_id() if point is None else point.row.id,
        flow_run_name=flow_run_name(random.Random()) if point is None else point.row.name,
        flow_name=settings.name, flow_version=settings.version,
        parameters=dict(bound.arguments), tags=tuple(sorted(current_tags.get())),
        started_s=time.time(),
        parent_flow_run_id=parent.run.shown_flow_run_id if parent is not None else None,
        log_level=level,
        root_flow_run_id=parent.root_flow_run_id if parent is not None else None,
        fence=parent.run.fence if parent is not None else None,
    )
    if point is None or point.begins:
        _name(info, settings, bound, parent)
    info.deployed = deployed_run(info.flow_run_id)
    if point is not None:
        info.run_count = max(1, point.row.run_count)
        info.tags = tuple(sorted({*info.tags, *point.row.tags}))
    info.within = within(current_task.get(), parent, info.flow_run_name)
    if stand_in is not None:
        info.parent_task_run_id = stand_in.task_run_id
        stand_in.name = info.flow_run_name
    return info


def _name(info: RunInfo, settings: FlowSettings, bound: BoundArguments,
          parent: FlowRunContext | None) -> None:
    """Name the run as the flow says; a callable may ask ``runtime.flow_run`` meanwhile."""
    how = settings.flow_run_name
    if how is None:
        return
    nobody: Any = Ended(None, f"The name of a run of flow {settings.name!r} is being made")
    context = FlowRunContext(info, nobody, None, False, None, None,
                             parent.root_flow_run_id if parent is not None else None)
    with inside(context):
        info.flow_run_name = make_run_name(how, bound, settings.name)
