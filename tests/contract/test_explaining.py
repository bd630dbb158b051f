"""Why a task run ran or did not: each reason, from the process that ran it and from another."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, task, unmapped
from dataflow.cache_policies import INPUTS, NO_CACHE
from dataflow.exceptions import ParameterTypeError, RunNotFound
from dataflow.explaining import Explanation, explain
from dataflow.flow_plan import FlowPlan
from dataflow.stores import open_store

Explain = Callable[..., Explanation]


@dataclass
class Config:
    rate: float
    name: str = "a"


@task(cache_policy=INPUTS)
def scale(x: int, cfg: Config) -> float:
    return x * cfg.rate


@task(cache_policy=INPUTS)
def join(x: float, y: float) -> float:
    return x + y


@task(cache_policy=INPUTS - "quiet")
def load(x: Any, quiet: bool = False) -> Any:
    return x


@flow(task_runner="inline", log_prints=False)
def scaled(n: int, rate: float, step: float = 0.0) -> list[Explanation]:
    parts = scale.map(range(n), unmapped(Config(rate)))
    sums = join.map(parts, [step] * n)
    single = load.submit([rate, 1])
    load([rate, 2])
    return [parts.explain(1), sums[1].explain(), single.explain()]


def last(task_name: str, index: int | None = None) -> Explanation:
    """Explain the last run of a task, as another process would."""
    store = open_store()
    try:
        run = store.find_flow_run("last")
        rows = [row for row in store.task_runs(run.id, limit=None)
                if row.task_name == task_name and row.map_index == index]
        return explain(store, rows[-1])
    finally:
        store.close()


def test_the_first_run_says_that_there_is_no_entry() -> None:
    first, *_ = scaled(3, 0.1)
    assert (first.verdict, first.nearest) == ("ran", None)
    assert first.reasons[0].startswith("no entry: ")
    assert str(first).startswith(f"{first.name} ran because: no entry")
    assert last("scale", 1) == first


def test_a_cached_run_names_the_run_that_computed_it() -> None:
    state = scaled(3, 0.1, return_state=True)
    made_by = state.state_details.flow_run_id
    for told in scaled(3, 0.1):
        assert told.verdict == "cached"
        assert told.reasons[0].startswith("cached from the result of task")
        assert told.nearest is not None and told.nearest.run_id == str(made_by)
        assert str(made_by) in str(told)


def test_a_constant_that_changed_is_named_with_both_values() -> None:
    scaled(3, 0.1)
    parts, sums, single = scaled(3, 0.3)
    assert parts.reasons == ("input `cfg.rate` 0.1 → 0.3",)
    assert parts.nearest is not None and parts.nearest_index == 1
    assert sums.reasons == ("input `x` 0.1 → 0.3 (element 1, from task 'scale')",)
    assert single.reasons == ("input `x[0]` 0.1 → 0.3",)


def test_a_mapped_input_that_changed_is_named() -> None:
    scaled(3, 0.1, 0.0)
    told = scaled(3, 0.1, 0.5)[1]
    assert told.reasons == ("input `y` (element 1) changed",)


def test_a_direct_call_is_explained_from_its_record() -> None:
    scaled(2, 0.1)
    scaled(2, 0.2)
    assert last("load").reasons == ("input `x[0]` 0.1 → 0.2",)


@flow(task_runner="inline")
def quietly(x: int, quiet: bool) -> Explanation:
    return load.submit(x, quiet=quiet).explain()


def test_an_argument_that_does_not_count_is_never_a_reason() -> None:
    quietly(1, False)
    assert quietly(1, True).verdict == "cached"
    assert quietly(2, False).reasons == ("input `x` 1 → 2",)


def explained(made: Any, *args: Any) -> Explanation:
    """Run a task in a flow of its own."""
    @flow(task_runner="inline", name="one")
    def one() -> Explanation:
        return made.submit(*args).explain()

    return one()


def test_what_was_expired_says_since_when() -> None:
    short = load.with_options(cache_expiration=1e-6)
    explained(short, 1)
    told = explained(short, 1)
    assert told.reasons[0].startswith("expired ") and "UTC" in told.reasons[0]
    assert told.nearest is not None


def test_refresh_and_no_cache_and_results_that_are_not_kept_are_told() -> None:
    anew = load.with_options(refresh_cache=True)
    assert explained(anew, 1).reasons[0].startswith("refresh asked")
    kept = load.with_options(cache_policy=NO_CACHE, persist_result=True)
    assert explained(kept, 1).reasons[0].startswith("its cache policy is NO_CACHE")

    @task
    def plain(x: int) -> int:
        return x

    assert explained(plain, 1).reasons[0].startswith("not kept: persist_result is off")


def test_what_is_not_cacheable_says_why() -> None:
    import threading

    told = explained(load.with_options(cache_policy=INPUTS), threading.Lock())
    assert told.reasons[0].startswith("not cacheable because")


def test_run_id_in_the_policy_is_a_reason() -> None:
    mine = load.with_options(cache_policy=None, persist_result=True)
    explained(mine, 1)
    told = explained(mine, 1)
    assert "RUN_ID" in told.reasons[0]


def test_a_failed_run_is_explained_too() -> None:
    @task(cache_policy=INPUTS, retries=1)
    def broken(x: int) -> int:
        raise ValueError(f"no {x}")

    @flow(task_runner="inline")
    def fails() -> Explanation:
        return broken.submit(1).explain()

    told = fails()
    assert told.reasons[0].startswith("no entry")
    assert told.reasons[-1] == "executed 2 times: retried after ValueError: no 1"


def test_what_never_ran_names_what_failed_first() -> None:
    @task
    def broken() -> int:
        raise ValueError("no")

    @flow(task_runner="inline")
    def fails() -> Explanation:
        return load.submit(broken.submit()).explain()

    told = fails()
    assert told.verdict == "did not run"
    assert told.reasons[0].endswith("failed first")


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_entry_is_told(damage: str, dataflow_home: Path) -> None:
    explained(load, "some text to be found")
    [pack] = (dataflow_home / "results").glob("load-*/*.pack")
    data = bytearray(pack.read_bytes())
    at = data.index(b"some text")
    data[at] ^= 1
    pack.write_bytes(bytes(data) if damage == "flip" else bytes(data[:at]))
    from dataflow.packs import results as packs

    packs._forget_places()  # as another process, which has no index of it in memory
    told = explained(load, "some text to be found")
    assert told.reasons[0].startswith("entry corrupt"), told


def test_an_entry_that_was_removed_is_told(dataflow_home: Path) -> None:
    explained(load, 1)
    for pack in (dataflow_home / "results").glob("load-*/*.pack"):
        pack.unlink()
    assert explained(load, 1).reasons[0].startswith("no entry any more")


SCRIPT = """
    from dataflow import flow, task, unmapped
    from dataflow.cache_policies import INPUTS, TASK_SOURCE

    RATE = {rate}

    def parse(text):
        # {comment}
        return {body}

    @task(cache_policy=INPUTS + TASK_SOURCE)
    def load(text):
        return parse(text) * RATE

    @flow(task_runner="inline")
    def main():
        load.map(["1", "2"])
        load.submit("3")

    if __name__ == "__main__":
        main()
