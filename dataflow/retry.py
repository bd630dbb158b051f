"""Retry policies: how long to wait before the next attempt. Pure; nobody sleeps here.

Lives here: the delay rules of ``retry_delay_seconds`` and jitter. Does not
live here: whether an exception may be retried (the worker asks the task's
``retry_condition_fn``) and the waiting itself (the driver's timer heap).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Delays between attempts, in seconds.

    ``delays`` has one entry per retry; the last one repeats when there are
    more retries than entries. ``jitter`` spreads a delay around its mean.
    """

    delays: tuple[float, ...] = ()
    jitter: float | None = None

    def delay_s(self, retry: int, rng: random.Random) -> float:
        """Return the delay before the n-th retry (1 is the first), in seconds >= 0."""
        if not self.delays:
            return 0.0
        base = self.delays[min(retry, len(self.delays)) - 1]
        if not self.jitter or base <= 0:
            return base  # no factor, or 0: exactly this long
        return clamped_poisson(base, self.jitter, rng)


def clamped_poisson(mean_s: float, factor: float, rng: random.Random) -> float:
    """Draw a waiting time: exponential, clamped to both sides of its mean, which is kept.

    Parameters
    ----------
    mean_s
        Expected value of the draw, in seconds > 0.
    factor
        The draw is at most ``mean_s * (1 + factor)``; the lower bound follows.
    rng
        Where chance comes from.

    Notes
    -----
    An exponential of mean 1 cut to [a, b] has mean ``1 + (a e^-a - b e^-b) / (e^-a - e^-b)``:
    it stays 1 where ``a e^-a = b e^-b``.
    """
    high = 1.0 + factor
    low = _balance(high)
    p_low, p_high = -math.expm1(-low), -math.expm1(-high)
    draw = p_low + rng.random() * (p_high - p_low)
    waited = -math.log1p(-draw) if draw < 1.0 else high
    return mean_s * min(max(waited, low), high)


def _balance(high: float) -> float:
    """Return the a < 1 with ``a e^-a = high e^-high``, for ``high`` > 1."""
    target = high * math.exp(-high)
    low, top = 0.0, 1.0
    for _ in range(60):  # bisection: a e^-a rises on [0, 1]
        middle = (low + top) / 2
        if middle * math.exp(-middle) < target:
            low = middle
        else:
            top = middle
    return (low + top) / 2


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """Return a callable for ``retry_delay_seconds``: ``factor * 2**n`` before the n-th retry.

    ``exponential_backoff(10)(3) == [10, 20, 40]``. The n is capped so that no
    delay overflows.
    """
    if not math.isfinite(backoff_factor) or backoff_factor < 0:
        raise ValueError(f"backoff_factor must be a finite number >= 0, got {backoff_factor!r}")

    def delays(retries: int) -> list[float]:
        return [backoff_factor * float(2 ** min(n, 50)) for n in range(retries)]

    return delays
