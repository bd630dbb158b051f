"""Helper threads of a worker: left behind, given back, never more than are of use."""

from __future__ import annotations

import threading

import pytest

from dataflow.worker import deadline, spare_threads
from dataflow.worker.spare_threads import Helper, Job, put_back
from tests.dask_support import wait_until

pytestmark = pytest.mark.contract


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "running"])
def test_helper_left_behind_says_when_its_job_has_ended(ended: bool) -> None:
    gate, over = threading.Event(), threading.Event()
    helper, job = Helper(), Job(gate.wait, (10,), {})
    helper.give(job)
    if ended:
        gate.set()
        assert job.done.wait(10)
    helper.leave_behind(over.set)
    gate.set()
    assert over.wait(5) and job.outcome() is True
    helper.join(5)
    assert not helper.is_alive()


def test_helper_says_so_also_when_an_exception_comes_too_late_for_its_job() -> None:
    class Once:
        """An end of a job that is met by an exception from elsewhere."""

        def __init__(self) -> None:
            self.calls, self.event = 0, threading.Event()

        def set(self) -> None:
            self.calls += 1
            if self.calls == 1:
                raise TimeoutError
            self.event.set()

    once, over = Once(), threading.Event()
    helper, job = Helper(), Job(sum, ([1],), {})
    job.done = once  # type: ignore[assignment]
    helper._on_end = over.set
    helper.give(job)
    assert once.event.wait(5) and over.wait(5)


def test_idle_helpers_are_no_more_than_the_limit() -> None:
    helpers = [Helper() for _ in range(spare_threads.IDLE_LIMIT + 40)]
    for helper in helpers:
        put_back(helper)
    assert len(spare_threads._idle) <= spare_threads.IDLE_LIMIT
    wait_until(lambda: sum(h.is_alive() for h in helpers) <= spare_threads.IDLE_LIMIT,
               "helpers that were not needed have ended")


def test_calls_that_end_at_their_deadline_are_all_forgotten_in_the_end() -> None:
    from dataflow.exceptions import TaskRunTimeoutError

    ended = []
    for _ in range(300):
        try:
            ended.append(deadline.call_with_deadline(sum, (range(1000),), {}, 1e-5))
        except TaskRunTimeoutError:
            ended.append(None)
    assert len(ended) == 300 and set(ended) <= {None, sum(range(1000))}
    wait_until(lambda: not deadline._abandoned, "no thread counts as left behind")
