"""Batches as bytes: what lies inside, what travels beside, what is at fault."""

from __future__ import annotations

import pickle
import sys
import threading
import types
from array import array
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from dataflow.batch import Batch, Block, Column, Const, One, Tree
from dataflow.exceptions import UnpicklableResult, UnpicklableTask
from dataflow.failures import exception_of
from dataflow.outcomes import Code, Report, Span
from runners.dask.checking import drop_unpicklable
from runners.dask.constants import LARGE_BYTES, Constants, quick_bytes
from runners.dask.deaths import describe
from runners.dask.letter import Letter, on_desk
from runners.dask.local_modules import by_value, is_local
from runners.dask.parcel import Parcel, Result
from runners.dask.refusal import find_guilty
from runners.dask.wire import Packed, Packer, dumps_by_value
from tests.dask_support import call_of, items_batch, run_info


class FakeFuture:
    def __init__(self, parcel: Parcel) -> None:
        self.parcel = parcel
        self.status = "finished"


class Wire:
    """A packer whose scattered parcels are kept here."""

    def __init__(self, **parameters: Any) -> None:
        self.sent: list[FakeFuture] = []
        self.packer = Packer("5e55", "topic", run_info(**parameters), self.scatter)

    def scatter(self, name: str, parcel: Parcel) -> FakeFuture:
        self.sent.append(FakeFuture(parcel))
        return self.sent[-1]

    def through(self, batch: Batch) -> Batch:
        return self.unpacked(self.packer.pack(batch, 1, ()))

    @staticmethod
    def unpacked(packed: Packed) -> Batch:
        letter = Letter.opened(packed.sealed)
        constants = [pickle.loads(pickle.dumps(future.parcel)) for future in packed.constants]
        codes = {piece.digest: pickle.loads(piece.data) if piece.data is not None
                 else constants[piece.shared].open() for piece in letter.codes}
        with on_desk(codes, constants):
            batch: Batch = (constants[-1].open() if letter.body is None
                            else pickle.loads(letter.body))
        return batch


def add(x: int, y: Any = 0) -> int:
    return x + y


def test_packed_batch_comes_out_as_it_went_in() -> None:
    wire = Wire()
    batch = items_batch(3, add, [1, 2], Const(5), One(2, 1), Tree([1, None], (One(0),)))
    back = wire.through(batch)
    code = back.groups[0].parts[0].code
    assert (back.id, back.label, back.groups[0].indexes) == (3, "add", range(2))
    assert code.args[1:] == (Const(5), One(2, 1), Tree([1, None], (One(0),)))
    assert code.task.fn(1, 2) == 3
    assert wire.sent == []


def test_task_code_is_pickled_once_and_small_ones_lie_in_the_letter() -> None:
    wire = Wire()
    batch = items_batch(1, add, [1])
    first, second = (Letter.opened(wire.packer.pack(batch, n, ()).sealed) for n in range(2))
    assert first.codes == second.codes
    assert first.codes[0].data is not None


def test_large_task_code_is_a_shared_constant_sent_once() -> None:
    wire = Wire()
    table = bytes(100_000)

    def look_up(x: int) -> int:
        return table[x]

    batch = items_batch(1, look_up, [1])
    for _ in range(2):
        assert wire.through(batch).groups[0].parts[0].code.task.fn(3) == 0
    assert len(wire.sent) == 1


def test_large_constant_is_sent_once_for_all_batches_of_a_call() -> None:
    wire = Wire()
    holder = Const(np.arange(50_000))
    for number in range(3):
        back = wire.through(items_batch(number, add, [1], holder))
        assert (back.groups[0].parts[0].code.args[1].value == holder.value).all()  # type: ignore[union-attr]
    assert len(wire.sent) == 1


def test_equal_constants_share_a_copy_and_changed_ones_do_not() -> None:
    wire = Wire()
    value = np.zeros(50_000)
    wire.through(items_batch(1, add, [1], Const(value)))
    wire.through(items_batch(2, add, [1], Const(value.copy())))
    assert len(wire.sent) == 1
    value[0] = 1
    wire.through(items_batch(3, add, [1], Const(value)))
    assert len(wire.sent) == 2


