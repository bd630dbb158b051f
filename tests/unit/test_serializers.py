"""Serializers: round trips, names, what is refused and what it says."""

from __future__ import annotations

import math
import pickle
import sys
import threading
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dataflow.exceptions import DefinitionError, MissingModule, UnserializableResult
from dataflow.pickling import kept_pickle, load_pickle
from dataflow.serializers import (
    CompressedJSONSerializer,
    CompressedPickleSerializer,
    CompressedSerializer,
    JSONSerializer,
    ParquetSerializer,
    PickleSerializer,
    Serializer,
    serializer_of,
)

PLAIN = [None, True, 0, -(2**80), 1.5, math.inf, "é\ud800", [], {}, {"a": [1, {"b": None}]}]


@dataclass(frozen=True)
class Reversed(Serializer):
    """A serializer as users write them."""

    type = "reversed"

    def dumps(self, obj: Any) -> bytes:
        return str(obj)[::-1].encode()

    def loads(self, blob: bytes) -> Any:
        return blob.decode()[::-1]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
@pytest.mark.parametrize("spec", ["pickle", "json", "compressed/pickle", "compressed/json"])
def test_plain_value_comes_back_from_every_serializer(spec: str, value: Any) -> None:
    serializer = serializer_of(spec)
    assert serializer.loads(serializer.dumps(value)) == value
    assert serializer.spec == spec and serializer_of(serializer.spec) == serializer


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, {"a": {1}}, [b"x"], {"a": [object()]},
                                   np.float64(1.5), type("Str", (str,), {})("x")], ids=repr)
def test_json_refuses_what_would_come_back_otherwise(value: Any) -> None:
    with pytest.raises(UnserializableResult, match="What to do: return what JSON holds") as caught:
        JSONSerializer().dumps(value)
    assert type(value).__qualname__ in str(caught.value)


def test_json_says_where_the_part_at_fault_is() -> None:
    with pytest.raises(UnserializableResult, match=r"result\['rows'\]\[1\] is of type"):
        JSONSerializer().dumps({"rows": [1, {2}]})


def test_json_refuses_a_cycle() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(UnserializableResult):
        JSONSerializer().dumps(cycle)


def test_value_that_cannot_be_pickled_is_named_with_what_to_do() -> None:
    with pytest.raises(UnserializableResult, match=r"_thread\.lock.*What to do") as caught:
        PickleSerializer().dumps({"lock": threading.Lock()})
    assert caught.value.serializer == "pickle" and caught.value.type == "builtins.dict"


def test_lambda_and_local_class_are_pickled_by_value() -> None:
    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

    scale = 3
    again = load_pickle(kept_pickle([Local(2), lambda x: scale * x]))
    assert again[0].x == 2 and again[1](2) == 6


