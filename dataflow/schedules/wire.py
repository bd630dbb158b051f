"""Schedules as JSON, and back.

Lives here: the keys and their check. Does not live here: the checks of values, which
are those of the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from dataflow.exceptions import ScheduleError
from dataflow.schedules.at import At
from dataflow.schedules.cron import Cron
from dataflow.schedules.interval import Interval
from dataflow.schedules.rrule import RRule
from dataflow.schedules.schedule import Schedule

KINDS: Mapping[str, type[Schedule]] = {each.kind: each for each in (Cron, Interval, RRule, At)}
_IN_JSON = {"when": "at"}  # as project files and serve(at=...) have it
_IN_PYTHON = {key: name for name, key in _IN_JSON.items()}
_OPTIONS = tuple(each.name for each in fields(Schedule) if each.init)


def written(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as JSON can hold it, all options included."""
    assert isinstance(schedule.jitter, timedelta)
    jitter = schedule.jitter.total_seconds()
    return {
        "kind": schedule.kind,
        **schedule.own_fields(),
        "timezone": schedule.timezone,
        "parameters": dict(schedule.parameters),
        "slug": schedule.slug,
        "active": schedule.active,
        "start": None if schedule.start is None else schedule.start.isoformat(),
        "end": None if schedule.end is None else schedule.end.isoformat(),
        "jitter": int(jitter) if jitter.is_integer() else jitter,
        "catch_up": schedule.catch_up,
        "catch_up_limit": schedule.catch_up_limit,
        "overlap": schedule.overlap,
    }


def schedule_from_json(value: Mapping[str, Any]) -> Schedule:
    """Return the schedule that ``Schedule.to_json`` wrote, or somebody by hand.

    Parameters
    ----------
    value
        ``kind`` (cron, interval, rrule or at; may be left out) and the parameters of its
        class; what is left out has its default. The moments of ``At`` are ``at``, or
        ``when`` as in Python.

    Raises
    ------
    ScheduleError
        An unknown key or kind, or a value that the class refuses.
    """
    if not isinstance(value, Mapping):
        raise ScheduleError(f"schedule {value!r} is not a mapping such as {{'cron': '0 9 * * *'}}",
                            field="schedule", value=value)
    given = {name: each for name, each in value.items() if name != "kind"}
    if value.get("kind", "at") == "at" and "when" in given and "at" not in given:
        given["at"] = given.pop("when")
    main = {kind: next(iter(_own(kind))) for kind in KINDS}
    named = [kind for kind in KINDS if main[kind] in given]
    kind = value.get("kind", named[0] if len(named) == 1 else None)
    if kind not in KINDS:
        raise ScheduleError(
            f"schedule {dict(value)!r} has no kind: give exactly one of {', '.join(main.values())}"
            if kind is None else f"kind {kind!r} is not one of {', '.join(KINDS)}",
            field="kind", value=kind)
    allowed = (*_own(kind), *_OPTIONS)
    for name in given:
        if name not in allowed:
            near = get_close_matches(str(name), allowed, 1)
            raise ScheduleError(
                f"{name!r} is no option of a schedule of kind {kind}"
                + (f"; did you mean {near[0]!r}?" if near else f": known are {', '.join(allowed)}"),
                field=str(name), value=given[name])
    if main[kind] not in given:
        raise ScheduleError(f"a schedule of kind {kind} needs {main[kind]!r}",
                            field=main[kind], value=None)
    return KINDS[kind](**{_IN_PYTHON.get(name, name): each for name, each in given.items()})


def _own(kind: str) -> tuple[str, ...]:
    """Return the parameters that a kind alone has, its main one first."""
    own = tuple(_IN_JSON.get(each.name, each.name) for each in fields(KINDS[kind])
                if each.init and each.name not in _OPTIONS)
    return (*own, "anchor_date") if kind == "interval" else own