def test_constant_whose_holder_died_is_sent_again() -> None:
    wire = Wire()
    holder = Const(bytes(100_000))
    wire.through(items_batch(1, add, [1], holder))
    wire.sent[0].status = "cancelled"
    wire.through(items_batch(2, add, [1], holder))
    assert len(wire.sent) == 2


def test_large_template_and_large_items_travel_beside_the_letter() -> None:
    wire = Wire()
    tree = Tree([bytes(100_000), None], (One(0),))
    back = wire.through(items_batch(1, add, [bytes(2_000_000)], tree))
    assert back.groups[0].parts[0].items[0] == [bytes(2_000_000)]
    assert back.groups[0].parts[0].code.args[1] == tree
    assert len(wire.sent) == 2
    assert len(wire.packer.pack(back, 1, ()).sealed) < 5_000


@pytest.mark.parametrize("value, least, most", [
    (1, 1, 100), ("x" * 1000, 1000, 1000), (b"x" * 1000, 1000, 1000), ([], 0, 100),
    (list(range(100_000)), LARGE_BYTES, 10**7), ({"a": bytes(10**6)}, 10**6, 2 * 10**6),
    (np.zeros(1000), 8000, 8000), (pd.Series(np.zeros(1000)), 8000, 9000),
    (pd.DataFrame({"a": np.zeros(1000)}), 8000, 9000),
])
def test_quick_size_of_known_types(value: Any, least: int, most: int) -> None:
    size = quick_bytes(value)
    assert size is not None
    assert least <= size <= most


@pytest.mark.parametrize("value", [object(), np.array([object()]), [object()]])
def test_quick_size_of_others_is_not_known(value: Any) -> None:
    assert quick_bytes(value) is None


class Hoard:
    def __init__(self, size: int) -> None:
        self.data = bytes(size)


def test_size_of_unknown_types_is_measured_once() -> None:
    pickled: list[Any] = []

    def pickler(value: Any, buffers: list[Any]) -> bytes:
        pickled.append(value)
        return cloudpickle.dumps(value)  # type: ignore[no-any-return]

    constants = Constants("c", lambda name, parcel: FakeFuture(parcel), pickler)
    for size, large in ((10, False), (100_000, True)):
        holder = Const(Hoard(size))
        assert [constants.is_large(holder, holder.value) for _ in range(3)] == [large] * 3
    assert len(pickled) == 2


def test_run_parameters_that_cannot_be_pickled_become_their_repr() -> None:
    lock = threading.Lock()
    letter = Letter.opened(Wire(lock=lock, n=3).packer.pack(items_batch(1, add, [1]), 1, ()).sealed)
    assert letter.run.data is not None
    assert pickle.loads(letter.run.data).parameters == {"lock": repr(lock), "n": 3}


def test_guilty_call_is_found_among_innocent_ones() -> None:
    lock = threading.Lock()

    def locked(x: int) -> int:
        with lock:
            return x

    batch = items_batch(1, add, [1])
    batch.groups += items_batch(2, locked, [1]).groups
    errors = find_guilty(batch, dumps_by_value, TypeError("whole"))
    assert list(errors) == [2]
    assert isinstance(errors[2].exception, UnpicklableTask)


def test_error_of_no_single_piece_is_said_of_every_call() -> None:
    batch = items_batch(1, add, [1])
    batch.groups += items_batch(2, add, [1]).groups
    errors = find_guilty(batch, dumps_by_value, TypeError("whole"))
    assert list(errors) == [1, 2]
    assert "whole" in errors[1].message


def test_parcel_is_unpickled_when_opened_and_not_before() -> None:
    parcel = Parcel.closed(b"no pickle", [], 9)
    again = pickle.loads(pickle.dumps(parcel))
    with pytest.raises(pickle.UnpicklingError):
        again.open()


