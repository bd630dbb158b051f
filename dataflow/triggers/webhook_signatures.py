"""Signatures of calls: who knows the secret, and when it was made. Pure.

Lives here: making and checking them. Does not live here: what becomes of a call
(``webhooks.py``).

Two kinds are read. ``X-Dataflow-Signature: t=1700000000,v1=<hex>`` is the HMAC-SHA256 of
``<t>.<delivery>`` (the header ``X-Dataflow-Delivery``, or nothing), a newline, and the
body: neither can be changed or used again later. ``X-Hub-Signature-256: sha256=<hex>`` is that
of the body alone, as GitHub sends it: who reads a call on its way can send it again.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256

TOLERANCE_S = 300.0
"""A signature holds for so long before and after its time, in seconds."""

OURS, HUB = "x-dataflow-signature", "x-hub-signature-256"
DELIVERY, HUB_DELIVERY = "x-dataflow-delivery", "x-github-delivery"

_HEX = re.compile(r"[0-9a-f]{64}")
_DELIVERY = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_MOST_KEYS = 5  # signatures in one header: while a secret is changed there are two


class BadSignature(Exception):
    """A call is not signed as it must be. Its text is for the log, not for the caller."""


def sign(secret: str, body: bytes, now_s: float, delivery: str = "") -> str:
    """Return the header ``X-Dataflow-Signature`` of a call.

    Parameters
    ----------
    secret
        What both sides know.
    body
        The whole body.
    now_s
        The time, epoch seconds.
    delivery
        The header ``X-Dataflow-Delivery``: the same again is the same call.
    """
    time_s = str(int(now_s))
    return f"t={time_s},v1={_ours(secret, time_s, delivery, body)}"


def check(secret: str, headers: Mapping[str, str], body: bytes, now_s: float) -> str:
    """Return the id of a call that is signed with a secret: the same call has the same.

    Parameters
    ----------
    secret
        What both sides know; empty: nothing is signed with it.
    headers
        With names in lower case.

    Raises
    ------
    BadSignature
        It is not signed, not with this secret, or not now.
    """
    if not secret:
        raise BadSignature("there is no secret to check it with")
    if (given := headers.get(OURS)) is not None:
        return _checked_ours(secret, given, headers.get(DELIVERY, ""), body, now_s)
    if (given := headers.get(HUB)) is not None:
        _same(f"sha256={hmac.new(secret.encode(), body, sha256).hexdigest()}", [given])
        delivery = headers.get(HUB_DELIVERY, "")
        return _checked_delivery(delivery) if delivery else f"body-{sha256(body).hexdigest()}"
    raise BadSignature(f"it has neither {OURS} nor {HUB}")


def _checked_ours(secret: str, given: str, delivery: str, body: bytes, now_s: float) -> str:
    times, marks = [], []
    for part in given.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            times.append(value)
        elif name == "v1" and _HEX.fullmatch(value):
            marks.append(value)
    if len(times) != 1 or not (times[0].isascii() and times[0].isdecimal()) or len(times[0]) > 15:
        raise BadSignature("it does not say at what time it was signed, once")
    if not 0 < len(marks) <= _MOST_KEYS:
        raise BadSignature(f"it has {len(marks)} signatures")
    if delivery:
        _checked_delivery(delivery)
    mark = _ours(secret, times[0], delivery, body)
    _same(mark, marks)
    if abs(now_s - int(times[0])) > TOLERANCE_S:
        raise BadSignature(f"it was signed {now_s - int(times[0]):,.0f} s ago")
    return delivery or f"signed-{mark}"


def _ours(secret: str, time_s: str, delivery: str, body: bytes) -> str:
    text = f"{time_s}.{delivery}\n".encode() + body
    return hmac.new(secret.encode(), text, sha256).hexdigest()


def _same(expected: str, given: list[str]) -> None:
    """Compare in a time that tells nothing."""
    fits = [hmac.compare_digest(expected.encode(), each.encode("utf-8", "replace"))
            for each in given]
    if not any(fits):
        raise BadSignature("it is signed with another secret, or was changed")


def _checked_delivery(delivery: str) -> str:
    if not _DELIVERY.fullmatch(delivery):
        raise BadSignature("its delivery id has other characters than letters, digits, _ . : -")
    return delivery
