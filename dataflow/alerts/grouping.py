"""One message for many notices, not too often, and one when it is over. Pure.

Lives here: :func:`fold`, which takes what is remembered, new notices and the
time, and returns what is remembered then and the messages that are due. Does
not live here: when there is a notice (``rules.py``), the words (``text.py``),
where what is remembered is kept: it is a value that goes to JSON and back.

Of notices of one alert, flow (or deployment) and state: the first waits
``group_seconds`` for others, then all that came make one message. What comes
within ``throttle_seconds`` of a message waits for their end. What is over before
it was told is told once, with its end; else its end is a message of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dataflow.alerts.groups import Group, group_of, taken
from dataflow.alerts.messages import Message
from dataflow.alerts.notices import Notice

KEPT_S = 7 * 86_400.0
"""A trouble whose end nobody told is forgotten after this, and told anew if it comes again."""


@dataclass(frozen=True, slots=True)
class Groups:
    """What is remembered of notices between two looks: by the key of a group."""

    by_key: dict[str, Group] = field(default_factory=dict)

    @property
    def next_s(self) -> float | None:
        """Return when the next message is due if nothing new comes; None: none is."""
        return min((due for group in self.by_key.values() if (due := group.due_s) is not None),
                   default=None)

    def to_json(self) -> str:
        """Return all of it as JSON, for :func:`groups_from_json`."""
        return json.dumps({key: group.to_dict() for key, group in self.by_key.items()})


def groups_from_json(text: str) -> Groups:
    """Return what :meth:`Groups.to_json` wrote."""
    return Groups({key: group_of(table) for key, table in json.loads(text).items()})


def fold(groups: Groups, notices: Iterable[Notice], now_s: float) -> tuple[Groups, list[Message]]:
    """Take notices in and return the messages that are due.

    Parameters
    ----------
    groups
        What was returned the last time; ``Groups()`` at first.
    notices
        New ones, in their order; none where only time has passed. One that was taken before
        changes nothing.
    now_s
        The time, epoch seconds.

    Returns
    -------
    tuple
        What is to be remembered, and messages. Write down both at once (or the messages first:
        the same ones have the same ids), else a message may be lost.
    """
    found = dict(groups.by_key)
    for notice in notices:
        if notice.resolved:
            _resolve(found, notice)
        else:
            found[notice.group] = taken(found.get(notice.group), notice, now_s)
    messages: list[Message] = []
    for key, group in list(found.items()):
        rest, due = _flushed(group, now_s)
        messages += due
        if rest is None:
            del found[key]
        else:
            found[key] = rest
    return Groups(found), messages


def _resolve(found: dict[str, Group], notice: Notice) -> None:
    """Note the end of all that one alert told of one flow."""
    for key, group in found.items():
        if (group.alert.key, group.subject) != (notice.alert.key, notice.event.subject):
            continue
        if group.resolution is None and group.last_s <= notice.event.occurred_s:
            found[key] = replace(group, resolution=notice)


def _flushed(group: Group, now_s: float) -> tuple[Group | None, list[Message]]:
    """Return what is left of a group, None for nothing, and its messages that are due."""
    messages: list[Message] = []
    if group.due_s is not None and group.due_s <= now_s:
        messages.append(group.message())
        group = group.told(now_s)
    if group.first is None and group.resolution is not None:
        if group.open and not (messages and messages[-1].over_s is not None):
            messages.append(group.end())
        group = replace(group, open=False, resolution=None, number=0)
    throttled = group.sent_s is not None and now_s < group.sent_s + group.alert.throttle_seconds
    if group.first is not None or throttled:
        return group, messages
    if group.open and now_s < group.last_s + KEPT_S:
        return group, messages
    return None, messages
