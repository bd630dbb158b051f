"""What a worker tells the process that is to run a flow.

Lives here: the order as a value, and as a line of JSON. Does not live here: the
process (``run_process.py``), who gives the order (``processes.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

COMPLETED, NOT_COMPLETED, NOT_BEGUN, NOT_OURS, NO_STORE = 0, 1, 3, 4, 5
"""Exit codes of a run's process: how the flow ended, that it could not be loaded, that another
process drives the run, or that the store was away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A run that is to be driven by a process of its own.

    Attributes
    ----------
    flow_run_id
        A run that is in the store: scheduled, or cut off by a crash.
    entrypoint
        Where its flow stands: ``path/file.py:flow`` or ``package.module:flow``.
    source
        Where the code is, see :class:`dataflow.deployments.Source`; None: the folder in which
        the process is. What was fetched is the working directory.
    flow_name
        Name of the flow, where it is not what its function says.
    parameters
        JSON values. They count where the run has not begun yet.
    environment
        Variables of the process.
    options
        Of the flow, in place of its own: ``retries``, ``retry_delay_seconds``,
        ``timeout_seconds``.
    task_runner
        ``{"name": "dask", "options": {…}}`` in place of the flow's own.
    deployment
        What ``runtime.deployment`` tells: ``id``, ``name``, ``version``, ``parameters``, ``due_s``,
        and ``trigger``: the event that made the run.
    retry
        What failed in the run is to run again.
    """

    flow_run_id: str
    entrypoint: str
    source: str | Mapping[str, Any] | None = None
    flow_name: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    task_runner: Mapping[str, Any] | None = None
    deployment: Mapping[str, Any] = field(default_factory=dict)
    retry: bool = False

    def line(self) -> str:
        """Return the order as one line."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of(cls, line: str) -> Order:
        """Return the order in a line."""
        return cls(**json.loads(line))
