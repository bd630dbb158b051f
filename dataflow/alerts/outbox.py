"""What waits to be delivered: a parcel per message and channel, and what holds them.

Lives here: the port, and an outbox in memory for tests and single processes.
Does not live here: who delivers (``delivery.py``), outboxes in a store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from dataflow.alerts.channel_urls import shown
from dataflow.alerts.messages import Message
from dataflow.alerts.text import Text, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A message for one channel.

    Parameters
    ----------
    id
        The same where the same message is made again.
    channel
        Name or URL; a URL may hold secrets: show :attr:`shown_channel`.
    text
        In words.
    alert
        What the alert is called.
    created_s, due_s
        When it was made, and when it is to be tried next.
    attempts
        How often it was tried.
    error
        What the last try ended with, without secrets.
    """

    id: str
    channel: str
    text: Text
    alert: str = ""
    created_s: float
    due_s: float
    attempts: int = 0
    error: str | None = None

    @property
    def shown_channel(self) -> str:
        """Return what may be written down of the channel."""
        return shown(self.channel)

    def to_dict(self) -> dict[str, Any]:
        """Return the parcel as a JSON object; a channel's secrets are in it."""
        return {"id": self.id, "channel": self.channel, "text": self.text.to_dict(),
                "alert": self.alert, "created_s": self.created_s, "due_s": self.due_s,
                "attempts": self.attempts, "error": self.error}


def parcel_of(table: dict[str, Any]) -> Parcel:
    """Return the parcel that :meth:`Parcel.to_dict` wrote."""
    return Parcel(**{**table, "text": Text(**table["text"])})


def parcels(message: Message, now_s: float) -> tuple[Parcel, ...]:
    """Return a message as one parcel for each of its alert's channels."""
    text, alert = text_of(message), message.notice.alert
    return tuple(
        Parcel(id=f"{message.id}-{hashlib.blake2b(each.encode(), digest_size=4).hexdigest()}",
               channel=each, text=text, alert=alert.label, created_s=now_s, due_s=now_s)
        for each in dict.fromkeys(alert.channels))


class Outbox(Protocol):
    """Holds parcels until they are delivered or given up.

    Each method may raise; :class:`.Delivery` then does it again later.
    """

    def take(self, now_s: float, lease_s: float, skip: Collection[str],
             limit: int) -> Sequence[Parcel]:
        """Return parcels that are due, the longest due first, at most one of a channel.

        Parameters
        ----------
        lease_s
            So long nobody else is given them, unless ``failed`` is called. Then they are due
            again: whoever took them died, and they may go out twice.
        skip
            Channels whose parcels are not wanted now.
        limit
            How many, at most.
        """

    def done(self, parcel_id: str, now_s: float) -> None:
        """Record that a parcel was delivered; also where that came after ``failed``."""

    def failed(self, parcel_id: str, now_s: float, error: str, due_s: float | None) -> None:
        """Record a try that failed, and when the next is due; None: the parcel is given up."""


class MemoryOutbox:
    """An outbox that lives as long as its process. Not for several threads at once."""

    def __init__(self, waiting: Collection[Parcel] = ()) -> None:
        self.waiting: dict[str, Parcel] = {}
        self.delivered: dict[str, float] = {}
        self.given_up: dict[str, Parcel] = {}
        for parcel in waiting:
            self.put(parcel)

    def put(self, parcel: Parcel) -> None:
        """Take a parcel; one that was taken before changes nothing."""
        if parcel.id not in self.delivered and parcel.id not in self.given_up:
            self.waiting.setdefault(parcel.id, parcel)

    def take(self, now_s: float, lease_s: float, skip: Collection[str],
             limit: int) -> Sequence[Parcel]:
        """Return parcels that are due."""
        found: dict[str, Parcel] = {}
        for parcel in sorted(self.waiting.values(), key=lambda each: each.due_s):
            if parcel.due_s <= now_s and parcel.channel not in skip and len(found) < limit:
                found.setdefault(parcel.channel, parcel)
        for parcel in found.values():
            self.waiting[parcel.id] = replace(parcel, due_s=now_s + lease_s)
        return list(found.values())

    def done(self, parcel_id: str, now_s: float) -> None:
        """Record that a parcel was delivered."""
        self.waiting.pop(parcel_id, None)
        self.given_up.pop(parcel_id, None)
        self.delivered[parcel_id] = now_s

    def failed(self, parcel_id: str, now_s: float, error: str, due_s: float | None) -> None:
        """Record a try that failed."""
        parcel = self.waiting.pop(parcel_id, None)
        if parcel is None:
            return
        parcel = replace(parcel, attempts=parcel.attempts + 1, error=error,
                         due_s=now_s if due_s is None else due_s)
        (self.given_up if due_s is None else self.waiting)[parcel_id] = parcel
