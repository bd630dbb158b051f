"""Which alerts there are: of the files of settings, of deployments, of flows.

Lives here: gathering them so that none is missed for another's mistake, and what is
wrong with them in the log, once. Does not live here: reading files
(``alerts/alert_files.py``), whether an alert holds (``alerts/rules.py``).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from dataflow.alerts.alert import Alert
from dataflow.alerts.alert_files import Configured, usable
from dataflow.alerts.alert_lists import checked_alert, unique
from dataflow.exceptions import DefinitionError, SettingsError

READ_S = 2.0
"""Files of settings are read again after so long."""

_MOST_SAID = 1000

logger = logging.getLogger("dataflow.alerts")
Read = Callable[[], tuple[Configured, list[SettingsError]]]


class AlertSources:
    """The alerts of this moment.

    Parameters
    ----------
    read
        Gives what can be used of the files, and what is wrong with the rest.
    """

    def __init__(self, read: Read = usable) -> None:
        self._read = read
        self._read_at: float | None = None
        self._said: set[str] = set()
        self.files = Configured()

    def refresh(self, now_s: float) -> None:
        """Read the files again where that is some time ago."""
        if self._read_at is not None and 0 <= now_s - self._read_at < READ_S:
            return
        self._read_at = now_s
        found, problems = self._read()
        for problem in problems:
            self._say(str(problem))
        self.files = found.named()

    def of_run(self, tables: Iterable[Mapping[str, Any]], whose: str) -> tuple[Alert, ...]:
        """Return the alerts that hold for a run: those of the files, and its own.

        Parameters
        ----------
        tables
            JSON of those that its flow and its deployment bring.
        whose
            For the log, where one cannot be used.
        """
        return unique((*self.files.alerts, *self.own(tables, whose)))

    def own(self, tables: Iterable[Mapping[str, Any]], whose: str) -> list[Alert]:
        """Return alerts from their JSON; what cannot be used is said once."""
        found = []
        for at, table in enumerate(tables):
            alert = _alert(json.dumps(table, sort_keys=True), f"alerts[{at}] of {whose}")
            if isinstance(alert, Alert):
                found.append(alert)
            else:
                self._say(alert)
        return found

    def _say(self, problem: str) -> None:
        if problem not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(problem)
            logger.error("An alert cannot be used, the others can: %s", problem)


@lru_cache(maxsize=4096)
def _alert(text: str, where: str) -> Alert | str:
    """Return an alert, or why it is none."""
    try:
        return checked_alert(json.loads(text), where)
    except DefinitionError as error:
        return str(error)
