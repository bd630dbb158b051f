"""What another flow run returned, by the id of that run.

Lives here: :func:`result_of`. Does not live here: keeping results (``flow_result.py``).
"""

from __future__ import annotations

from typing import Any

from dataflow.exceptions import MissingResult
from dataflow.stores import open_store


def result_of(flow_run_id: str) -> Any:
    """Return what a flow run returned, where its flow keeps that (``persist_result=True``).

    A run that a trigger made finds the run before it so::

        result_of(runtime.flow_run.trigger["flow_run_id"])

    The value is read from the result storage: it does not go through the run store. An
    endpoint or credentials of the storage come from the environment of this process.

    Parameters
    ----------
    flow_run_id
        Id of the run, a unique beginning of it, its name, or ``"last"``.

    Raises
    ------
    RunNotFound
        There is no such run.
    MissingResult
        It has not completed, its result was not kept, or is not there any more.
    """
    store = open_store(None)
    try:
        row = store.find_flow_run(flow_run_id)
    finally:
        store.close()
    said = f"Flow run {row.name!r} of {row.flow_name!r} ({row.id})"
    if row.state_type != "COMPLETED":
        raise MissingResult(f"{said} is {row.state_name}: only a completed run has a result.",
                            flow_run_id=row.id)
    if row.result_key is None or row.result_place is None:
        raise MissingResult(
            f"{said} did not keep what it returned. What to do: @flow(persist_result=True).",
            flow_run_id=row.id)
    from dataflow.flow_result import NotKept, kept_at

    try:
        return kept_at(row.result_place, row.result_key)
    except NotKept as error:
        raise MissingResult(
            f"{said} kept what it returned, but it cannot be had from {row.result_place}: {error}. "
            "What to do: look whether it was cleared away, or whether this process reaches that "
            "place.", flow_run_id=row.id) from error
