"""What can be read from a task, and its code as workers get it.

Lives here: the attributes of :class:`dataflow.tasks.Task` that tell its
options, and the :class:`dataflow.batch.TaskCode` made from them. Does not live
here: checks of options (``options.py``), calls (``tasks.py``).
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

from dataflow.batch import TaskCode
from dataflow.options import TaskSettings
from dataflow.retry import RetryPolicy
from dataflow.settings import get_settings

_process = uuid.uuid4().hex[:12]
_tokens = itertools.count()


class TaskAttributes:
    """The options of a task, for reading."""

    _settings: TaskSettings
    _given: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the task."""
        return self._settings.name

    @property
    def description(self) -> str | None:
        """Description, by default the docstring."""
        return self._settings.description

    @property
    def tags(self) -> set[str]:
        """Tags of every run of the task."""
        return set(self._settings.tags)

    @property
    def version(self) -> str | None:
        """Version."""
        return self._settings.version

    @property
    def retries(self) -> int:
        """How often a failing run is tried again."""
        return self._settings.retries

    @property
    def retry_delay_seconds(self) -> Any:
        """Delay before a retry, as given; a callable was asked already."""
        given = self._given.get("retry_delay_seconds")
        return list(self._settings.retry_policy.delays) if callable(given) else given or 0

    @property
    def retry_jitter_factor(self) -> float | None:
        """Spread of the delays."""
        return self._settings.retry_policy.jitter

    @property
    def retry_condition_fn(self) -> Callable[..., Any] | None:
        """Asked before a retry."""
        return self._settings.retry_condition_fn

    @property
    def timeout_seconds(self) -> float | None:
        """Longest time a run may take."""
        return self._settings.timeout_seconds

    @property
    def task_run_name(self) -> str | Callable[..., str] | None:
        """Template or callable for the names of runs."""
        return self._settings.task_run_name

    @property
    def log_prints(self) -> bool | None:
        """Whether prints go to the log; None: as the flow says."""
        return self._settings.log_prints

    def _new_code(self, fn: Callable[..., Any], log_prints: bool) -> TaskCode:
        """Make what workers need; what the task leaves open is as the settings say."""
        own = self._settings
        retries, policy = own.retries, own.retry_policy
        defaults = get_settings()
        if self._given.get("retries") is None:
            retries = defaults.tasks_default_retries
        if self._given.get("retry_delay_seconds") is None:
            delay = defaults.tasks_default_retry_delay_seconds
            delays = delay if isinstance(delay, tuple) else (delay,) if delay else ()
            policy = RetryPolicy(delays, policy.jitter)
        return TaskCode(
            token=f"{_process}-{next(_tokens)}", fn=fn, name=own.name, retries=retries,
            retry_delay=policy, retry_condition=own.retry_condition_fn,
            timeout_s=own.timeout_seconds, isolation=own.isolation, log_prints=log_prints,
            run_name=own.task_run_name, tags=own.tags,
        )
