"""Legal moves of flow runs: the table, the one function, the picture."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from dataflow.batch import RunInfo
from dataflow.exceptions import IllegalStateMove
from dataflow.flow_moves import ENDS, FLOW_MOVES, check_flow_move, flow_diagram
from dataflow.run_record import RunRecord
from dataflow.states import TERMINAL, StateType
from dataflow.store import FlowRunRecord
from dataflow.stores import open_store

ROOT = Path(__file__).parents[2]
TYPES = [kind.value for kind in StateType]


def test_the_table_knows_every_type_and_ends_where_states_are_final() -> None:
    assert list(FLOW_MOVES) == TYPES
    assert {name for name, to in FLOW_MOVES.items() if not to} == ENDS == set(TERMINAL)


@pytest.mark.parametrize("before", TYPES)
@pytest.mark.parametrize("after", TYPES)
def test_a_move_is_refused_unless_the_table_has_it(before: str, after: str) -> None:
    if after in FLOW_MOVES[before]:
        check_flow_move(before, after)
        return
    with pytest.raises(IllegalStateMove, match=f"'r' is {before} and cannot become {after}") as e:
        check_flow_move(before, after, "r")
    assert (e.value.before, e.value.after) == (before, after)


@pytest.mark.parametrize("path", [
    "PENDING RUNNING COMPLETED", "PENDING FAILED", "PENDING PENDING",
    "PENDING RUNNING SCHEDULED RUNNING FAILED", "PENDING RUNNING RUNNING COMPLETED",
    "SCHEDULED SCHEDULED PENDING RUNNING PAUSED SCHEDULED RUNNING CANCELLING CANCELLED",
    "RUNNING CANCELLING CRASHED", "PAUSED FAILED", "RUNNING CANCELLED",
])
def test_ways_that_runs_take_are_legal(path: str) -> None:
    for before, after in pairwise(path.split()):
        check_flow_move(before, after)


@pytest.mark.parametrize("before, after", [
    ("COMPLETED", "RUNNING"), ("FAILED", "COMPLETED"), ("CANCELLED", "CANCELLING"),
    ("CANCELLING", "COMPLETED"), ("PENDING", "COMPLETED"), ("PENDING", "PAUSED"),
    ("CRASHED", "CRASHED"),
])
def test_ways_that_no_run_takes_are_refused(before: str, after: str) -> None:
    with pytest.raises(IllegalStateMove):
        check_flow_move(before, after)


def test_a_record_refuses_an_illegal_move_and_stays_as_it_is(tmp_path: Path) -> None:
    run = RunInfo("0badcafe-0000-0000-0000-000000000001", "r", "f", None, {}, (), time.time())
    store = open_store("memory:")
    record = RunRecord(FlowRunRecord(id=run.flow_run_id, name="r", flow_name="f"), run, store)
    record.state("RUNNING", "Running", None, None)
    record.state("COMPLETED", "Completed", "done", None)
    with pytest.raises(IllegalStateMove, match="it has ended"):
        record.state("RUNNING", "Retrying", None, None)
    assert (record._row.state_type, record._row.message) == ("COMPLETED", "done")


def test_architecture_shows_the_diagram_made_from_the_table() -> None:
    assert flow_diagram() in (ROOT / "ARCHITECTURE.md").read_text()
