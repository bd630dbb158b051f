"""What a flow adds to its graph: one call, and the view of it that futures read.

Lives here: :class:`CallSpec`, made by ``tasks.py`` from a ``submit`` or ``map``
and given to the driver, and :class:`CallView`, the columns that the engine
writes and futures only read. Does not live here: any decision (``engine/``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dataflow.batch import CallCode, One, Placement
from dataflow.outcomes import FIRST_FINAL, SUCCEEDED, Code, ErrorRecord, Said

_Item = TypeVar("_Item")

NO_KEY = bytes(16)
"""Stands where an element has no key."""


@dataclass(frozen=True, slots=True)
class Dep:
    """A dependency of a call on an element (``index``) or on a whole call (``index=None``).

    ``aligned``: element i depends on element i. ``allow_failure``: it is
    satisfied by any final state. ``value``: the value is needed, not only the end.
    """

    call: int
    index: int | None = None
    aligned: bool = False
    allow_failure: bool = False
    value: bool = True


@dataclass(frozen=True, slots=True)
class FlatPart:
    """Neighbouring items of a flattened parameter, made of values that are not here.

    ``index`` None: of every element of the call, in order. ``depth`` levels of
    each value are taken away; with 0 the value itself is the item. An element
    that did not complete stands for itself where ``allow_failure`` says so.
    """

    call: int
    index: int | None
    depth: int
    allow_failure: bool = False


@dataclass(slots=True)
class Mapped:
    """One mapped parameter and how its length becomes known.

    Exactly one of the fields after ``key`` is set.
    """

    name: str  # of the parameter, for messages
    key: int | str  # position in CallCode.args, or keyword
    items: Sequence[Any] | None = None  # values (or sources) the flow's process has
    iterator: Iterator[Any] | None = None  # a generator: consumed a bounded way ahead
    aligned: int | None = None  # another call, element by element
    item_of: One | None = None  # items of the value of one future
    flat: Sequence[FlatPart | Sequence[Any]] | None = None  # flatten: one part after another


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options of a call that the engine acts on. All checked at definition."""

    batch_size: int | None = None
    max_in_flight: int | None = None
    max_failures: int | None = None
    min_success_ratio: float = 1.0
    placement: Placement = Placement()


@dataclass(slots=True)
class Recorded:
    """What another process recorded of a call, as far as it stands."""

    call: int  # its number
    width: int | None
    codes: bytearray
    """Per element a final code, AWAITING_RETRY, or PENDING for what is to run."""
    attempts: dict[int, int]  # executions, where not one
    due: dict[int, float]  # of retries, epoch seconds
    errors: dict[int, ErrorRecord]
    names: dict[int, str]
    messages: dict[int, str]
    keys: bytearray | None  # 16 bytes an element, zeros where its result is not kept
    task_key: str = ""  # as the task was then
    reopened: set[int] = field(default_factory=set)  # begin anew, and replace what is recorded
    committed: bool = False  # a transaction committed what completed
    txn_values: bytes | None = None  # set in its transaction by a direct call, pickled


@dataclass(slots=True)
class CallSpec:
    """A ``submit`` (``mapped`` empty, width 1) or a ``map``."""

    code: CallCode
    kind: str  # "submit" or "map"
    task_key: str
    mapped: tuple[Mapped, ...] = ()
    deps: tuple[Dep, ...] = ()  # of every element alike, from arguments and wait_for
    item_deps: Sequence[tuple[Dep, ...]] | None = None  # per element, where items hold futures
    options: CallOptions = CallOptions()
    parent: int | None = None  # the direct call whose task run made this one
    facts: dict[str, Any] = field(default_factory=dict)  # how it is cached, for its record
    recorded: Recorded | None = None  # of a run that goes on: what stands of this very call
    failed: ErrorRecord | None = None
    """Stands for a state that did not complete: neither run nor recorded, only depended on."""


def grown(column: Sequence[_Item], item: _Item) -> list[_Item]:
    """Return a column with one more item: the same list, a new one in the place of ``()``."""
    if isinstance(column, list):
        column.append(item)
        return column
    return [*column, item]


