"""The types of runs and states under the names by which hooks are annotated.

Lives here: other names of what ``dataflow.states`` and ``dataflow.run_views``
have. Does not live here: anything else.
"""

from __future__ import annotations

from dataflow.run_views import FlowRunView as FlowRun
from dataflow.run_views import TaskRunView as TaskRun
from dataflow.states import TERMINAL_STATES, State, StateDetails, StateType

__all__ = ["TERMINAL_STATES", "FlowRun", "State", "StateDetails", "StateType", "TaskRun"]
