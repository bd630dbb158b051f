"""``with runner:``: tasks are submitted and mapped without a flow function around them.

Lives here: the run of a flow that such a block is, from its first line to its
last. Does not live here: runs of flows (``flow_run.py``), runners.
"""

from __future__ import annotations

from collections.abc import Generator
from contextvars import ContextVar, Token
from typing import Any

from dataflow.context import FlowRunContext, current_flow, current_task
from dataflow.flow_run import FlowRun
from dataflow.flow_steps import stream
from dataflow.flows import Flow
from dataflow.runner import TaskRunner
from dataflow.states import State

NAME = "with-runner"


def _body() -> Generator[FlowRunContext | None, None, None]:
    """Hand out the run's context; the block is what happens before it goes on."""
    yield current_flow.get()


class _Block:
    """A block that has begun."""

    def __init__(self, runner: TaskRunner) -> None:
        run = FlowRun(Flow(_body, name=NAME, task_runner=runner), (), {}, None)
        self._run: Generator[Any, None, State] = stream(run.plan())
        self._tokens: tuple[Token[Any], Token[Any]] = (
            current_flow.set(next(self._run)), current_task.set(None))

    def end(self, error: BaseException | None) -> None:
        """Wait for what was submitted; the run fails with the error of the block, if any."""
        flow_token, task_token = self._tokens
        current_flow.reset(flow_token)
        current_task.reset(task_token)
        try:
            if error is None:
                next(self._run)
            else:
                self._run.throw(error)
        except StopIteration:
            return  # an error of the block goes on by itself


_open: ContextVar[tuple[_Block, ...]] = ContextVar("open_blocks", default=())


def begin(runner: TaskRunner) -> None:
    """Begin a run whose tasks go to a runner; what follows in this context is inside of it."""
    _open.set((*_open.get(), _Block(runner)))


def end(error: BaseException | None) -> None:
    """End the run that was begun last."""
    *outer, block = _open.get()
    _open.set(tuple(outer))
    block.end(error)
