"""A run that goes on where another process left it: its calls find what is recorded of them.

Lives here: which recorded call a call of the flow function is, and which of its
outcomes stand. Does not live here: whose run it may be (``run_lease.py``), putting
outcomes into the graph (``engine/takeover.py``), starting the flow (``flow_resume.py``).

The flow function runs again from its beginning. A call is the first recorded one
of that task, made by the same task run, whose arguments are not known to differ,
under the same number, so that ids and keys stay: calls may come in another order.
What completed or failed stands; what was cancelled, crashed with the
infrastructure, was rolled back or never ran begins anew. ``retry`` lets failures begin
anew too. With what begins anew goes what depends on it (``taken_along.py``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from dataflow.batch import CallCode
from dataflow.exceptions import ResultStorageError
from dataflow.graph import NO_KEY, CallView, Recorded
from dataflow.ids import task_run_id
from dataflow.outcomes import FIRST_FINAL, SUCCEEDED, Code
from dataflow.same_call import OTHER_FUNCTION, Inputs, difference
from dataflow.store import RecordedCall, Store
from dataflow.taken_along import TakenAlong

if TYPE_CHECKING:
    from dataflow.worker.attempt import Outcome

logger = logging.getLogger("dataflow.driver")

_LOOKED_AT = 100  # recorded calls of a task that are compared with one that is made
_Bucket = tuple[str | None, str, str]  # the task run that made the call, its task, its kind
_STAND = frozenset({Code.COMPLETED, Code.CACHED, Code.FAILED, Code.TIMED_OUT})
_CUT_SHORT = (Code.CANCELLED, Code.CRASHED, Code.NOT_READY)
_FAILED = frozenset({Code.FAILED, Code.TIMED_OUT})


def _kept(retry: bool) -> bytes:
    """Return the table by which recorded codes become those that stand."""
    stand = (_STAND - _FAILED if retry else _STAND) | {Code.AWAITING_RETRY}
    return bytes(code if code in stand else 0 for code in range(256))


class Resumption:
    """Recorded calls that wait for the calls of a flow function.

    Parameters
    ----------
    store, flow_run_id
        Where they are recorded.
    first_call
        Calls before this one belong to earlier tries of the flow function.
    retry
        Failures begin anew.

    Attributes
    ----------
    taken_along
        What stood, and begins anew with what it depends on, for :meth:`Store.reopen`.
    """

    def __init__(self, store: Store, flow_run_id: str, first_call: int, *, retry: bool) -> None:
        self._store = store
        self._run = flow_run_id
        self.retry = retry
        self._table = _kept(retry)
        along = TakenAlong(code for code in range(256) if self._table[code])
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._waiting: dict[_Bucket, _Waiting] = {}
        self._calls: dict[int, RecordedCall] = {}
        self.next_free = first_call
        self.counts: Counter[int] = Counter()
        for found in store.recorded(flow_run_id, first_call):
            along.take(found)
            record = found.record
            self._calls[record.call] = found
            bucket = record.parent_task_run_id, record.task_name, record.kind
            self._waiting.setdefault(bucket, _Waiting()).add(found)
            self.next_free = max(self.next_free, record.call + 1)
            for code in Code:
                number = found.codes.count(code)
                if number:
                    self.counts[int(code)] += number
        self.taken_along, self._along = along.elements, along.count
        self.counts[Code.PENDING] -= sum(map(len, filter(None, along.elements.values())))

    def find(self, parent: int | None, task_name: str, kind: str, facts: dict[str, Any],
             lengths: set[int]) -> Recorded | None:
        """Return what stands of a call that is made now, and its number; None: it is a new one.

        Parameters
        ----------
        parent
            The direct call whose task run makes it.
        task_name, kind
            What is called, and how.
        facts
            Of its record: what its arguments are.
        lengths
            Of what it maps over, as far as they are known.
        """
        with self._lock:
            waiting = self._bucket(parent, task_name, kind)
            if waiting is None:
                return None
            inputs = Inputs(facts.get("constants"), facts.get("partition"))
            call, differs = waiting.take(inputs, lengths)
        if call is None:
            self._tell_differs(task_name, kind, differs)
            return None
        return self._standing(self._calls.pop(call))

    def _tell_differs(self, task_name: str, kind: str, differs: str | None) -> None:
        """Say why a map is not the recorded one; where that is its function, once of any call."""
        if differs == OTHER_FUNCTION:
            with self._lock:
                if task_name in self._told:
                    return
                self._told.add(task_name)
            logger.warning("Calls of task %r are not those that were recorded: %s. They run anew.",
                           task_name, differs)
        elif kind == "map" and differs is not None:
            logger.warning("A call of task %r is not the one that was recorded: %s. It runs anew.",
                           task_name, differs)

    def number(self, parent: int | None, name: str, kind: str,
               fits: Callable[[int], bool]) -> int | None:
        """Return the number of a call of which nothing is taken over: of a flow, of a generator."""
        with self._lock:
            waiting = self._bucket(parent, name, kind)
            call = None if waiting is None else waiting.first(fits)
            if call is not None:
                self._calls.pop(call, None)
            return call

    def _bucket(self, parent: int | None, name: str, kind: str) -> _Waiting | None:
        made_by = None if parent is None else task_run_id(self._run, parent, 0)
        return self._waiting.get((made_by, name, kind))

    def tell_changed(self, task_name: str) -> None:
        """Say, once per task, that its code is another one than that of what is kept."""
        with self._lock:
            if task_name in self._told:
                return
            self._told.add(task_name)
        logger.warning(
            "The code of task %r has changed since the run began: its task runs that are recorded "
            "are kept as they are, the others run with the code of now.", task_name)

    def _standing(self, found: RecordedCall) -> Recorded:
        codes = found.codes.translate(self._table)
        return Recorded(
            call=found.record.call, width=found.record.width, codes=codes,
            attempts=found.attempts, due=found.due, errors=found.errors,
            names=found.names, messages=found.messages,
            keys=self._keys(found, codes) if found.keyed else None,
            task_key=found.record.task_key,
            reopened={index for index in found.rows if not codes[index]},
            committed=found.record.committed, txn_values=found.record.txn_values,
        )

    def _keys(self, found: RecordedCall, codes: bytearray) -> bytearray:
        """Return the keys of what stands; what is computed anew has other ones."""
        column = self._store.key_column(self._run, found.record.call, len(codes))
        for index in found.rows:
            if not codes[index]:
                column[16 * index : 16 * index + 16] = NO_KEY
        return column

    @property
    def summary(self) -> str:
        """What is kept and what is to run, in a sentence."""
        counts = self.counts
        good = sum(counts[code] for code in SUCCEEDED)
        failed = sum(counts[code] for code in _FAILED)
        waiting = counts[Code.AWAITING_RETRY]
        open_ = counts[Code.PENDING]
        undone = counts[Code.ROLLED_BACK]
        rest = counts.total() - good - failed - waiting - open_ - undone
        again = not self._table[Code.FAILED]
        parts = [f"{good} completed task runs are kept"]
        if failed:
            parts.append(f"{failed} failed ones " + ("run again" if again else "stay failed"))
        if waiting:
            parts.append(f"{waiting} wait for their retry")
        if open_:
            parts.append(f"{open_} that had not ended run")
        if undone:
            parts.append(f"{undone} that were rolled back run again")
        if self._along:
            parts.append(f"{self._along} that depend on what begins anew run again")
        if rest:
            parts.append(f"{rest} that were cancelled, crashed or not ready may run again")
        return ", ".join(parts)


class _Waiting:
    """Recorded calls of one task that are not made yet, in the order of their numbers."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[int | None, bool, Inputs]] = {}
        self._alike: dict[object, deque[int]] = {}

    def add(self, found: RecordedCall) -> None:
        inputs = Inputs(found.record.constants, found.record.partition)
        self._calls[found.record.call] = found.record.width, _cut_short(found), inputs
        self._alike.setdefault(inputs.identity, deque()).append(found.record.call)

    def take(self, inputs: Inputs, lengths: set[int]) -> tuple[int | None, str | None]:
        """Take the call with such inputs, else the first that may have them; else say why not.

        Nothing is said where all that were recorded are taken: it is one more call.
        """
        differs: str | None = None
        alike = self._alike.get(inputs.identity, ())
        for call in chain(islice(alike, _LOOKED_AT), islice(self._calls, _LOOKED_AT)):
            if call not in self._calls:
                continue
            width, cut_short, before = self._calls[call]
            other = {length for length in lengths if not cut_short or length < (width or 0)}
            why = difference(width, before, inputs, other)
            if why is None:
                self._drop(call)
                return call, None
            differs = differs or why
        return None, differs

    def first(self, fits: Callable[[int], bool]) -> int | None:
        call = next((call for call in self._calls if fits(call)), None)
        if call is not None:
            self._drop(call)
        return call

    def _drop(self, call: int) -> None:
        *_, inputs = self._calls.pop(call)
        self._alike[inputs.identity].remove(call)


