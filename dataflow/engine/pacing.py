"""How many elements a batch gets and how many batches are in flight, from measured times.

Lives here: estimates per function and the rules made of them. Does not live
here: which elements (``cut.py``).

The rules. A function never seen goes out singly. Then a batch holds what takes
about :data:`TARGET_S`, at most :data:`GROWTH` times what the function's largest
batch held so far, and at most its fair share of what is left, so that the slots
end together. A batch whose elements turn out slower than thought hands back
what it has not started.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dataflow.runner import Capacity

TARGET_S = 0.1
"""Time a batch should take, in seconds."""

GROWTH = 16
"""A batch holds at most so many times the elements of the largest batch before it."""

FIRST_AT_ONCE = 16
"""Elements of an async function never seen that go out together."""

FLOOR_S = 0.008
"""A share smaller than this much work is not worth a batch of its own, in seconds."""

BLOCK_BYTES = 8 << 20
"""Values that one block should hold at most; larger values stand alone."""

SLOW_S = 0.01
"""Elements slower than this run singly where a thread each can be had, in seconds."""

STALL_S = 0.01
"""Where a thread each can be had: the window doubles each time nothing came back for so long."""

KEPT_STALL_S = 0.1
"""The same where results are kept: the first look for them reads the index from the disk."""

FIRST_READ = 16
"""Values that are only to be read back, of a function of which none was, in one batch."""

_READING = "values of "  # before a function's token: reading them back says nothing of running it
_OVERHEAD_S = 2e-6  # of an element, beside the user's function
_MEMORY = 4096.0  # elements that weigh in an estimate


@dataclass(slots=True)
class Estimate:
    """What is known of one function."""

    seconds: float = 0.0  # decayed sum
    busy: float = 0.0  # what of it was the function's own; of elements side by side: computing
    elements: float = 0.0  # decayed count
    largest: int = 0  # elements of the largest batch that came back
    bytes_each: float = 0.0
    first_sent: float | None = None  # when it was first sent without an answer yet

    @property
    def known(self) -> bool:
        """Tell whether any element came back."""
        return self.elements > 0

    @property
    def mean_s(self) -> float:
        """Seconds an element takes, the framework's share included."""
        return self.seconds / self.elements + _OVERHEAD_S

    @property
    def busy_s(self) -> float:
        """Seconds of its own that an element takes, the framework's share included."""
        return self.busy / self.elements + _OVERHEAD_S

    def learn(self, seconds: float, elements: int, bytes_each: float | None,
              busy: float = 0.0) -> None:
        """Take in what a batch measured; newer and larger batches weigh more."""
        keep = max(0.0, 1.0 - elements / _MEMORY) * 0.7
        self.busy = self.busy * keep + busy
        self.seconds = self.seconds * keep + seconds
        self.elements = self.elements * keep + elements
        self.largest = max(self.largest, elements)
        if bytes_each is not None:
            self.bytes_each = max(self.bytes_each * 0.5, bytes_each)


class Pacing:
    """Estimates of all functions and the window of batches in flight."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self._estimates: dict[str, Estimate] = {}

    def of(self, token: str) -> Estimate:
        """Return the estimate of a function."""
        found = self._estimates.get(token)
        if found is None:
            found = self._estimates[token] = Estimate()
        return found

    @staticmethod
    def reading(token: str) -> str:
        """Return what stands for the reading of a function's results that are kept."""
        return _READING + token

    def size(self, tokens: list[str], left: float, hint: int | None, at_once: int | None) -> int:
        """Return how many elements the next batch gets.

        Parameters
        ----------
        tokens
            Functions each element goes through; one that is :meth:`reading` is so alone.
        left
            Elements that could be sent now or later (inf for a generator).
        hint
            The user's ``batch_size``.
        at_once
            The user's ``max_in_flight``.
        """
        estimates = [self.of(t) for t in tokens]
        if hint is not None:
            return hint
        reads = tokens[0].startswith(_READING)
        if not all(e.known for e in estimates):
            return FIRST_READ if reads else 1
        each_s = sum(e.mean_s for e in estimates)
        target_s = TARGET_S if reads else self._target_s(sum(e.busy_s for e in estimates))
        size = int(target_s / each_s)
        size = min(size, GROWTH * min(e.largest for e in estimates))
        lanes = self.lanes(at_once)
        share = max(math.ceil(left / (2 * lanes)) if left != math.inf else size,
                    math.ceil(FLOOR_S / each_s))
        size = min(size, share)
        bytes_each = max(e.bytes_each for e in estimates)
        if bytes_each:
            size = min(size, int(BLOCK_BYTES / bytes_each))
        return max(size, 1)

    def size_at_once(self, tokens: list[str], left: float, hint: int | None, at_once: int) -> int:
        """Return how many elements the next batch gets whose elements run side by side.

        It computes for :data:`TARGET_S` at most, and holds what its loop takes
        at once, or more where that takes less time. Elements that wait are not
        shared out finely: a quarter of that computing is worth one batch.

        Parameters
        ----------
        tokens, left, hint
            As for :meth:`size`.
        at_once
            How many may run side by side.
        """
        if hint is not None:
            return hint
        estimates = [self.of(t) for t in tokens]
        if not all(e.known for e in estimates):
            return max(1, int(min(FIRST_AT_ONCE, at_once, left)))
        busy_s = sum(e.busy_s for e in estimates)
        each_s = sum(e.mean_s for e in estimates)
        size = min(int(TARGET_S / busy_s), int(at_once * max(1.0, TARGET_S / each_s)))
        size = min(size, GROWTH * min(e.largest for e in estimates))
        if left != math.inf:
            least = min(int(TARGET_S / 4 / busy_s), at_once)
            size = min(size, max(math.ceil(left / max(1, self.capacity.slots)), least))
        bytes_each = max(e.bytes_each for e in estimates)
        if bytes_each:
            size = min(size, int(BLOCK_BYTES / bytes_each))
        return max(size, 1)

    def _target_s(self, each_s: float) -> float:
        threads = self.capacity.ceiling > self.capacity.slots
        return SLOW_S if threads and each_s >= SLOW_S / 10 else TARGET_S

    def lanes(self, at_once: int | None) -> int:
        """Return how many batches of one call can run side by side."""
        lanes = self.capacity.slots
        return max(1, lanes if at_once is None else min(lanes, at_once))

    def window(self, token: str, now: float, stall_s: float = STALL_S) -> int:
        """Return how many batches may be in flight when the next is of this function.

        A thread each is for functions that wait. That many looks for kept results at once only
        hinder each other, so that these do not count.
        """
        slots, ceiling = self.capacity.slots, self.capacity.ceiling
        base = 2 * slots
        if slots == 0:
            return 0
        if ceiling <= slots or token.startswith(_READING):  # files are read no faster by many
            return base
        estimate = self.of(token)
        if estimate.known:
            return max(base, ceiling) if estimate.busy_s >= SLOW_S / 10 else base
        if estimate.first_sent is None:
            return base
        doublings = min(int((now - estimate.first_sent) / stall_s), 20)
        return min(max(base, ceiling), base << doublings)

    def budget_s(self, size: int, hint: int | None) -> float | None:
        """Return after how long a batch hands back what it has not started."""
        if size <= 1:
            return None
        return 2 * TARGET_S if hint is None else 10 * TARGET_S
