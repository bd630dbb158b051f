"""When a delivery that failed is tried again. Pure.

Lives here: the delays. Does not live here: the trying (``delivery.py``).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from dataflow.alerts.outbox import Parcel


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays between tries.

    Parameters
    ----------
    first_s
        After the first try; it doubles with each.
    longest_s
        No delay is longer.
    jitter
        A delay is longer by up to this share of it, so that many do not come at once.
    give_up_s
        So long after a parcel was made it is given up.
    """

    first_s: float = 5.0
    longest_s: float = 1800.0
    jitter: float = 0.25
    give_up_s: float = 86_400.0


def next_attempt(parcel: Parcel, now_s: float, rng: random.Random, backoff: Backoff,
                 *, wait_s: float | None = None, hopeless: bool = False) -> float | None:
    """Return when a parcel whose try has just failed is tried again; None: it is given up.

    Parameters
    ----------
    parcel
        As it was before the try.
    wait_s
        So long the channel asked to wait; holds up to ``longest_s``.
    hopeless
        Only other settings can help: the longest delay at once.

    Notes
    -----
    There is a last try at the end of ``give_up_s``.
    """
    end_s = parcel.created_s + backoff.give_up_s
    if now_s >= end_s:
        return None
    delay_s = backoff.first_s * 2.0 ** min(parcel.attempts, 40)
    delay_s = backoff.longest_s if hopeless else min(delay_s, backoff.longest_s)
    delay_s *= 1.0 + backoff.jitter * rng.random()
    if wait_s is not None:
        delay_s = max(delay_s, min(wait_s, backoff.longest_s))
    return min(now_s + delay_s, end_s)
