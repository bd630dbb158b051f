"""Serving deployments from one long-lived process, and what a worker's process is.

Lives here: a scheduler and a worker together, signals, what is said at the start.
Does not live here: the loops themselves (``scheduler.py``, ``worker.py``).
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from dataflow.deployments import DeploymentSpec
from dataflow.deployments.code_keeping import take_away_old
from dataflow.entrypoints import refuse_to_serve_while_loading
from dataflow.exceptions import DefinitionTypeError
from dataflow.logging import show_on_console
from dataflow.service.deploying import order_of, register
from dataflow.service.event_loops import Loop, event_loops
from dataflow.service.inline import MainThread
from dataflow.service.scheduler import Scheduler
from dataflow.service.worker import Worker
from dataflow.settings import get_settings
from dataflow.store import Store
from dataflow.stores import open_store

SERVE_POOL = "serve"
"""The work pool of what is served; each deployment has a queue of its own in it."""

logger = logging.getLogger("dataflow.worker")


def serve(*deployments: DeploymentSpec, limit: int | None = None,
          pause_on_shutdown: bool = False, print_starting_message: bool = True) -> None:
    """Run deployments from this process until it is told to end: when due, or asked for.

    Each run has a process of its own, in the folder that this one stands in. Ctrl-C
    or SIGTERM: nothing more begins, and what goes on goes on to its end; a second one
    cancels that.

    Parameters
    ----------
    deployments
        Made with :meth:`.Flow.to_deployment`.
    limit
        Runs at the same time, of all of them; None: any number.
    pause_on_shutdown
        Let the schedules rest when this ends; what they would have made is not missed
        then. By default missed runs are made up for as each schedule says.
    print_starting_message
        Say on stderr what is served.

    Raises
    ------
    StoreError
        The run store keeps no deployments, or cannot be used.
    DefinitionTypeError
        What was given is no deployment.
    """
    refuse_to_serve_while_loading("serve()")
    if not deployments:
        raise DefinitionTypeError("serve() needs a deployment: flow.to_deployment(name).")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise DefinitionTypeError(f"limit is a number of runs, 1 or more, not {limit!r}.")
    for each in deployments:
        if not isinstance(each, DeploymentSpec):
            raise DefinitionTypeError(
                f"serve() takes deployments, not {type(each).__name__}: make one with "
                "flow.to_deployment(name).")
    specs = [replace(each, work_pool=SERVE_POOL, work_queue=_queue_of(each))
             for each in deployments]
    store = open_store(None)
    try:
        agenda = store.agenda()
        for spec in specs:
            register(agenda, spec, time.time(), beside=specs)
            if pause_on_shutdown:  # the pause of the last time
                agenda.pause(spec.full_name, spec.paused, time.time())
        settings = get_settings()
        show_on_console(logging.getLevelNamesMapping().get(settings.log_level.upper(),
                                                           logging.INFO),
                        settings.logging_to_console)
        if print_starting_message:
            print(_starting(specs), file=sys.stderr)  # noqa: T201 - asked for
        worker = Worker(store, SERVE_POOL, order_of=order_of, limit=limit,
                        queues=[_queue_of(spec) for spec in specs])
        try:
            work(store, worker)
        finally:
            if pause_on_shutdown:
                for spec in specs:
                    agenda.pause(spec.full_name, True, time.time())
    finally:
        store.close()


def work(store: Store, worker: Worker, *, schedule: bool = True,
         main: MainThread | None = None) -> None:
    """Run a worker until a signal says that it is enough.

    Parameters
    ----------
    schedule
        Beside it goes on what makes runs, a scheduler and watchers of events and files, and what
        delivers messages.
    main
        Where runs are performed in this thread: the worker's loop goes on in another one.
    """
    with suppress(OSError):
        take_away_old(get_settings().home, time.time())
    loops: list[Loop] = []
    if schedule:
        loops = [Scheduler(store, lambda runs: worker.poke(), patience_s=worker.claim_s),
                 *event_loops(store, worker.poke)]
    with _drained_by_signals(worker):
        for loop in loops:
            loop.start()
        try:
            if main is None:
                worker.run()
            else:
                _run_beside(worker, main)
        finally:
            for loop in loops:
                loop.stop()


def _run_beside(worker: Worker, main: MainThread) -> None:
    """Run a worker's loop in a thread, which lets this one go when it ends."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="dataflow-worker")
    thread.start()
    try:
        main.serve()
    finally:
        worker.drain()
        thread.join()
    if failed:
        raise failed[0]


@contextmanager
def _drained_by_signals(worker: Worker) -> Iterator[None]:
    """Let SIGINT and SIGTERM drain a worker meanwhile, where signals can be had."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def drain(number: int, frame: Any) -> None:
        worker.drain()

    before = {number: signal.signal(number, drain) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _queue_of(spec: DeploymentSpec) -> str:
    return spec.full_name.replace("/", ".")


def _starting(specs: Sequence[DeploymentSpec]) -> str:
    lines = [f"Serving {spec.full_name}: {_when(spec)}" for spec in specs]
    first = specs[0].full_name if specs else "flow/name"
    return "\n".join([*lines, f"Run one now: dataflow deployment run {first}   (Ctrl-C ends)"])


def _when(spec: DeploymentSpec) -> str:
    from dataflow.service.slots import schedule_of

    said = [schedule_of(each).describe() for each in spec.schedules]
    if spec.triggers or spec.after:
        from dataflow.triggers.carried import from_spec

        said += [f"upon {each.describe()}" for each in from_spec(spec.to_json()).values()]
    return "; ".join(said) or "no schedule"