@dataclass(slots=True)
class CallView:
    """Columns of a call. Written by the engine alone; any thread may read.

    ``codes`` holds a :class:`Code` per element; it grows while the width is
    not final (``width`` is None until then).

    Most calls have neither failures nor names: what is empty is of a kind that the garbage
    collector has no work with (:func:`grown`).
    """

    call: int
    task_name: str
    kind: str
    width: int | None
    codes: bytearray
    errors: dict[int, ErrorRecord] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)  # task run names that tasks chose
    attempts: dict[int, int] = field(default_factory=dict)  # executions, where more than one
    messages: dict[int, str] = field(default_factory=dict)
    state_names: dict[int, str] = field(default_factory=dict)  # where the task chose another one
    causes: Sequence[tuple[int, int, tuple[int, int]]] = ()
    """(start, stop, root): elements that did not run because ``root`` = (call, index) failed."""
    alike: Sequence[tuple[int, int, str, ErrorRecord | None]] = ()
    """(start, stop, message, error): neighbours that ended alike without having run."""
    fault: ErrorRecord | None = None  # the call as a whole failed: lengths, a generator raised
    final: int = 0  # elements in a final state
    failed_order: Sequence[int] = ()  # indexes in the order they failed
    given_up: str | None = None  # max_failures exceeded: what to say
    caching: Any = None  # dataflow.caching.Caching of the task
    keys: bytearray | None = None  # 16 bytes an element: where its result is kept; zeros: nowhere
    origins: dict[int, str] = field(default_factory=dict)  # of singles: run it was cached from
    undone: dict[int, None] = field(default_factory=dict)  # completed, and rolled back since
    committed: bytes = b""  # codes of what was committed before the run went on; taken over
    txn_values: bytes | None = None  # what a call that was taken over set in its transaction
    again: dict[int, None] = field(default_factory=dict)  # executed once more for their values

    def takes_part(self, index: int) -> bool:
        """Tell whether an element that completed is part of the transaction around it.

        What was committed before the run went on is not, but where it was executed again.
        """
        return (index >= len(self.committed) or self.committed[index] not in SUCCEEDED
                or index in self.again)

    def is_done(self, index: int | None = None) -> bool:
        """Tell whether an element (or with None the whole call) is final."""
        if index is None:
            return self.width is not None and self.final >= self.width
        if index < len(self.codes):
            return self.codes[index] >= FIRST_FINAL
        return self.fault is not None

    def code(self, index: int) -> Code:
        """Return an element's code, PENDING where it is not known yet."""
        return Code(self.codes[index]) if index < len(self.codes) else Code.PENDING

    def take(self, index: int, said: Said) -> None:
        """Keep what a state says that an element's function returned."""
        if said.message is not None:
            self.messages[index] = said.message
        if said.state_name is not None:
            self.state_names[index] = said.state_name

    def key_of(self, index: int) -> bytes | None:
        """Return the key under which an element's result is kept, None where it is not."""
        if self.keys is None:
            return None
        key = bytes(self.keys[16 * index : 16 * index + 16])
        return key if len(key) == 16 and key != NO_KEY else None

    def keep_keys(self, indexes: Sequence[int], keys: bytes) -> None:
        """Note keys of elements, 16 bytes each."""
        have = self.keys
        if have is None:
            have = self.keys = bytearray()
        end = 16 * (max(indexes[0], indexes[-1]) + 1)
        if len(have) < end:
            have.extend(bytes(max(end, 16 * len(self.codes)) - len(have)))
        if isinstance(indexes, range) and indexes.step == 1:
            place = slice(16 * indexes.start, 16 * indexes.stop)
            if have.count(0, place.start, place.stop) == len(keys):  # nothing was there
                have[place] = keys
                return
        for at, index in enumerate(indexes):
            key = keys[16 * at : 16 * at + 16]
            if key != NO_KEY:
                have[16 * index : 16 * index + 16] = key

    def forget_key(self, index: int) -> None:
        """Note that an element's result is kept nowhere any more."""
        if self.keys is not None and 16 * index < len(self.keys):
            self.keys[16 * index : 16 * index + 16] = NO_KEY

    def message_of(self, index: int) -> str | None:
        """Return what was said of an element's end, None where nothing was."""
        message = self.messages.get(index)
        if message is None:
            message = next((m for start, stop, m, _ in self.alike if start <= index < stop), None)
        return message

    def error_of(self, index: int) -> ErrorRecord | None:
        """Return the error that an element ended with, None where there is none."""
        error = self.errors.get(index)
        if error is None:
            error = next((e for start, stop, _, e in self.alike if start <= index < stop), None)
        return error

    def cause_of(self, index: int) -> tuple[int, int] | None:
        """Return the (call, index) that failed first upstream of a NOT_READY element."""
        for start, stop, root in self.causes:
            if start <= index < stop:
                return root
        return None
