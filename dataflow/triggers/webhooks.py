"""Calls from outside that become events.

Lives here: :func:`accept`, from a call to an event or a refusal. Does not live here:
signatures (``webhook_signatures.py``), the port that calls come in by (the service), what
follows from the event (``judging.py``).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from dataflow.deployments.json_values import json_copy
from dataflow.event_log import NewEvent
from dataflow.store import Store
from dataflow.triggers import webhook_signatures
from dataflow.triggers.carried import carried
from dataflow.triggers.on_webhook import WEBHOOK_EVENTS, OnWebhook
from dataflow.triggers.webhook_signatures import BadSignature

MOST_BYTES = 1 << 20
"""A body may have so many."""

_KEPT = ("content-type", "user-agent", "x-github-event", "x-event-type", "x-event-key")
"""Headers that are kept with the event."""

_LONGEST_HEADER = 1000
_REFUSED = "There is no such webhook, or the call is not signed for it."

logger = logging.getLogger("dataflow.triggers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a caller is told.

    Attributes
    ----------
    status
        Of HTTP: 202 an event was put down, 200 it was there already, 400 the body cannot be
        read, 401 not signed for such a webhook, 413 too large, 503 the secret is not set here.
    text
        For the caller; it tells nobody who does not know the secret which webhooks there are.
    event_id
        Of the event.
    """

    status: int
    text: str
    event_id: str | None = None


def accept(name: str, headers: Mapping[str, str], body: bytes, store: Store,
           now_s: float) -> Answer:
    """Take a call: put its event down where it is signed for a webhook that some trigger names.

    Parameters
    ----------
    name
        Of the webhook, as the address has it.
    headers
        Of the call; capitals do not matter.
    body
        The whole of it; who calls this stops reading at :data:`MOST_BYTES`.
    store
        Where deployments and events are.
    now_s
        The time, epoch seconds.

    Raises
    ------
    StoreError
        The store is away; nothing was put down, and the caller may try again.
    """
    if len(body) > MOST_BYTES:
        return Answer(status=413, text=f"A body has {MOST_BYTES:,} bytes at most.")
    given = {header.lower(): value for header, value in headers.items()}
    secrets, unset = _secrets(name, store)
    signed: tuple[str, str] | None = None
    why: list[str] = []
    for reference, secret in secrets.items():
        try:
            signed = signed or (
                reference, webhook_signatures.check(secret, given, body, now_s))
        except BadSignature as error:
            why.append(str(error))
    if signed is None:
        return _refused(name, why, unset)
    reference, delivery = signed
    try:
        payload = {"body": _read(given, body), "delivery": delivery, "secret": reference,
                   "headers": {each: given[each][:_LONGEST_HEADER] for each in _KEPT
                               if each in given}}
        payload = json_copy(payload, "the body")
    except ValueError as error:
        return Answer(status=400, text=f"The body cannot be read: {error}.")
    event = NewEvent(
        id=_id(name, reference, delivery), name=f"{WEBHOOK_EVENTS}{name}", occurred_s=now_s,
        resource=f"{WEBHOOK_EVENTS}{name}", payload=payload)
    if store.events().emit([event]):
        return Answer(status=202, text="Accepted.", event_id=event.id)
    return Answer(status=200, text="This call was accepted before.", event_id=event.id)


def _secrets(name: str, store: Store) -> tuple[dict[str, str], set[str]]:
    """Return the secrets that calls of a webhook may be signed with, and which are not set."""
    found, unset = {}, set()
    for each in carried(store.agenda().with_triggers()):
        trigger = each.trigger
        if isinstance(trigger, OnWebhook) and trigger.name == name and trigger.active:
            secret = os.environ.get(trigger.variable, "")
            if secret:
                found[trigger.secret] = secret
            else:
                unset.add(trigger.variable)
    return found, unset


def _refused(name: str, why: list[str], unset: set[str]) -> Answer:
    if unset and not why:
        logger.error("Webhook %s cannot be used: %s is not set where the service runs", name,
                     ", ".join(sorted(unset)))
        return Answer(status=503, text=_REFUSED)
    logger.warning("A call of webhook %.100r was refused: %s", name,
                   "; ".join(why) or "no trigger names it")
    return Answer(status=401, text=_REFUSED)


def _read(headers: Mapping[str, str], body: bytes) -> Any:
    """Return a body as JSON, a form as its fields, any other as text. Raises ValueError."""
    text = body.decode()
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        from urllib.parse import parse_qs

        return {field: values[0] if len(values) == 1 else values
                for field, values in parse_qs(text, keep_blank_values=True,
                                              max_num_fields=1000).items()}
    if not text.strip():
        return None
    if kind in ("", "application/json") or kind.endswith("+json"):
        try:
            return json.loads(text)
        except RecursionError as error:
            raise ValueError("it is nested too deep") from error
    return text


def _id(name: str, reference: str, delivery: str) -> str:
    text = "\0".join((name, reference, delivery))
    return f"webhook-{blake2b(text.encode(), digest_size=16).hexdigest()}"
