"""Small parts of nested task runs: the budget of threads, being told of a stop, notes."""

from __future__ import annotations

from dataflow.batch import CallCode, RunInfo, TaskCode
from dataflow.context import DirectCallContext, FlowRunContext, TaskRunContext
from dataflow.nested_runner import Budget
from dataflow.tree_notes import note_place
from dataflow.worker.control import Control

RUN = RunInfo("0badcafe-0000-4000-8000-000000000001", "swift-heron", "f", None, {}, (), 0.0)


def context(within: str = "", name: str = "t") -> TaskRunContext:
    run = RunInfo("0badcafe-0000-4000-8000-000000000002", "swift-heron", "f", None, {}, (), 0.0,
                  within=within)
    code = CallCode(0, TaskCode("token", lambda: None, name), (), {}, (), False)
    made = TaskRunContext(run, code, 0, 1, None, (), {})
    made.chosen_name = name
    return made


def notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


def test_budget_gives_threads_up_to_its_limit_and_owed_ones_beyond() -> None:
    budget = Budget(2)
    assert [budget.take(), budget.take(), budget.take()] == [True, True, False]
    assert budget.spent
    assert budget.take(owed=True)
    for _ in range(3):
        budget.give_back()
    assert not budget.spent and budget.take()


def test_control_tells_of_a_stop_that_comes_and_of_one_that_came() -> None:
    told: list[str] = []
    control = Control()
    control.on_stop(first := lambda: told.append("first"))
    control.on_stop(lambda: told.append("second"))
    control.forget(first)
    control.stop()
    control.on_stop(lambda: told.append("late"))
    assert told == ["second", "late"]


def test_control_within_another_is_told_of_that_ones_stop_and_goes_on_itself() -> None:
    told: list[int] = []
    outer = Control()
    inner = Control(outer)
    inner.on_stop(lambda: told.append(1))
    outer.stop()
    assert told == [1] and not inner.stopped


def test_exception_of_a_single_level_gets_no_note() -> None:
    error = ValueError("x")
    note_place(error, context())
    assert notes(error) == []


def test_each_level_adds_its_note_once() -> None:
    error = ValueError("x")
    for _ in range(2):
        note_place(error, context(" of task run 'a' of flow run 'swift-heron'", "b"))
    note_place(error, context("", "a"))
    assert notes(error) == [
        "in task run 'b' of task run 'a' of flow run 'swift-heron'",
        "in task run 'a' of flow run 'swift-heron'",
    ]


def test_direct_call_in_a_direct_call_names_both() -> None:
    outer = context("", "outer")
    caller = FlowRunContext(RUN, None, None, False, None)  # type: ignore[arg-type]  # not asked
    inner = DirectCallContext(caller, outer, outer.run, outer.code, 0, 1, None, (), {})
    inner.chosen_name = "inner"
    error = ValueError("x")
    note_place(error, inner)
    assert notes(error) == ["in task run 'inner' of task run 'outer' of flow run 'swift-heron'"]


def test_exception_raised_by_very_many_task_runs_keeps_few_notes() -> None:
    error = ValueError("one object")
    for n in range(1_000):
        note_place(error, context(" of task run 'a'", f"b{n}"))
    assert len(notes(error)) == 64


def test_exception_that_takes_no_notes_stays_as_it_is() -> None:
    class Closed(Exception):
        __notes__ = 5

        def add_note(self, note: str) -> None:
            raise TypeError("no notes")

    error = Closed("as it was")
    note_place(error, context(" of task run 'a'"))
    assert (error.args, error.__notes__) == (("as it was",), 5)
