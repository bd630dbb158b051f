"""A batch between its departure and its one event.

Lives here: what is remembered of a batch in flight. Does not live here: what
happens to it (``session.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataflow.batch import Batch, Placement


@dataclass(slots=True)
class Flight:
    """One batch in flight."""

    number: int
    batch: int
    placement: Placement
    sent_s: float
    calls: tuple[int, ...] = ()
    collects: int | None = None  # the batch whose element that runs on it waits for
    key: Any = None
    future: Any = None
    worker: str | None = None  # where it has started
    landed: tuple[Any, ...] | None = None  # news that came before the future was at hand
    finished_s: float | None = None  # Dask says finished, but no report was heard
    ask: bool = False  # the report is too large to be told
    warned: bool = False


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that died: which of our batches certainly were not running."""

    address: str
    at_s: float
    innocent: frozenset[int]


def calls_of(batch: Batch) -> tuple[int, ...]:
    """Return the calls in a batch."""
    return tuple({part.code.call: None for group in batch.groups for part in group.parts})
