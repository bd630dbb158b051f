"""Processor time: read now and then, shared out, added up."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import pytest

from dataflow import run_usage
from dataflow.outcomes import SHARED_CPU, UNKNOWN_CPU, Code, Report, Span
from dataflow.records import FlowRunRecord, Gulp
from dataflow.run_usage import RunUsage
from dataflow.worker import usage
from dataflow.worker.usage import CpuMeter, own_column, share_out, share_out_side_by_side


class Clocks:
    """The clock on the wall and that of the thread, set by hand."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 100.0

    def run(self, wall_s: float, cpu_s: float) -> None:
        self.wall_s += wall_s
        self.cpu_s += cpu_s


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(usage, "_clock", lambda: made.wall_s)
    monkeypatch.setattr(usage, "_cpu", lambda: made.cpu_s)
    monkeypatch.setattr(run_usage.time, "process_time", lambda: made.cpu_s)
    return made


@pytest.fixture
def meter(clocks: Clocks) -> CpuMeter:
    made = CpuMeter()
    made.begin()
    return made


def element(meter: CpuMeter, clocks: Clocks, wall_s: float, cpu_s: float) -> float | None:
    """Run an element as a step does; return its own time."""
    clocks.run(wall_s, cpu_s)
    return meter.note(wall_s, clocks.wall_s) if clocks.wall_s > meter.due else None


def span(elapsed: list[float], own: list[float] | None = None, call: int = 0) -> Span:
    times = array("f", elapsed)
    return Span(call, range(len(elapsed)), bytearray([Code.COMPLETED]) * len(elapsed), times, times,
                own_cpu=None if own is None else array("f", own))


def test_short_elements_are_not_measured_each(meter: CpuMeter, clocks: Clocks) -> None:
    assert [element(meter, clocks, 0.0001, 0.0001) for _ in range(30)] == [None] * 30
    assert meter.spent_s() == pytest.approx(0.003)


def test_a_long_element_has_what_was_used_while_it_ran(meter: CpuMeter, clocks: Clocks) -> None:
    assert element(meter, clocks, 0.5, 0.25) == pytest.approx(0.25)
    assert element(meter, clocks, 0.5, 0.0) == pytest.approx(0.0)
    assert element(meter, clocks, 0.002, 0.002) == pytest.approx(0.002)
    assert meter.spent_s() == pytest.approx(0.252)


def test_what_short_ones_before_used_is_not_the_long_ones(meter: CpuMeter, clocks: Clocks) -> None:
    element(meter, clocks, 0.0005, 0.0005)
    assert element(meter, clocks, 0.0095, 0.0095) == pytest.approx(0.0095)


def test_what_was_used_elsewhere_is_the_elements_at_hand(meter: CpuMeter, clocks: Clocks) -> None:
    meter.add_child(2.0)
    meter.add_child(0.5)
    assert element(meter, clocks, 0.0004, 0.0) == pytest.approx(2.5)
    assert element(meter, clocks, 0.1, 0.1) == pytest.approx(0.1)
    assert (meter.spent_s(), meter.children_s) == (pytest.approx(2.6), 2.5)


def test_an_element_that_was_left_behind_is_unknown_and_the_next_is_not(
        meter: CpuMeter, clocks: Clocks) -> None:
    meter.add(None)
    assert element(meter, clocks, 0.1, 0.0) == UNKNOWN_CPU
    assert element(meter, clocks, 0.1, 0.1) == pytest.approx(0.1)


def test_what_a_batch_used_is_told_once_also_where_it_is_split(
        meter: CpuMeter, clocks: Clocks) -> None:
    element(meter, clocks, 0.5, 0.5)
    clocks.run(5.0, 4.0)  # the element at hand
    assert meter.noted_s() == pytest.approx(0.5)
    assert meter.noted_s() == 0.0
    clocks.run(1.0, 1.0)
    assert meter.spent_s() == pytest.approx(5.0)


def test_a_span_alone_has_all_and_several_share_by_time_what_was_not_measured() -> None:
    alone = span([0.1, 0.2])
    share_out([alone], 0.5)
    assert alone.cpu_s == 0.5
    one, two = span([1.0, 1.0], [2.0, SHARED_CPU]), span([3.0], call=1)
    share_out([one, two], 6.0)
    assert (one.cpu_s, two.cpu_s) == (3.0, 3.0)
    assert [one.cpu_of(0), one.cpu_of(1), two.cpu_of(0)] == [2.0, 1.0, 3.0]


