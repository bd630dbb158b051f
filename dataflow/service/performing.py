"""Performing an order that came in a variable, a file or an argument: in a container, in a job.

Lives here: finding the order, whether it still counts, what SIGTERM means. Does not live
here: performing it (``run_process.py``), what gave it (``commands.py``).

    python -m dataflow.service.performing [--order WORD | --order-file PATH | --run ID]

Without an argument it is taken from ``DATAFLOW_ORDER``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from dataflow.exceptions import DataflowError, RunNotFound, StoreError
from dataflow.service.orders import (
    NO_STORE,
    NOT_BEGUN,
    NOT_OURS,
    VARIABLE,
    Order,
    counts_at_start,
    facts_of,
)
from dataflow.store import Store

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Find the order, and perform it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dataflow.service.performing",
        description="Perform a run that a worker's command brought here.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--order", metavar="WORD", help="the order in one word")
    which.add_argument("--order-file", metavar="PATH", help="a file with it")
    which.add_argument("--run", metavar="ID", help="a flow run whose order is in the store")
    given = parser.parse_args(arguments)
    return perform_given(given.order, given.order_file, given.run)


def perform_given(word: str | None = None, file: str | None = None,
                  run: str | None = None) -> int:
    """Perform the order in a word, in a file, of a run in the store, or of this process."""
    try:
        facts = _facts(word, file, run)
    except (OSError, ValueError) as error:
        print(f"There is no order here: {error}", file=sys.stderr)  # noqa: T201 - for the worker
        return USAGE
    if facts is None:
        print(f"There is no order here: {VARIABLE} is not set.",  # noqa: T201
              file=sys.stderr)
        return USAGE
    try:
        order = _wanted(facts)
    except RunNotFound as error:
        print(error, file=sys.stderr)  # noqa: T201
        return NOT_BEGUN
    except StoreError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return NO_STORE
    except DataflowError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return NOT_BEGUN
    if order is None:
        print(f"Run {facts['flow_run_id']} has ended, or another process was told to "  # noqa: T201
              "run it: nothing is done here.", file=sys.stderr)
        return NOT_OURS
    _begin_anew_where_needed(order.environment)
    os.environ.pop(VARIABLE, None)  # what the flow starts is not this run
    from dataflow.service.run_process import perform

    _end_on_sigterm(order.flow_run_id)
    return perform(order)


def _facts(word: str | None, file: str | None, run: str | None) -> dict[str, Any] | None:
    if run is not None:
        return {"flow_run_id": run}
    if file is not None:
        word = Path(file).read_text()
    word = word or os.environ.get(VARIABLE)
    return None if not word else facts_of(word)


def _wanted(facts: Mapping[str, Any]) -> Order | None:
    """Return the order, from the store where it says only which run; None: it is void."""
    from dataflow.service.deploying import order_of
    from dataflow.stores import open_store

    store = open_store(None)
    try:
        run = store.agenda().queued(_whole_id(store, facts["flow_run_id"]))
        if run is None:
            raise RunNotFound(
                f"Run {facts['flow_run_id']} is not in the queue of the store at "
                f"{_shown_store()}: give this process the DATAFLOW_STORE of the worker.",
                ref=facts["flow_run_id"])
        attempt = facts.get("attempt")
        if run.phase != "taken" or attempt not in (None, run.tries):
            return None
        return Order(**facts) if "entrypoint" in facts else order_of(run)
    finally:
        store.close()


def _whole_id(store: Store, ref: str) -> str:
    return ref if len(ref) == 36 else store.find_flow_run(ref).id


def _shown_store() -> str:
    from dataflow.deployments.source_urls import masked_url
    from dataflow.settings import get_settings

    return masked_url(get_settings().store_location)


def _begin_anew_where_needed(environment: Mapping[str, str]) -> None:
    """Begin this program anew where its environment is to hold what counts only at the start."""
    late = {name: value for name, value in environment.items()
            if counts_at_start(name) and os.environ.get(name) != value}
    if late:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **late})


def _end_on_sigterm(flow_run_id: str) -> None:
    """Let SIGTERM cancel the run where somebody asked for that, and be a death otherwise.

    A container is stopped by it, a job taken down: only the store knows why. It is asked in
    a thread, since the main one may hold the store at that moment.
    """
    def heard(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=_end, args=(flow_run_id,), daemon=True,
                         name="dataflow-sigterm").start()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, heard)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind a shell's &


def _end(flow_run_id: str) -> None:
    from dataflow.stores import open_store

    cancel = False
    try:
        store = open_store(None)
        try:
            run = store.agenda().queued(flow_run_id)
            cancel = run is not None and run.cancel
        finally:
            store.close()
    finally:
        if cancel:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            os._exit(128 + signal.SIGTERM)  # the first process of a container ignores its default


if __name__ == "__main__":
    sys.exit(main())
