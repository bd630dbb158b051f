"""The settings as one frozen value.

Lives here: which settings there are and what they are called. Does not live
here: where their values come from (``settings_sources.py``), when they are read
(``settings.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path

from dataflow.exceptions import SettingsError

PREFIX = "DATAFLOW_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of this moment. Each field is a variable: ``home`` is ``DATAFLOW_HOME``."""

    home: Path
    """Where the run store and all other files are kept; ``~/.dataflow``."""
    store: str | None = None
    """Path, ``sqlite:///`` or ``postgresql://`` URL of the run store; None: ``dataflow.db`` in
    ``home``."""
    task_runner: str | None = None
    """Name of the task runner of flows that name none, e.g. ``"dask"``."""
    log_level: str = "INFO"
    log_prints: bool = False
    """Whether ``print`` in flows and tasks is logged where they do not say."""
    logging_extra_loggers: tuple[str, ...] = ()
    """Names of loggers whose lines are also kept in the run's log."""
    logging_to_console: bool = True
    """Whether lines show on stderr where the application has set up no handler."""
    logging_to_store: bool = True
    """Whether lines of runs are kept with their records."""
    tasks_default_retries: int = 0
    tasks_default_retry_delay_seconds: float | tuple[float, ...] = 0.0
    """Seconds, or one delay for each retry; the last repeats."""
    flows_default_retries: int = 0
    flows_default_retry_delay_seconds: float = 0.0
    results_location: str | None = None
    """Folder or URL of results that are kept; None: ``results`` in ``home``."""
    results_persist_by_default: bool = False
    """Whether results are kept where flows and tasks do not say."""
    results_default_serializer: str = "pickle"
    tasks_default_persist_result: bool | None = None
    """Whether results of tasks are kept where they do not say; None: as of flows."""
    tasks_refresh_cache: bool = False
    """Whether tasks that do not say compute anew what is kept."""
    tasks_disable_caching: bool = False
    """Whether nothing is kept and looked up, whatever tasks say."""
    alerts_allow_private: bool | tuple[str, ...] = False
    """Whether webhooks may lead to private addresses; else hosts and networks that they may."""
    alerts_timeout_seconds: float = 15.0
    """How long one try to deliver a message may take."""
    alerts_send: str = "auto"
    """``"auto"``: processes that watch deliver messages, and where nobody watches a run with
    alerts starts one that does; ``"off"``: this process and those it starts deliver none."""
    api_token: str | None = field(default=None, repr=False)
    """What requests to the service must bring; None: the text in the file ``token`` in ``home``,
    which is made at its first start."""
    api_host: str = "127.0.0.1"
    """Address on which the service listens."""
    api_port: int = 4207
    """Port of the service; 0: a free one."""
    api_allowed_hosts: tuple[str, ...] = ()
    """Names under which the service is reached, beside those of this machine."""
    sources: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Field → where its value came from, e.g. ``"environment"`` or a file's path."""

    @property
    def store_location(self) -> str:
        """Return what :func:`dataflow.stores.open_store` opens by default."""
        return self.store if self.store is not None else str(self.home / "dataflow.db")

    @property
    def result_storage_location(self) -> str:
        """Return where results are kept by default."""
        location = self.results_location
        return location if location is not None else str(self.home / "results")

    @property
    def file(self) -> Path:
        """Return the file of settings that hold in every folder."""
        return self.home / "dataflow.toml"


NAMES = tuple(each.name for each in fields(Settings) if each.name != "sources")
"""Names of the settings, in the order in which they are shown."""


SECRETS = frozenset({"api_token"})
"""Names of settings whose value is never shown."""


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def named(name: str, source: str = "the call") -> str:
    """Return the setting that a name or variable stands for: ``DATAFLOW_HOME`` is ``home``.

    Raises
    ------
    SettingsError
        There is none; the text says where the name stood and which is the nearest.
    """
    plain = name.lower().removeprefix(PREFIX.lower()).replace(".", "_").replace("-", "_")
    if plain in NAMES:
        return plain
    near = get_close_matches(plain, NAMES, 1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise SettingsError(
        f"{source} sets {name!r}, which is no setting. {hint}Known are: {', '.join(NAMES)}.",
        source=source, variable=name, nearest=near[0] if near else None,
    )
