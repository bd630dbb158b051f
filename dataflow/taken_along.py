"""Which recorded outcomes begin anew with those that they depend on.

Lives here: following what begins anew from call to call, element by element where a
call follows another one so. Does not live here: what a call depends on
(``call_inputs.py``), what begins anew by its own outcome (``resumption.py``), the
store's part of it (:meth:`dataflow.store.Store.reopen`).

An outcome depends on what came to an end before it. A task run that never ended takes
nothing along: nobody can have had its value. What waited for a call without its value
(``wait_for``) depends on it too: it may have read what that left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from dataflow.call_inputs import Depends, depends_on
from dataflow.outcomes import FIRST_FINAL
from dataflow.records import RecordedCall

Marks = bytearray
"""A byte per element: 1 where it begins anew."""

_ENDED = bytes(code >= FIRST_FINAL for code in range(256))


class TakenAlong:
    """Follows what begins anew; calls are told in the order in which they were made.

    Parameters
    ----------
    stand
        Codes that stand.

    Attributes
    ----------
    elements
        Call → elements that ended so that they would stand, and begin anew; None: the
        whole map, whose width may be another one now.
    count
        How many elements these are.
    """

    def __init__(self, stand: Iterable[int]) -> None:
        stands = frozenset(stand)
        self._stands = bytes(code in stands for code in range(256))
        self._begins = bytes(code >= FIRST_FINAL and code not in stands for code in range(256))
        self._anew: dict[int, Marks | None] = {}  # None: every element
        self._open: set[int] = set()  # calls that failed as a whole: their end is open again
        self.elements: dict[int, list[int] | None] = {}
        self.count = 0

    def take(self, found: RecordedCall) -> None:
        """Take in a recorded call, and change it to what stands of it."""
        call = found.record.call
        if found.record.fault is not None:
            self._open.add(call)
        marks = self._marks(found)
        if marks is None:
            self._all_of(found)
        elif 1 in marks:
            self._some_of(found, marks)
        else:
            return
        self._anew[call] = marks

    def _marks(self, found: RecordedCall) -> Marks | None:
        """Return what begins anew of a call: by its own outcome, or with what it depends on."""
        marks = found.codes.translate(self._begins)
        if not self._anew and not self._open:
            return marks
        depends = depends_on(found.record.constants)
        if self._all(depends):
            return None
        for call in depends.aligned:
            marks = _either(marks, self._anew.get(call) or b"")
        for index, places in enumerate(depends.each[: len(marks)]):
            if any(self._has(*place) for place in places):
                marks[index] = 1
        return _both(marks, found.codes.translate(_ENDED))

    def _all_of(self, found: RecordedCall) -> None:
        codes = found.codes
        if found.record.kind != "map":
            self._some_of(found, codes.translate(_ENDED))
        elif codes:
            self.elements[found.record.call] = None
            self.count += codes.translate(self._stands).count(1)
            found.record = replace(found.record, width=None)
            found.codes, found.keyed = bytearray(), False
            found.rows.clear()

    def _some_of(self, found: RecordedCall, marks: Marks) -> None:
        indexes = list(_places_of(_both(marks, found.codes.translate(self._stands))))
        if not indexes:
            return
        self.elements[found.record.call] = indexes
        self.count += len(indexes)
        for index in indexes:
            found.codes[index] = 0
        found.rows.update(indexes)

    def _all(self, depends: Depends) -> bool:
        """Tell whether something begins anew that all elements of a call depend on."""
        return any(self._has(call, index) for call, index in depends.all) or any(
            call in self._anew and self._anew[call] is None for call in depends.aligned)

    def _has(self, call: int, index: int | None) -> bool:
        if index is None and call in self._open:
            return True
        marks = self._anew.get(call, b"")
        return marks is None or (bool(marks) if index is None else 1 in marks[index : index + 1])


def _either(marks: Marks, others: bytes | bytearray) -> Marks:
    """Return marks with those of others, as far as the marks reach."""
    size = len(marks)
    whole = int.from_bytes(marks, "little") | int.from_bytes(others[:size], "little")
    return bytearray(whole.to_bytes(size, "little"))


def _both(marks: Marks, others: Marks) -> Marks:
    whole = int.from_bytes(marks, "little") & int.from_bytes(others, "little")
    return bytearray(whole.to_bytes(len(marks), "little"))


def _places_of(marks: Marks) -> Iterator[int]:
    at = marks.find(1)
    while at >= 0:
        yield at
        at = marks.find(1, at + 1)