"""


def run_script(folder: Path, **fields: Any) -> None:
    text = textwrap.dedent(SCRIPT).format(**{
        "rate": 1, "comment": "", "body": "int(text)", **fields})
    (folder / "job.py").write_text(text)
    subprocess.run([sys.executable, "job.py"], cwd=folder, check=True, env=os.environ,
                   capture_output=True)


def test_code_that_changed_is_told_with_its_diff(tmp_path: Path) -> None:
    run_script(tmp_path)
    run_script(tmp_path, comment="a comment is no code")
    assert last("load", 1).verdict == "cached"
    run_script(tmp_path, body="int(text) + 1")
    told = last("load", 1)
    assert told.reasons[0].startswith("helper `parse` changed:\n")
    assert "+    return int(text) + 1" in told.reasons[0]
    run_script(tmp_path, body="int(text) + 1", rate=2)
    assert last("load", 0).reasons == ("constant `RATE` 1 → 2",)
    assert last("load").reasons == ("constant `RATE` 1 → 2",)


def test_a_future_inside_of_a_task_run_says_that_it_is_not_recorded_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dataflow.explaining._PATIENCE_S", 0.0)

    @task
    def outer() -> str:
        with pytest.raises(RunNotFound, match="is not recorded"):
            load.submit(1).explain()
        return "asked"

    @flow(task_runner="inline")
    def nested() -> str:
        return outer.submit().result()

    assert nested() == "asked"


# plans


@task(cache_policy=INPUTS)
def names(n: int) -> list[str]:
    return [str(i) for i in range(n)]


@task(cache_policy=INPUTS)
def size(name: str, unit: int) -> int:
    return len(name) * unit


@task
def show(sizes: list[int]) -> None:
    pass


@flow(task_runner="inline")
def measured(n: int, unit: int = 1) -> None:
    sizes = size.map(names.submit(n), unmapped(unit))
    show.submit(sizes)


def counted(plan: FlowPlan) -> dict[str, tuple[int, int, int]]:
    return {row.task_name: (row.cached, row.would_run, row.unknown) for row in plan.rows}


def test_a_plan_tells_what_would_run_and_what_is_kept(dataflow_home: Path) -> None:
    assert counted(measured.plan(3)) == {"names": (0, 1, 0), "size": (0, 0, 1), "show": (0, 1, 0)}
    assert not dataflow_home.exists()
    measured(3)
    assert counted(measured.plan(3)) == {"names": (1, 0, 0), "size": (3, 0, 0), "show": (0, 1, 0)}
    assert counted(measured.plan(3, unit=2)) == {
        "names": (1, 0, 0), "size": (0, 3, 0), "show": (0, 1, 0)}
    plan = measured.plan(4)
    assert plan.rows[1].open_width and "or more unknown" in plan.text()
    assert (plan.cached, plan.would_run, plan.unknown) == (0, 2, 1)


def test_a_plan_calls_no_task_and_keeps_nothing(dataflow_home: Path) -> None:
    measured.plan(3)
    measured.graph(3)
    measured(3)
    store = open_store()
    assert len(store.flow_runs()) == 1
    assert {row.state_name for row in store.task_runs(limit=None)} == {"Completed"}
    store.close()


def test_a_plan_of_a_flow_that_breaks_on_unknown_values_says_so() -> None:
    @flow(task_runner="inline")
    def breaks() -> None:
        found = names(3)
        {"a": 1}[found[0]]

    plan = breaks.plan()
    assert plan.stopped is not None and plan.stopped.startswith("KeyError")
    assert counted(plan) == {"names": (0, 1, 0)}


def test_a_plan_with_parameters_that_fail_validation_is_refused() -> None:
    with pytest.raises(ParameterTypeError, match="n: "):
        measured.plan("many")


def test_a_plan_knows_policies_under_which_a_task_always_runs() -> None:
    mine = names.with_options(cache_policy=None, persist_result=True, name="mine")

    @flow(task_runner="inline")
    def both(n: int) -> None:
        mine(n)
        names.with_options(refresh_cache=True)(n)

    both(2)
    rows = both.plan(2).rows
    assert [row.would_run for row in rows] == [1, 1]
    assert "RUN_ID" in rows[0].why and "refresh" in rows[1].why
