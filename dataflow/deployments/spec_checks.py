"""What each field of a deployment may be.

Lives here: a check per field, which returns the value in its one form or says what
is wrong. Does not live here: the fields' meaning (``spec.py``), the shape of a
project file (``project_models.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from dataflow.deployments.code_sources import Source
from dataflow.deployments.json_values import checked_text, json_copy
from dataflow.entrypoints import Entrypoint
from dataflow.exceptions import CodeSourceError, DefinitionError, ResumeError

BANNED = "/%&<>"
"""What no name may have in it, as with flows: names stand in URLs and in full names."""

SCHEDULE_KINDS = ("cron", "interval", "rrule", "at")
_LONGER = {"at": "when"}  # as ``to_json()`` of a schedule calls it
_NAME_SIZE = 200
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_FOR_EVER_S = 1e9  # 31 years, as with flows


class Problem(NamedTuple):
    """What is wrong with a field."""

    field: str
    text: str


class _Wrong(ValueError):
    """A value cannot be meant; the text says what may stand there."""


class _Several(_Wrong):
    """Several parts of a value cannot be meant; ``all`` are the texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.all = tuple(texts)
        super().__init__("; ".join(texts))


def checked(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the values in their one form, and all that is wrong with them."""
    made: dict[str, Any] = {}
    problems = []
    for name, value in values.items():
        try:
            made[name] = _CHECKS[name](value, name)
        except _Several as error:
            problems += [Problem(name, said) for said in error.all]
        except ValueError as error:  # of ours, and of json_values
            problems.append(Problem(name, str(error)))
    return made, problems + _together(made)


def unknown_field(name: str, known: Sequence[str], *, missing: bool = False) -> Problem:
    """Return what is to be said of a field that there is not, or that is missing."""
    if missing:
        return Problem(name, "is missing")
    return Problem(name, f"is no field of a deployment{nearest(name, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'tags'?"``, else what there is."""
    choices = list(known)
    near = get_close_matches(name, choices, 1, 0.6) or get_close_matches(
        name.lower().replace("-", "_"), choices, 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(choices)}"


def _together(made: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with fields that are right by themselves."""
    problems = []
    entrypoint, source = made.get("entrypoint"), made.get("source")
    if entrypoint and source:
        place = Entrypoint.parse(entrypoint).place
        if place.startswith(("/", "~")) or ".." in place.split("/"):
            problems.append(Problem(
                "entrypoint", f"{entrypoint!r} leads out of the source: give a path relative to "
                f"{Source.parse(source).shown}"))
    full = f"{made.get('flow_name')}/{made.get('name')}"
    if made.get("after") in (full, made.get("name")) and made.get("name"):
        problems.append(Problem("after", f"{made['after']!r} is the deployment itself"))
    for field in ("schedules", "triggers"):
        slugs = [each["slug"] for each in made.get(field, ()) if each.get("slug") is not None]
        for slug in sorted({str(slug) for slug in slugs if slugs.count(slug) > 1}):
            problems.append(Problem(field, f"several have the slug {slug!r}"))
    return problems


def _name(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f"must be a text that is not empty, got {value!r}")
    checked_text(value, what)
    if bad := [char for char in BANNED if char in value]:
        raise _Wrong(f"{value!r} must be free of {' '.join(bad)}")
    if _CONTROL.search(value) or value != value.strip():
        raise _Wrong(f"{value!r} must be one line without spaces around it")
    if len(value) > _NAME_SIZE:
        raise _Wrong(f"has {len(value)} characters, at most {_NAME_SIZE}")
    return value


def _name_or_none(value: Any, what: str) -> str | None:
    return None if value is None else _name(value, what)


def _text_or_none(value: Any, what: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _Wrong(f"must be a text, got {value!r}")
    return None if value is None else checked_text(value, what)


def _entrypoint(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"must be path/to/file.py:flow or package.module:flow, got {value!r}")
    checked_text(value, what)
    try:
        found = Entrypoint.parse(value)
    except ResumeError as error:
        raise _Wrong(str(error)) from None
    if not all(part.isidentifier() for part in found.name.split(".")):
        raise _Wrong(f"{value!r} names no flow after the colon that another process could find")
    return value


def _source(value: Any, what: str) -> str | None:
    if value is None:
        return None
    try:
        found = Source.parse(value)
    except CodeSourceError as error:
        raise _Wrong(str(error)) from None
    if found.has_credentials:
        raise _Wrong(
            f"{found.shown} has a password or token in it, which everybody could read who sees "
            "the deployment: write the name of a variable of the worker's environment in its "
            "place, https://${TOKEN}@host/…, or use git's credential helper")
    return found.text()


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _Wrong(f"must be a mapping, got {value!r}")
    found: dict[str, Any] = json_copy(value, what)
    return found


def _environment(value: Any, what: str) -> dict[str, str]:
    found = _mapping(value, what)
    for name, text in found.items():
        if not _VARIABLE.fullmatch(name):
            raise _Wrong(f"{name!r} is no name of an environment variable")
        if not isinstance(text, str):
            raise _Wrong(f"{name} must be a text, got {type(text).__name__}: write it in quotes")
    return dict(sorted(found.items()))


def _listed(value: Any, what: str) -> tuple[dict[str, Any], ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise _Wrong(f"must be a list, got {value!r}")
    plain = [each.to_json() if hasattr(each, "to_json") else each for each in value]
    return tuple(_mapping(each, f"{what}[{at}]") for at, each in enumerate(plain))


def _schedules(value: Any, what: str) -> tuple[dict[str, Any], ...]:
    found = _listed(value, what)
    for at, each in enumerate(found):
        kinds = [kind for kind in SCHEDULE_KINDS if kind in each or _LONGER.get(kind) in each]
        if len(kinds) != 1:
            raise _Wrong(f"{what}[{at}] must have one of {', '.join(SCHEDULE_KINDS)}, "
                         f"got {' and '.join(kinds) or 'none'}")
    return found


def _alerts(value: Any, what: str) -> tuple[dict[str, Any], ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise _Wrong(f"must be a list, got {value!r}")
    given = list(value)
    if not given:
        return ()
    from dataflow.alerts.alert_lists import checked_alert, tables

    try:
        return tuple(tables(checked_alert(each, f"{what}[{at}]") for at, each in enumerate(given)))
    except DefinitionError as error:
        raise _Wrong(str(error)) from None


def _triggers(value: Any, what: str) -> tuple[dict[str, Any], ...]:
    given = _listed(value, what)
    if not given:
        return ()
    from dataflow.exceptions import TriggerError
    from dataflow.triggers import trigger_from_json

    found, wrong = [], []
    for at, each in enumerate(given):
        try:
            found.append(trigger_from_json(each).to_json())
        except TriggerError as error:
            wrong.append(f"{what}[{at}]: {error}")
    if wrong:
        raise _Several(wrong)
    return tuple(found)


def _tags(value: Any, what: str) -> tuple[str, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise _Wrong(f"must be a list of texts, got {value!r}")
    found = list(value)
    for tag in found:
        if not isinstance(tag, str) or not tag.strip() or _CONTROL.search(tag):
            raise _Wrong(f"{tag!r} is no tag: a tag is one line of text")
        checked_text(tag, what)
    return tuple(sorted(set(found)))


def _task_runner(value: Any, what: str) -> dict[str, Any] | None:
    if value is None:
        return None
    found = {"name": value} if isinstance(value, str) else _mapping(value, what)
    if extra := [name for name in found if name not in ("name", "options")]:
        raise _Wrong(f"{extra[0]!r} is no part of it: a task runner has a name and options")
    options = found.get("options") or {}
    if not isinstance(options, dict):
        raise _Wrong(f"options must be a mapping, got {options!r}")
    return {"name": _name(found.get("name"), f"{what}.name"), "options": options}


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Wrong(f"must be a whole number, got {value!r}")
    if abs(value) >= 1 << 31:
        raise _Wrong("is beyond what a store can hold")
    return value


def _at_least(least: int) -> Callable[[Any, str], int | None]:
    def check(value: Any, what: str) -> int | None:
        if value is None:
            return None
        if _whole(value, what) < least:
            raise _Wrong(f"must be at least {least}, got {value}")
        return int(value)
    return check


def _seconds(above_zero: bool) -> Callable[[Any, str], float | None]:
    def check(value: Any, what: str) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _Wrong(f"must be a number of seconds, got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise _Wrong(f"must be a finite number of seconds, got {value!r}")
        if value < 0 or (above_zero and value == 0):
            raise _Wrong(f"must be {'above 0' if above_zero else '0 or more'}, got {value!r}")
        return float(min(value, _FOR_EVER_S))
    return check


def _one_of(*choices: str) -> Callable[[Any, str], str]:
    def check(value: Any, what: str) -> str:
        if value not in choices:
            raise _Wrong(f"must be {' or '.join(map(repr, choices))}, got {value!r}")
        return str(value)
    return check


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(f"must be true or false, got {value!r}")
    return value


def _after(value: Any, what: str) -> str | None:
    if value is None:
        return None
    parts = value.split("/") if isinstance(value, str) else []
    if not 1 <= len(parts) <= 2:
        raise _Wrong(f"must be 'flow/deployment' or the name of a deployment, got {value!r}")
    for part in parts:
        _name(part, what)
    return str(value)


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "name": _name,
    "flow_name": _name,
    "entrypoint": _entrypoint,
    "source": _source,
    "parameters": _mapping,
    "parameter_schema": _mapping,
    "schedules": _schedules,
    "work_pool": _name_or_none,
    "work_queue": _name_or_none,
    "priority": _whole,
    "tags": _tags,
    "version": _text_or_none,
    "description": _text_or_none,
    "environment": _environment,
    "task_runner": _task_runner,
    "retries": _at_least(0),
    "retry_delay_seconds": _seconds(above_zero=False),
    "timeout_seconds": _seconds(above_zero=True),
    "limit": _at_least(1),
    "collision": _one_of("ENQUEUE", "CANCEL_NEW"),
    "on_crash": _one_of("crash", "resume"),
    "alerts": _alerts,
    "paused": _flag,
    "after": _after,
    "triggers": _triggers,
}
