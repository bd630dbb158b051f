"""``DeploymentEventTrigger``, as programs written for Prefect have it.

Lives here: reading its arguments. Does not live here: what they become (``on_event.py``,
``absence.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from dataflow.exceptions import TriggerError
from dataflow.triggers.absence import Absence
from dataflow.triggers.definition import checked_seconds, checked_word, refuse
from dataflow.triggers.on_event import OnEvent
from dataflow.triggers.trigger import Trigger

_ID, _NAME, _ROLE = (f"dataflow.resource.{each}" for each in ("id", "name", "role"))
_ROLES = ("flow", "deployment", "tag", "flow-run")
_EACH = {_ID: "resource", f"related:flow:{_ID}": "flow", f"related:deployment:{_ID}": "deployment"}
Texts = str | Iterable[str]


def DeploymentEventTrigger(
    *, expect: Texts = (), match: Mapping[str, Any] | None = None,
    match_related: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    parameters: Mapping[str, Any] | None = None, posture: str = "Reactive", threshold: int = 1,
    within: float | timedelta = 0, after: Texts = (), for_each: Texts = (),
    name: str | None = None, description: str | None = None, enabled: bool = True,
    schedule_after: float | timedelta = 0, **others: Any,
) -> Trigger:
    """Return the trigger that arguments of Prefect's mean: an ``OnEvent`` or an ``Absence``.

    Names that begin with ``prefect.`` are read as beginning with ``dataflow.``.

    Parameters
    ----------
    expect
        Names of events, globs; none: any event.
    match
        ``{"prefect.resource.id": "prefect.flow-run.*"}``.
    match_related
        Of whose runs: ``{"prefect.resource.role": "flow", "prefect.resource.name": "etl"}``; the
        roles flow, deployment and tag.
    posture
        ``"Reactive"``: ``threshold`` such events within a time; ``"Proactive"``: none of them
        within a time, counted from an event of ``after`` where that is given.
    for_each
        ``{"prefect.resource.id"}``, that of the related flow or deployment, or a path into the
        payload.

    Raises
    ------
    TriggerError
        An argument means what there is nothing for here; the text names it.
    """
    if others:
        name_, value = next(iter(others.items()))
        refuse(name_, value, "is not supported here: write an OnEvent, OnState or Absence of "
                             "dataflow.triggers")
    posture = checked_word("posture", _plain(posture), ("Reactive", "Proactive"))
    events = _event(expect, match, match_related)
    common: dict[str, Any] = {
        "parameters": _parameters(parameters or {}), "slug": name, "active": enabled,
        "delay": schedule_after, "for_each": _for_each(for_each)}
    if posture == "Proactive":
        if threshold != 1:
            refuse("threshold", threshold, "has no meaning for what does not happen: leave it out")
        start = _event(after, match, match_related) if list(_texts("after", after)) else None
        return Absence(OnEvent(**events), within=within,  # type: ignore[arg-type]  # checked there
                       after=None if start is None else OnEvent(**start), **common)
    if list(_texts("after", after)):
        refuse("after", after, "is supported for posture='Proactive' alone")
    seconds = checked_seconds("within", within)
    return OnEvent(**events, **common, count=threshold,
                   within=seconds if seconds and threshold > 1 else None)


def _event(names: Texts, match: Mapping[str, Any] | None, related: Any) -> dict[str, Any]:
    """Return the options of an OnEvent."""
    found: dict[str, Any] = {"name": tuple(_texts("expect", names)) or ("*",)}
    parts = []
    for label, value in (match or {}).items():
        patterns = tuple(_texts(f"match[{label!r}]", value))
        if _ours(label) == _ID:
            found["resource"] = patterns
        elif _ours(label) == _NAME:
            parts.append([f"name:{each}" for each in patterns])
        else:
            refuse("match", dict(match or {}), f"has {label!r}: there are prefect.resource.id and "
                                               "prefect.resource.name. What an event brings is "
                                               "matched by OnEvent(payload={…})")
    several = [related] if isinstance(related, Mapping) else list(related or ())
    parts += [_related(each) for each in several]
    joined = [""]
    for each in parts:
        joined = [f"{front} & {one}" if front else one for front in joined for one in each]
    if joined != [""]:
        found["match"] = tuple(joined)
    return found


def _related(labels: Mapping[str, Any]) -> list[str]:
    """Return what is said of a related resource in the words of ``match``."""
    ours = {_ours(label): value for label, value in labels.items()}
    if extra := [label for label in ours if label not in (_ID, _NAME, _ROLE)]:
        refuse("match_related", dict(labels), f"has {extra[0]!r}: there are prefect.resource.id, "
                                              "prefect.resource.name and prefect.resource.role")
    role = _plain(ours.get(_ROLE))
    found = []
    for label in (_NAME, _ID):
        for text in _texts("match_related", ours.get(label, ())):
            kind, name = role, text
            for known in _ROLES:
                if label == _ID and text.startswith(f"dataflow.{known}."):
                    kind, name = known, text.removeprefix(f"dataflow.{known}.")
            if kind not in _ROLES:
                refuse("match_related", dict(labels), "does not say whose name it is: "
                       f"prefect.resource.role is one of {', '.join(_ROLES)}")
            found.append(f"{'name' if kind == 'flow-run' else kind}:{name}")
    if not found:
        refuse("match_related", dict(labels), "names nothing: give prefect.resource.name")
    return found


def _for_each(given: Texts) -> str | None:
    labels = list(_texts("for_each", given))
    if len(labels) > 1:
        refuse("for_each", labels, "has several labels: give one")
    if not labels:
        return None
    if labels[0].startswith("dataflow.") or labels[0].startswith("related:"):
        if labels[0] not in _EACH:
            refuse("for_each", labels[0], "is no label that is kept: there are "
                                          f"{', '.join(_EACH)}, and paths into the payload")
        return _EACH[labels[0]]
    return labels[0]


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _template(value) for name, value in given.items()}


def _template(value: Any) -> Any:
    """Return a value in which templates of Prefect's structured form are plain ones."""
    if isinstance(value, Mapping):
        kind = value.get("__prefect_kind")
        if kind == "jinja":
            return value.get("template", "")
        if kind is not None:
            raise TriggerError(f"parameters of __prefect_kind {kind!r} are not supported: write a "
                               "template, '{{ event.payload.x }}'", field="parameters", value=value)
        return {name: _template(each) for name, each in value.items()}
    return [_template(each) for each in value] if isinstance(value, list | tuple) else value


def _texts(field: str, value: Any) -> Iterable[str]:
    """Yield one text or several, with the names of Prefect's as ours."""
    each = [value] if isinstance(value, str) else (
        sorted(value) if isinstance(value, set | frozenset) else list(value))
    for one in each:
        if not isinstance(one, str) or one.startswith("!"):
            refuse(field, one, "is no name or glob" + (
                ": what is not meant cannot be said here" if isinstance(one, str) else ""))
        yield _ours(one)


def _ours(name: str) -> str:
    """Return a name or label with ``dataflow.`` for ``prefect.``."""
    front, mark, rest = name.rpartition(":")  # related:flow:prefect.resource.id
    own = f"dataflow.{rest.removeprefix('prefect.')}" if rest.startswith("prefect.") else rest
    return f"{front}{mark}{own}"


def _plain(value: Any) -> Any:
    """Return the value of an enum, in which Prefect gives words."""
    return getattr(value, "value", value)