@pytest.mark.parametrize("protocol", [4, 5])
def test_array_in_a_result_can_be_written_to_after_the_journey(protocol: int) -> None:
    result = Result.of(b"r", Block({1: Column(range(1), [np.zeros(10)])}))
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(result, protocol, buffer_callback=buffers.append if protocol > 4 else None)
    copies = [bytearray(buffer.raw()) for buffer in buffers]
    [value] = pickle.loads(data, buffers=copies).block().columns[1].values
    value[0] = 1
    assert value.flags.writeable and value.sum() == 1


def _block_of(*values: Any) -> tuple[Batch, Report, Block]:
    count = len(values)
    span = Span(1, range(count), bytearray([Code.COMPLETED]) * count,
                array("f", bytes(4 * count)), array("f", bytes(4 * count)))
    block = Block({1: Column(range(count), list(values))})
    return items_batch(1, add, range(count)), Report(1, "w", 0.0, [span]), block


@pytest.mark.parametrize("values", [
    (1, 2.0, "x", None), (np.zeros(3), np.float64(2)), ([1, {"a": 2}],), (lambda: 1,),
    (pd.DataFrame({"a": [1]}),),
])
def test_block_that_can_be_pickled_is_let_through(values: tuple[Any, ...]) -> None:
    batch, report, block = _block_of(*values)
    assert drop_unpicklable(batch, report, block) is block
    assert not report.spans[0].details


def test_elements_that_cannot_be_pickled_fail_and_lose_their_values() -> None:
    batch, report, block = _block_of(0, threading.Lock(), [threading.Lock()], 3)
    kept = drop_unpicklable(batch, report, block)
    assert kept is not None
    assert (kept.columns[1].indexes, kept.columns[1].values) == ([0, 3], [0, 3])
    [span] = report.spans
    assert list(span.codes) == [Code.COMPLETED, Code.FAILED, Code.FAILED, Code.COMPLETED]
    record = span.details[1].error
    assert record is not None
    assert isinstance(exception_of(record), UnpicklableResult)


def test_block_of_nothing_but_unpicklable_values_is_none() -> None:
    batch, report, block = _block_of(threading.Lock())
    assert drop_unpicklable(batch, report, block) is None


def test_local_modules_are_the_users_own() -> None:
    mine = types.ModuleType("mine")
    mine.__file__ = "/home/somebody/project/mine.py"
    assert is_local("mine", mine)
    for name in ("numpy", "json", "sys", "runners.dask", "dataflow.batch", "dask"):
        __import__(name)
        assert not is_local(name, sys.modules[name]), name


def test_by_value_leaves_the_registry_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = types.ModuleType("mine_too")
    mine.__file__ = "/home/somebody/project/mine_too.py"
    monkeypatch.setitem(sys.modules, "mine_too", mine)
    before = cloudpickle.list_registry_pickle_by_value()
    with by_value():
        assert "mine_too" in cloudpickle.list_registry_pickle_by_value()
    assert cloudpickle.list_registry_pickle_by_value() == before


def test_module_with_unpicklable_globals_goes_by_reference(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn = types.ModuleType("stubborn")
    stubborn.__file__ = "/home/somebody/project/stubborn.py"
    exec("import threading\nlock = threading.Lock()\n"
         "def use(x):\n    with lock:\n        return x\n", stubborn.__dict__)
    monkeypatch.setitem(sys.modules, "stubborn", stubborn)
    use = stubborn.use
    assert pickle.loads(dumps_by_value(use)) is use
    assert Wire().through(items_batch(1, use, [1])).groups[0].parts[0].code.task.fn is use


@pytest.mark.parametrize("exitcode, said", [
    (-9, "process 12 was killed by signal 9 (SIGKILL)"),
    (-99, "process 12 was killed by signal 99 (unknown)"),
    (255, "process 12 ended in an unknown way"),
    (3, "process 12 exited with status 3"),
])
def test_exit_code_of_a_worker_is_said_in_words(exitcode: int, said: str) -> None:
    assert describe(12, exitcode) == said


def test_call_of_names_its_arguments() -> None:
    assert call_of(1, add, Const(1)).names == ("x0",)
