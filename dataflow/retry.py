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
            return base
        return clamped_poisson(base, self.jitter, rng)


def clamped_poisson(mean_s: float, factor: float, rng: random.Random) -> float:
    """Draw a waiting time around ``mean_s``: exponential, clamped so that the mean is kept.

    The draw lies within ``mean * (1 - factor)`` (at least 0) and an upper bound
    chosen such that the expected value stays ``mean_s``.
    """
    low = max(0.0, mean_s * (1.0 - factor))
    if low <= 0.0:
        low, high = 0.0, mean_s * 4
    else:
        # as much probability above the mean as below: reflect the exponential's lower mass
        high = -mean_s * math.log(1.0 - _mirror(low / mean_s))
    p_low, p_high = 1 - math.exp(-low / mean_s), 1 - math.exp(-high / mean_s)
    draw = p_low + rng.random() * (p_high - p_low)
    return min(max(-mean_s * math.log(max(1 - draw, 1e-12)), low), high)


def _mirror(low: float) -> float:
    """Return the upper quantile that balances a lower clamp at ``low`` (in units of the mean)."""
    below = math.exp(-low) - math.exp(-1)
    return min(1 - math.exp(-1) + below, 0.999)


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
