"""What else is known of a state, and the time at which one is made.

Lives here: :class:`StateDetails` and :func:`moment`. Does not live here: the
state itself (``state.py``).
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from dataflow.ids import task_run_id

_DETAILS: dict[str, Any] = {
    "task_run_id": None, "child_flow_run_id": None, "scheduled_time": None, "cache_key": None,
    "cache_expiration": None, "deferred": False, "untrackable_result": False,
    "pause_timeout": None, "pause_reschedule": False, "pause_key": None,
    "run_input_keyset": None, "refresh_cache": None, "retriable": None, "transition_id": None,
    "task_parameters_id": None, "traceparent": None, "deployment_concurrency_lease_id": None,
}


class StateDetails:
    """What else is known of a state; each field is None or False where it is not.

    Parameters
    ----------
    flow_run_id
        The flow run, or the one that the task run belongs to.
    more
        ``task_run_id``, ``child_flow_run_id``, ``scheduled_time``,
        ``cache_key``, ``pause_key`` and whatever else Prefect's states carry.
    """

    __slots__ = ("_more", "_task_run", "flow_run_id")

    def __init__(self, flow_run_id: str | None = None,
                 task_run: tuple[int, int] | tuple[int, int, str] | None = None,
                 **more: Any) -> None:
        unknown = more.keys() - _DETAILS.keys() if more else None
        if unknown:
            raise TypeError(f"a state has no detail {min(unknown)!r}; there are: "
                            f"flow_run_id, {', '.join(_DETAILS)}")
        self.flow_run_id = flow_run_id
        # (call, index), with the run whose call it is where that is no flow run: a million ids
        # are not computed unasked
        self._task_run = task_run
        self._more = more or None

    def __getattr__(self, name: str) -> Any:
        if name in _DETAILS:
            more = self._more or {}
            if name == "task_run_id" and self.flow_run_id is not None and self._task_run:
                run = self._task_run[2] if len(self._task_run) == 3 else self.flow_run_id
                return task_run_id(run, *self._task_run[:2])
            return more.get(name, _DETAILS[name])
        raise AttributeError(f"a state has no detail {name!r}")

    def __getstate__(self) -> tuple[Any, ...]:
        return self.flow_run_id, self._task_run, self._more

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.flow_run_id, self._task_run, self._more = state

    def is_empty(self) -> bool:
        """Tell whether the state belongs to no run."""
        return self.flow_run_id is None and self.task_run_id is None

    def given(self) -> dict[str, Any]:
        """Return the fields that are known, by name."""
        found = {name: getattr(self, name) for name in ("flow_run_id", *_DETAILS)}
        return {name: value for name, value in found.items() if value not in (None, False)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StateDetails) and self.given() == other.given()

    __hash__ = None  # type: ignore[assignment]  # equal by fields, some of which cannot be hashed

    def __repr__(self) -> str:
        return f"StateDetails({', '.join(f'{k}={v!r}' for k, v in self.given().items())})"


_moment_lock = threading.Lock()
_last_moment = datetime.min.replace(tzinfo=UTC)


def moment() -> datetime:
    """Return the time in UTC, later each time than the time before."""
    global _last_moment
    with _moment_lock:
        now = datetime.now(UTC)
        _last_moment = now if now > _last_moment else _last_moment + timedelta(microseconds=1)
        return _last_moment