def test_class_of_the_script_is_taken_from_the_script_that_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script, other = ModuleType("__main__"), ModuleType("__main__")
    source = ("class Row:\n    def __init__(self, x): self.x = x\n"
              "    def twice(self): return 2 * self.x")
    exec(source, script.__dict__)
    exec(source, other.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", script)
    data = kept_pickle([script.Row(1), script.Row(2)])
    assert type(load_pickle(data)[0]) is script.Row
    monkeypatch.setitem(sys.modules, "__main__", other)
    assert type(load_pickle(data)[0]) is other.Row
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    first, second = load_pickle(data)
    assert (first.twice(), second.twice()) == (2, 4) and type(first) is type(second)


def test_class_that_came_with_the_code_is_taken_where_the_script_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = ("class Point:\n    def __init__(self, x): self.x = x\n"
              "    def twice(self): return 2 * self.x")
    sessions = []
    for twice in ("2", "2", "3"):
        script = ModuleType("__main__")
        exec(source.replace("2 *", f"{twice} *"), script.__dict__)
        monkeypatch.setitem(sys.modules, "__main__", script)
        cloudpickle.dumps(script.Point)
        sessions.append((script.Point, kept_pickle(script.Point(5))))
    first, second, changed = sessions
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert type(load_pickle(first[1])) is second[0], "the newest that is the same"
    assert type(load_pickle(changed[1])) is changed[0]
    assert load_pickle(changed[1]).twice() == 15


def test_text_that_only_looks_like_the_script_is_kept() -> None:
    value = {"module": "__main__", "blob": b"__main__" * 3}
    assert load_pickle(kept_pickle(value)) == value


def test_pickle_library_of_the_user_is_used() -> None:
    serializer = PickleSerializer(picklelib="pickle")
    assert serializer.loads(serializer.dumps((1, 2))) == (1, 2)
    assert serializer.spec is None and pickle.loads(pickle.dumps(serializer)) == serializer


@pytest.mark.parametrize("library", ["zlib", "bz2", "lzma"])
def test_compression_library_is_used(library: str) -> None:
    serializer = CompressedSerializer(serializer="json", compressionlib=library)
    data = serializer.dumps(["x" * 10_000])
    assert len(data) < 1_000 and serializer.loads(data) == ["x" * 10_000]


def test_compressed_classes_are_what_their_names_say() -> None:
    assert CompressedPickleSerializer().serializer == PickleSerializer()
    assert CompressedJSONSerializer().serializer == JSONSerializer()
    with pytest.raises(UnserializableResult):
        CompressedJSONSerializer().dumps({1})


@pytest.mark.parametrize("make, text", [
    (lambda: PickleSerializer(picklelib="nopickle"), "nopickle"),
    (lambda: PickleSerializer(picklelib="math"), "has no function 'dumps'"),
    (lambda: CompressedSerializer(compressionlib="json"), "has no function 'compress'"),
    (lambda: CompressedSerializer(serializer="nope"), "no serializer 'nope'"),
    (lambda: serializer_of("pickel"), "Known are: .*compressed/json.*dataflow.serializers"),
    (lambda: serializer_of(3), "is 3, which is no serializer"),  # type: ignore[arg-type]
])
def test_wrong_serializer_is_refused_when_it_is_made(make: Any, text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        make()


def test_none_is_pickle_and_an_object_is_itself() -> None:
    mine = Reversed()
    assert serializer_of(None) == PickleSerializer()
    assert serializer_of(mine) is mine and mine.spec is None
    assert isinstance(serializer_of(Reversed), Reversed)  # type: ignore[arg-type]  # as Prefect


def test_entry_point_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = "reversed"

        def load(self) -> Any:
            return Reversed

    monkeypatch.setattr("dataflow.serializers.entry_points", lambda group: [Point()])
    assert serializer_of("reversed") == Reversed()
    assert serializer_of("compressed/reversed").loads(
        serializer_of("compressed/reversed").dumps("abc")) == "abc"


PANDAS = pd.DataFrame({"n": [1, 2], "s": ["a", None]}, index=pd.Index(["x", "y"], name="k"))


@pytest.mark.parametrize("table", [
    PANDAS, pl.DataFrame({"n": [1, 2], "s": ["a", None]}), pa.table({"n": [1], "s": ["a"]}),
    pd.DataFrame(), pl.DataFrame(),
], ids=lambda table: type(table).__module__)
def test_table_comes_back_as_the_kind_it_was(table: Any) -> None:
    serializer = ParquetSerializer()
    again = serializer.loads(serializer.dumps(table))
    assert type(again) is type(table)
    if isinstance(table, pd.DataFrame):
        pd.testing.assert_frame_equal(again, table)
    else:
        assert again.equals(table)


def test_what_is_no_table_is_refused_by_parquet() -> None:
    with pytest.raises(UnserializableResult, match="return a table of pandas"):
        ParquetSerializer().dumps([1, 2])


def test_missing_pyarrow_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingModule, match="pip install pyarrow"):
        ParquetSerializer().dumps(PANDAS)
