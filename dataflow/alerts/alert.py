"""The alert: when somebody is to be told, and through which channels.

Lives here: the value, its checks, its JSON. Does not live here: how options are
written (``conditions.py``), whether one holds (``rules.py``, ``deadlines.py``),
alerts in files (``alert_files.py``).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from zoneinfo import ZoneInfo

from dataflow.alerts import conditions
from dataflow.alerts.channel_urls import has_secrets, shown
from dataflow.alerts.conditions import near, refuse, words
from dataflow.exceptions import DefinitionError, DefinitionTypeError

THROTTLE_SECONDS = 300.0
GROUP_SECONDS = 10.0
_CLOCK_ONLY = "on longer_than failed_share late_by_seconds".split()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Alert:
    """Tell somebody when runs of some flows come to something.

    All conditions that are given must hold at once.

    Parameters
    ----------
    on
        States: ``"failed"``, ``["failed", "crashed"]``, ``"late"``, ``"recovered"`` (the first
        COMPLETED after failures), ``"any"`` (every final state). Without any condition:
        ``"failed"``; where another one is given: whatever the state.
    match
        Of which runs: ``"tag:prod"``, ``"flow:etl-*"``, ``"deployment:nightly"``,
        ``"name:*-retry"`` (of the run), or a bare name of a flow or deployment; all of them are
        globs. A list holds alternatives, ``&`` joins what must hold together. Empty: all runs.
        ``"task:load*"`` means task runs; without it an alert is about flow runs.
    channels
        Names of channels from the settings, or URLs.
    longer_than
        Seconds, ``"10m"``, or ``"2x median"`` of earlier completed runs (three at least).
    not_completed_by
        ``"06:00"``: nothing completed since the same time of the day before. Stands without
        other conditions than ``match``.
    timezone
        Of ``not_completed_by``; a name as ``"Europe/Berlin"``.
    days
        On which ``not_completed_by`` counts: ``"mon-fri"``; every day by default.
    failed_share
        From 0 to 1: share of the run's elements that failed or crashed, at least.
    late_by_seconds
        The schedule was not kept: the run began, or waits, later than its time by more than this.
    name
        What the alert is called in messages.
    group_seconds
        How long to wait for more of the same before the first message.
    throttle_seconds
        Least time between two messages about the same; what comes meanwhile makes one.
    resolved
        Whether to tell when it is over.
    title, text
        Templates (Jinja) that replace the default ones.

    Raises
    ------
    DefinitionError
        An option cannot be used; the text names it.
    """

    on: tuple[str, ...] | str = ()
    match: tuple[str, ...] | str | Sequence[str] = ()
    channels: tuple[str, ...] | str | Sequence[str] = ()
    longer_than: float | str | None = None
    not_completed_by: str | None = None
    timezone: str = "UTC"
    days: tuple[str, ...] | str | Sequence[str] = ()
    failed_share: float | None = None
    late_by_seconds: float | None = None
    name: str | None = None
    group_seconds: float = GROUP_SECONDS
    throttle_seconds: float = THROTTLE_SECONDS
    resolved: bool = True
    title: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        on = conditions.states(self.on)
        if not on and self._has_no_condition:
            on = ("failed",)
        days = self.days.split(",") if isinstance(self.days, str) and self.days else self.days
        for name, value in (("on", on), ("match", words("match", self.match)),
                            ("channels", words("channels", self.channels)),
                            ("days", words("days", days or ()))):
            object.__setattr__(self, name, value)
        conditions.patterns(self.match)
        if self.days:
            conditions.weekdays(self.days)
        if self.longer_than is not None:
            conditions.longer_than(self.longer_than)
        self._check_numbers()
        self._check_clock()
        self._check_texts()

    @property
    def _has_no_condition(self) -> bool:
        return all(getattr(self, name) is None for name in (
            "longer_than", "not_completed_by", "failed_share", "late_by_seconds"))

    def _check_numbers(self) -> None:
        for name in ("failed_share", "late_by_seconds", "group_seconds", "throttle_seconds"):
            value = getattr(self, name)
            if value is None and name not in ("group_seconds", "throttle_seconds"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not (
                    math.isfinite(value) and value >= 0):
                refuse(name, value, "it must be a number of at least 0.")
        if self.failed_share is not None and not 0 < self.failed_share <= 1:
            refuse("failed_share", self.failed_share, "it must be more than 0 and at most 1.")
        if not isinstance(self.resolved, bool):
            refuse("resolved", self.resolved, "it must be true or false.")

    def _check_clock(self) -> None:
        try:
            ZoneInfo(self.timezone)
        except (ValueError, OSError, LookupError, TypeError):
            refuse("timezone", self.timezone, "there is no such time zone. Write 'Europe/Berlin'.")
        if self.not_completed_by is None:
            if self.days:
                refuse("days", self.days, "it says on which days not_completed_by counts; give "
                                          "that too.")
            return
        conditions.time_of_day(self.not_completed_by)
        for name in _CLOCK_ONLY:
            if getattr(self, name) not in (None, ()):
                refuse("not_completed_by", self.not_completed_by,
                       f"it cannot stand beside {name}: there is no run to ask. Make two alerts.")

    def _check_texts(self) -> None:
        for option in ("name", "title", "text"):
            value = getattr(self, option)
            if value is None:
                continue
            if not isinstance(value, str) or not value.strip():
                raise DefinitionTypeError(f"Alert({option}=...) takes a text that is not empty.",
                                          option=option)
            if option != "name":
                from dataflow.alerts.templates import check

                check(option, value)

    @property
    def key(self) -> str:
        """Return what tells this alert from others, the same in every process."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=8).hexdigest()

    @property
    def label(self) -> str:
        """Return the name, or the conditions in words: ``failed of tag:prod``."""
        whose = f" of {' or '.join(self.match)}" if self.match else ""
        return self.name or f"{self._condition_words()}{whose}"

    def _condition_words(self) -> str:
        said = [" or ".join(self.on)] if self.on else []
        if self.longer_than is not None:
            limit = self.longer_than
            said.append(f"longer than {limit if isinstance(limit, str) else f'{limit:g} s'}")
        if self.not_completed_by is not None:
            said.append(f"not completed by {self.not_completed_by} {self.timezone}")
        if self.failed_share is not None:
            said.append(f"{self.failed_share * 100:g} % failed")
        if self.late_by_seconds is not None:
            said.append(f"late by {self.late_by_seconds:g} s")
        return ", ".join(said)

    def secret_channels(self) -> tuple[str, ...]:
        """Return the channels that are URLs with a secret in them, masked.

        Such an alert's JSON holds the secret. Where it would be written down, refuse it and
        ask for the name of a channel from the settings.
        """
        return tuple(shown(one) for one in self.channels if has_secrets(one))

    def to_json(self) -> str:
        """Return the alert as JSON, for :func:`alert_from_json`. Secrets in URLs are in it."""
        return json.dumps(self._given(), ensure_ascii=False, sort_keys=True)

    def _given(self) -> dict[str, Any]:
        """Return the options that differ from their defaults."""
        return {each.name: list(value) if isinstance(value, tuple) else value
                for each in fields(self) if (value := getattr(self, each.name)) != each.default}

    def __repr__(self) -> str:
        given = self._given() | {"channels": [shown(one) for one in self.channels]}
        return f"Alert({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def alert_from_json(source: str | Mapping[str, Any], where: str = "the alert") -> Alert:
    """Return the alert that :meth:`Alert.to_json` wrote, or that a table of a file describes.

    Parameters
    ----------
    source
        JSON, or the object it stands for.
    where
        For the texts of errors: the file and the number of the table.

    Raises
    ------
    DefinitionError
        It is no object, has a key that is no option (the nearest is named), or a bad value.
    """
    try:
        table = json.loads(source) if isinstance(source, str) else source
    except ValueError as error:
        raise DefinitionError(f"{where} is no valid JSON: {error}.", where=where) from error
    if not isinstance(table, Mapping):
        raise DefinitionTypeError(f"{where} must be an object of options, not a "
                                  f"{type(table).__name__}.", where=where)
    known = [each.name for each in fields(Alert)]
    for key in table:
        if key not in known:
            raise DefinitionError(
                f"{where} sets {key!r}, which is no option of an alert. {near(str(key), known)}"
                f"Known are: {', '.join(known)}.", where=where, option=key)
    try:
        return Alert(**table)
    except DefinitionError as error:
        raise type(error)(f"{where}: {error}", **error.__dict__) from error
