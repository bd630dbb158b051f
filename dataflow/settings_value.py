"""The settings as one frozen value.

Lives here: which settings there are. Does not live here: where their values
come from (``settings_sources.py``), when they are read (``settings.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

PREFIX = "DATAFLOW_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of this moment. Each field is a variable: ``home`` is ``DATAFLOW_HOME``."""

    home: Path
    """Where the run store and all other files are kept; ``~/.dataflow``."""
    store: str | None = None
    """Path or ``sqlite:///`` URL of the run store; None: ``dataflow.db`` in ``home``."""
    task_runner: str | None = None
    """Name of the task runner of flows that name none, e.g. ``"dask"``."""
    log_level: str = "INFO"
    log_prints: bool = False
    """Whether ``print`` in flows and tasks is logged where they do not say."""
    tasks_default_retries: int = 0
    tasks_default_retry_delay_seconds: float = 0.0
    sources: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Field → where its value came from, e.g. ``"environment"`` or a file's path."""

    @property
    def store_location(self) -> str:
        """Return what :func:`dataflow.stores.open_store` opens by default."""
        return self.store if self.store is not None else str(self.home / "dataflow.db")


NAMES = tuple(each.name for each in fields(Settings) if each.name != "sources")
"""Names of the settings, in the order in which they are shown."""


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()
