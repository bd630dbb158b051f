"""Ids of task runs, made from (flow run, call, index) and read back without a look-up.

A million elements need a million ids, so an id is computed, never stored: a
UUID of version 8 whose last 62 bits say which run and whose first 60 bits hold
call and index, mixed with a key of the run so that prefixes are spread evenly.
"""

from __future__ import annotations

import uuid

_CALL_BITS = 24
_INDEX_BITS = 36
_FRONT_BITS = _CALL_BITS + _INDEX_BITS
_FRONT_MASK = (1 << _FRONT_BITS) - 1
_TAIL_MASK = (1 << 62) - 1
_MULTIPLIER = 0x9E3779B97F4A7C15 & _FRONT_MASK | 1
_INVERSE = pow(_MULTIPLIER, -1, 1 << _FRONT_BITS)
_HALF = _FRONT_BITS // 2
MAX_CALLS = 1 << _CALL_BITS
MAX_WIDTH = 1 << _INDEX_BITS


def new_run_id() -> str:
    """Return a fresh flow run id (a random UUID, as text)."""
    return str(uuid.uuid4())


def run_tail(flow_run_id: str) -> int:
    """Return the 62 bits by which a task run id names its flow run."""
    return uuid.UUID(flow_run_id).int & _TAIL_MASK


def task_run_id(flow_run_id: str, call: int, index: int) -> str:
    """Return the id of an element, the same wherever it is computed."""
    run = uuid.UUID(flow_run_id).int
    front = ((call << _INDEX_BITS | index) + (run >> 64)) & _FRONT_MASK
    front = front * _MULTIPLIER & _FRONT_MASK
    front ^= front >> _HALF
    front = front * _MULTIPLIER & _FRONT_MASK
    value = front >> 12 << 80 | 8 << 76 | (front & 0xFFF) << 64 | 2 << 62 | run & _TAIL_MASK
    return str(uuid.UUID(int=value))


def parse_task_run_id(task_run_id: str, flow_run_id: str) -> tuple[int, int]:
    """Return (call, index) of a task run id; raise ValueError for another run's."""
    value = uuid.UUID(task_run_id).int
    run = uuid.UUID(flow_run_id).int
    if value & _TAIL_MASK != run & _TAIL_MASK or value >> 76 & 0xF != 8:
        raise ValueError(f"task run {task_run_id} is not of flow run {flow_run_id}")
    front = value >> 80 << 12 | value >> 64 & 0xFFF
    front = front * _INVERSE & _FRONT_MASK
    front ^= front >> _HALF
    front = (front * _INVERSE - (run >> 64)) & _FRONT_MASK
    return front >> _INDEX_BITS, front & ((1 << _INDEX_BITS) - 1)
