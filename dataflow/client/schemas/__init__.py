"""The types of runs and states under the names by which hooks are annotated."""

from __future__ import annotations

from dataflow.client.schemas.objects import FlowRun, State, StateDetails, StateType, TaskRun

__all__ = ["FlowRun", "State", "StateDetails", "StateType", "TaskRun"]
