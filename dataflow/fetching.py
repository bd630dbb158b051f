"""Values on their way to the flow's process, when the flow asks for them.

Lives here: fetching the blocks that hold them, keeping the last ones, and
picking the values out. Does not live here: where values lie (``engine/``), what
happens when they are lost (``driver.py``).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dataflow.batch import Batch, Block, Whole
from dataflow.exceptions import BlockLost, MissingResult
from dataflow.runner import Handle, RunnerSession
from dataflow.worker.values import Absent, Values

CACHE_BYTES = 64 << 20
"""Fetched blocks kept, in bytes: asking element by element fetches each block once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Values of a call and the blocks that hold them."""

    call: int
    indexes: Sequence[int]
    whole: bool  # all elements of the call, all of them completed
    handles: dict[int, Handle]  # by batch


class Fetcher:
    """Brings values; safe to use from any thread."""

    def __init__(self, cache_bytes: int = CACHE_BYTES) -> None:
        self._limit = cache_bytes
        self._blocks: OrderedDict[int, Block] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def bring(self, wanted: Wanted, session: RunnerSession | None,
              until: float | None) -> list[Any]:
        """Return values in the order of ``wanted.indexes``.

        Raises
        ------
        BlockLost
            A value is not where it should be.
        TimeoutError
            The monotonic clock passed ``until``.
        MissingResult
            The run has ended and the values were not fetched before.
        """
        blocks = self._all(wanted.handles, session, until)
        call = wanted.call
        found = Values(Batch(0, "", [], [], widths={call: len(wanted.indexes)}), blocks)
        try:
            if wanted.whole:
                return found.whole(Whole(call))
            return [found.get(call, i) for i in wanted.indexes]
        except Absent as absent:
            raise BlockLost(f"no value of element {absent.index}", call=call) from absent

    def forget(self, batch: int) -> None:
        """Drop a block that nobody will ask for again."""
        with self._lock:
            self._drop(batch)

    def _all(self, handles: dict[int, Handle], session: RunnerSession | None,
             until: float | None) -> list[Block]:
        with self._lock:
            have = {b: self._blocks[b] for b in handles if b in self._blocks}
            for batch in have:
                self._blocks.move_to_end(batch)
        missing = [b for b in handles if b not in have]
        if missing:
            if session is None:
                raise MissingResult(
                    "the flow run has ended and these values were not fetched before: call "
                    ".result() inside the flow, or return the futures from it"
                )
            left = None if until is None else max(0.0, until - time.monotonic())
            fetched = session.fetch([handles[b] for b in missing], left)
            have.update(zip(missing, fetched, strict=True))
            self._keep(dict(zip(missing, fetched, strict=True)))
        return [have[b] for b in handles]

    def _keep(self, fetched: dict[int, Block]) -> None:
        with self._lock:
            for batch, block in fetched.items():
                self._drop(batch)
                self._blocks[batch] = block
                self._bytes += block.size_bytes
            while self._bytes > self._limit and len(self._blocks) > 1:
                self._drop(next(iter(self._blocks)))

    def _drop(self, batch: int) -> None:
        block = self._blocks.pop(batch, None)
        if block is not None:
            self._bytes -= block.size_bytes