def test_what_took_no_time_shares_alike_and_less_than_nothing_is_nothing() -> None:
    spans = [span([0.0]), span([0.0], call=1)]
    share_out(spans, 1.0)
    assert [each.cpu_s for each in spans] == [0.5, 0.5]
    measured = [span([1.0], [2.0]), span([1.0], call=1)]
    share_out(measured, 1.9)  # readings of two clocks
    assert [each.cpu_s for each in measured] == [2.0, 0.0]
    share_out([], 1.0)


def test_elements_side_by_side_have_a_time_together_and_none_of_their_own() -> None:
    many = span([5.0, 5.0])
    share_out_side_by_side([many], 3.0, 2)
    assert (many.cpu_s, many.cpu_of(0)) == (3.0, None)
    one = span([5.0])
    share_out_side_by_side([one], 3.0, 1)
    assert (one.cpu_s, one.cpu_of(0)) == (3.0, 3.0)
    calls = [span([5.0]), span([5.0], call=1)]
    share_out_side_by_side(calls, 3.0, 2)
    assert [each.cpu_s for each in calls] == [None, None]


def test_a_column_of_own_times_is_made_only_where_some_are() -> None:
    assert own_column({}, range(3)) is None
    assert own_column({7: 1.0}, range(3)) is None
    assert own_column({1: 0.5}, range(3)) == array("f", [SHARED_CPU, 0.5, SHARED_CPU])


# runs


@pytest.fixture(autouse=True)
def _no_others() -> Iterator[None]:
    assert not run_usage._going
    yield
    run_usage._going.clear()


def report(cpu_s: float, *, remote: bool = False, children_s: float = 0.0,
           nested_s: float | None = None) -> Report:
    inside = FlowRunRecord(id="i", name="n", flow_name="f", cpu_s=nested_s)
    return Report(1, "w", 0.0, [], remote=remote, cpu_s=cpu_s, children_cpu_s=children_s,
                  nested=[("i", Gulp(flow_run=inside)), ("i", Gulp())])


def cpu_of(run: RunUsage) -> float:
    return run.so_far()[0]


def test_a_run_alone_used_what_its_process_did_and_what_ran_elsewhere(clocks: Clocks) -> None:
    run = RunUsage("a", None, None)
    clocks.run(1.0, 5.0)
    run.took(report(3.0), in_place=False)  # in a thread of the process
    run.took(report(2.0, remote=True, nested_s=0.25), in_place=False)
    run.took(report(1.5, children_s=1.0), in_place=False)
    run.called(4.0)
    assert cpu_of(run) == pytest.approx(5.0 + 2.0 + 0.25 + 1.0)
    assert run.so_far()[1] is not None


def test_a_run_that_goes_on_keeps_what_it_had_used(clocks: Clocks) -> None:
    run = RunUsage("a", None, 60.0)
    clocks.run(1.0, 5.0)
    assert cpu_of(run) == pytest.approx(65.0)


def test_runs_that_share_a_process_have_what_their_elements_used(clocks: Clocks) -> None:
    one, two = RunUsage("a", None, None), RunUsage("b", None, None)
    clocks.run(1.0, 5.0)
    one.took(report(1.0, children_s=0.25), in_place=False)
    one.called(0.5)
    two.took(report(2.0), in_place=False)
    two.end()
    assert (cpu_of(one), cpu_of(two)) == (1.5, 2.0)
    one.end()
    alone = RunUsage("c", None, None)
    clocks.run(1.0, 3.0)
    assert cpu_of(alone) == pytest.approx(3.0)


def test_a_flow_called_in_another_has_its_elements_time_which_is_the_other_ones_too(
        clocks: Clocks) -> None:
    outer = RunUsage("a", None, None)
    inner = RunUsage("b", "a", None)
    clocks.run(1.0, 5.0)
    inner.took(report(2.0, remote=True), in_place=False)
    inner.took(report(1.0), in_place=False)
    assert (cpu_of(inner), cpu_of(outer)) == (3.0, pytest.approx(5.0 + 2.0))


def test_what_runs_in_the_thread_of_a_task_run_is_in_that_ones_time_already(
        clocks: Clocks) -> None:
    inside = RunUsage("i", "elsewhere", None, in_task_run=True)
    inside.called(1.0)
    inside.took(report(2.0), in_place=True)
    assert cpu_of(inside) == 0.0
    inside.took(report(2.0), in_place=False)
    assert cpu_of(inside) == 2.0
