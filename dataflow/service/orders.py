"""What a worker tells the process that is to run a flow.

Lives here: the order as a value, as a line of JSON, as one word. Does not live here: the
process (``run_process.py``), who gives the order (``processes.py``).
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

VARIABLE = "DATAFLOW_ORDER"
"""The variable of the environment that holds the order in a container or a job."""

WORD_LIMIT = 96_000
"""Characters of an order in a variable or an argument: Linux holds 128 KiB in one."""

COMPLETED, NOT_COMPLETED, NOT_BEGUN, NOT_OURS, NO_STORE = 0, 1, 3, 4, 5
"""Exit codes of a run's process: how the flow ended, that it could not be loaded, that another
process drives the run, or that the store was away."""


_AT_START = ("PYTHON", "LC_", "LD_", "MALLOC_", "GLIBC_")
_AT_START_NAMES = frozenset({"TZ", "LANG", "LANGUAGE"})


def counts_at_start(name: str) -> bool:
    """Tell whether a variable is read as a process begins, and set later has no effect."""
    return name in _AT_START_NAMES or name.startswith(_AT_START)


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
    attempt
        Which time it is that the run was taken. An order that waited somewhere, in the queue of
        a batch system for instance, is void once the run was taken again; None: it never is.
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
    attempt: int | None = None
    retry: bool = False

    def line(self) -> str:
        """Return the order as one line."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of(cls, line: str) -> Order:
        """Return the order in a line."""
        return cls(**json.loads(line))

    def text(self) -> str:
        """Return the order as one word of letters, digits, ``-``, ``_`` and ``=``.

        One that is too long for a variable or an argument says only which run is meant: whoever
        performs it finds the rest in the store.
        """
        whole = _word(asdict(self))
        if len(whole) <= WORD_LIMIT:
            return whole
        return _word({"flow_run_id": self.flow_run_id, "attempt": self.attempt})


def _word(facts: Mapping[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(facts).encode()).decode()


def facts_of(word: str) -> dict[str, Any]:
    """Return what :meth:`Order.text` put into a word.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        facts = json.loads(urlsafe_b64decode(word.strip().encode()))
    except ValueError as error:
        raise ValueError(
            f"{word!r:.60} is none ({error}); it is what {{order}} stands for in a pool's "
            "command") from None
    if not isinstance(facts, dict) or "flow_run_id" not in facts:
        raise ValueError("it names no flow run")
    return facts