def _cut_short(found: RecordedCall) -> bool:
    """Tell whether a call may have been ended before it had all its elements."""
    record = found.record
    return (record.fault is not None or any(map(found.codes.count, _CUT_SHORT))
            or (record.width is not None and record.width < len(found.codes)))


class DirectRecorded:
    """What stands of a direct call that another process recorded.

    Parameters
    ----------
    code
        The call.
    recorded
        None where nothing stands of it.

    Attributes
    ----------
    final
        It ended: it is not to run again, unless its value is needed and not kept.
    at_hand
        Its value, or its error, is there.
    sought
        Its value was looked for in the result storage.
    before, wait_s
        Executions so far, and seconds until the next is due.
    """

    def __init__(self, code: CallCode, recorded: Recorded | None) -> None:
        self._code, self._recorded = code, recorded
        state = recorded.codes[0] if recorded is not None and recorded.codes else Code.PENDING
        self._state = Code(state)
        self.final = self._state >= FIRST_FINAL
        self.before, self.wait_s = 0, 0.0
        self._value: Any = None
        self.sought = False
        self.at_hand = self._state not in SUCCEEDED
        if recorded is None:
            return
        if self._state == Code.AWAITING_RETRY:
            self.before = recorded.attempts.get(0, 1)
            self.wait_s = max(0.0, recorded.due.get(0, 0.0) - time.time())
        elif self._state in SUCCEEDED and recorded.keys is not None:
            self._read(code, bytes(recorded.keys[:16]))

    def _read(self, code: CallCode, key: bytes) -> None:
        if code.task.caching is None or key == NO_KEY:
            return
        self.sought = True
        from dataflow.worker.keeping import NOWHERE, read_back

        try:
            [value] = read_back(code.task.caching, [key])
        except ResultStorageError as error:
            logger.warning("%s", error)
            return
        if value is not NOWHERE:
            self._value, self.at_hand = value, True

    def taken(self, again: Callable[[], Outcome | None]) -> tuple[CallView, Any]:
        """Return the columns and the value; ``again`` computes a value that is not kept."""
        recorded = self._recorded
        assert recorded is not None
        code = self._code
        view = CallView(code.call, code.task.name, "direct", 1, bytearray([self._state]), final=1)
        view.errors.update(recorded.errors)
        view.names.update(recorded.names)
        view.messages.update(recorded.messages)
        if recorded.keys is not None:
            view.caching, view.keys = code.task.caching, bytearray(recorded.keys[:16])
        if self._state not in SUCCEEDED:
            view.failed_order = [0]
        if self.at_hand:
            view.committed = bytes([self._state]) if recorded.committed else b""
            view.txn_values = recorded.txn_values
            return view, self._value
        outcome = again()
        if outcome is not None and outcome.code not in SUCCEEDED:
            view.codes[0] = outcome.code
            if outcome.error is not None:
                view.errors[0] = outcome.error
        return view, None if outcome is None else outcome.value
