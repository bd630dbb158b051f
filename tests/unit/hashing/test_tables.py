"""pandas, polars and Arrow: labels, types and values; never blocks, chunks or offsets."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dataflow.hashing import digest

STAMPS = pd.date_range("2020", periods=3)
COLUMNS: dict[str, Any] = {
    "int": [1, 2, 3], "float": [1.0, None, 3.0], "bool": [True, False, True],
    "object": pd.Series(["a", None, 1], dtype=object),
    "str": pd.Series(["a", "b", None], dtype="str"),
    "string": pd.Series(["a", "b", None], dtype="string"),
    "Int64": pd.array([1, None, 3], dtype="Int64"),
    "Float32": pd.array([1, None, 3], dtype="Float32"),
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "category": pd.Categorical(["a", "b", "a"]),
    "ordered": pd.Categorical(["a", "b", "a"], ordered=True),
    "datetime": STAMPS, "zoned": STAMPS.tz_localize("Europe/Berlin"),
    "timedelta": pd.to_timedelta([1, 2, 3], unit="s"), "period": STAMPS.to_period("M"),
    "interval": pd.interval_range(0, 3),
    "sparse": pd.arrays.SparseArray([0, 0, 1]), "complex": [1j, 2j, 3j],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_column_of_every_type_is_its_values(name: str) -> None:
    series = pd.Series(COLUMNS[name])
    twice = pd.concat([series, series], ignore_index=True)
    again = twice[3:].reset_index(drop=True)
    if name == "ordered":  # concat of equal categories keeps them
        assert again.dtype == series.dtype
    assert digest(series) == digest(series.copy()) == digest(again)
    reversed_ = series[::-1].reset_index(drop=True)
    if not reversed_.equals(series):
        assert digest(reversed_) != digest(series)
    assert digest(series[:2]) != digest(series)


def test_columns_of_all_types_are_told_apart() -> None:
    assert len({digest(pd.Series(column)) for column in COLUMNS.values()}) == len(COLUMNS)


def test_frame_is_its_columns_and_labels() -> None:
    frame = pd.DataFrame(COLUMNS)
    assert digest(frame) == digest(frame.copy()) == digest(pd.DataFrame(dict(COLUMNS)))
    others = [frame[["float", "int"]], frame[["int", "float"]], frame.iloc[:2], frame.iloc[::-1],
              frame.rename(columns={"int": "n"}), frame.set_index("int"),
              frame.set_index("int", drop=False), frame.rename_axis("rows"),
              frame.rename_axis(columns="c"), frame.set_index(["int", "float"]),
              frame.assign(int=[1, 2, 4]), frame.astype({"int": "int32"}), frame.T]
    keys = {digest(other) for other in [frame, *others]}
    assert len(keys) == len(others) + 1


def test_blocks_of_a_frame_do_not_count() -> None:
    values = np.arange(12.0).reshape(4, 3)
    whole = pd.DataFrame(values, columns=list("abc"))
    apart = pd.DataFrame({name: values[:, n].copy() for n, name in enumerate("abc")})
    grown = pd.DataFrame({"a": values[:, 0]})
    grown["c"] = values[:, 2]
    grown.insert(1, "b", values[:, 1])
    assert digest(whole) == digest(apart) == digest(grown)


def test_frame_with_equal_column_names_is_read_by_position() -> None:
    one = pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"])
    other = pd.DataFrame([[2, 1], [4, 3]], columns=["a", "a"])
    assert digest(one) == digest(one.copy()) != digest(other)


def test_counting_index_is_the_same_as_numbers() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})
    for index in ([0, 1, 2], [0, 2, 4], [5, 4, 3], [0, 1, 3], [7, 7, 7]):
        numbers = frame.set_axis(pd.Index(index, dtype="int64"), axis=0)
        assert (digest(numbers) == digest(frame)) == (index == [0, 1, 2])
    assert digest(pd.RangeIndex(0, 6, 2)) == digest(pd.Index([0, 2, 4]))
    assert digest(pd.RangeIndex(4, 5, 3)) == digest(pd.Index([4]))
    assert digest(pd.RangeIndex(3, 3)) == digest(pd.Index([], dtype="int64"))
    assert digest(pd.RangeIndex(3)) != digest(pd.RangeIndex(3, name="a"))


def test_index_of_every_kind_has_a_digest_of_its_own() -> None:
    indexes = [pd.Index(["a", "b"]), pd.Index([1.0, 2.0]), STAMPS, STAMPS.tz_localize("UTC"),
               STAMPS.to_period("D"), pd.CategoricalIndex(["a", "b"]), pd.interval_range(0, 2),
               pd.MultiIndex.from_product([[1, 2], ["a"]]),
               pd.MultiIndex.from_product([[1, 2], ["a"]], names=["n", None]),
               pd.MultiIndex.from_product([[2, 1], ["a"]])]
    assert len({digest(index) for index in indexes}) == len(indexes)
    assert [digest(index) for index in indexes] == [digest(index.copy()) for index in indexes]


def test_storage_of_strings_does_not_count() -> None:
    pytest.importorskip("pyarrow")
    texts = ["a", None, "ü" * 50, ""]
    keys = {digest(pd.Series(texts, dtype=pd.StringDtype(storage)))
            for storage in ("python", "pyarrow")}
    assert len(keys) == 1
    assert digest(pd.Series(texts[:3], dtype="string[pyarrow]")) == digest(
        pd.Series(texts, dtype="string[pyarrow]")[:3])


def test_attrs_of_a_frame_count() -> None:
    frame = pd.DataFrame({"a": [1]})
    other = frame.copy()
    other.attrs["unit"] = "m"
    assert digest(frame) != digest(other)


# ------------------------------------------------------------------ Arrow

ARROW: dict[str, Any] = {
    "int8": [1, None, 3], "uint64": [1, None, 2**63], "float32": [1.5, None, 2.5],
    "float64": [1.5, None, float("nan")], "bool_": [True, None, False],
    "string": ["a", None, "bc"], "large_string": ["a", None, "bc"], "binary": [b"a", None, b"bc"],
    "date32": [date(2020, 1, 1), None, date(2021, 1, 1)],
    "date64": [date(2020, 1, 1), None, date(2021, 1, 1)], "null": [None, None, None],
}


def arrow_arrays() -> dict[str, Any]:
    pa = pytest.importorskip("pyarrow")
    when, later = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    made = {name: pa.array(items, getattr(pa, name)()) for name, items in ARROW.items()}
    made.update({
        "timestamp": pa.array([when, None, later], pa.timestamp("us")),
        "zoned": pa.array([when, None, later], pa.timestamp("us", "UTC")),
        "duration": pa.array([timedelta(1), None, timedelta(2)], pa.duration("s")),
        "decimal": pa.array([Decimal("1.5"), None, Decimal("2.5")], pa.decimal128(5, 2)),
        "list": pa.array([[1, 2], None, [3]], pa.list_(pa.int64())),
        "large_list": pa.array([["a"], None, []], pa.large_list(pa.string())),
        "fixed": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)),
        "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": 2, "b": None}]),
        "map": pa.array([[("a", 1)], None, [("b", 2), ("c", 3)]],
                        pa.map_(pa.string(), pa.int64())),
        "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
        "fixed binary": pa.array([b"ab", None, b"cd"], pa.binary(2)),
    })
    return made


def test_arrow_arrays_are_their_values_in_any_chunks_and_at_any_offset() -> None:
    pa = pytest.importorskip("pyarrow")
    arrays = arrow_arrays()
    for name, array in arrays.items():
        padded = pa.concat_arrays([array.slice(2, 1), array, array.slice(0, 1)])
        sliced = padded.slice(1, 3)
        assert sliced.equals(array) or name in ("float64", "dictionary"), name
        assert digest(sliced) == digest(array), name
        chunks = pa.chunked_array([array.slice(0, 1), array.slice(1, 2)])
        assert digest(chunks) == digest(pa.chunked_array([array])), name
        if name != "null":
            assert digest(array.take(pa.array([2, 1, 0]))) != digest(array), name
        assert digest(array.slice(0, 2)) != digest(array), name
    assert len({digest(array) for array in arrays.values()}) == len(arrays)


def test_what_is_under_a_null_does_not_count() -> None:
    pa = pytest.importorskip("pyarrow")
    valid = pa.py_buffer(b"\5")
    numbers = pa.array([1, 7, 3], pa.int32()).buffers()[1]
    one = pa.Array.from_buffers(pa.int32(), 3, [valid, numbers])
    assert digest(one) == digest(pa.array([1, None, 3], pa.int32()))
    offsets = pa.array([0, 1, 3, 4], pa.int32()).buffers()[1]
    text = pa.Array.from_buffers(pa.string(), 3, [valid, offsets, pa.py_buffer(b"axxb")])
    assert digest(text) == digest(pa.array(["a", None, "b"]))


def test_arrow_tables_are_names_types_and_values() -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table(arrow_arrays())
    again = pa.concat_tables([table.slice(0, 1), table.slice(1, 2)])
    assert digest(table) == digest(again) != digest(table.slice(0, 2))
    other_names = [f"c{n}" for n in range(table.num_columns)]
    assert digest(table) != digest(table.rename_columns(other_names))
    assert digest(table) != digest(table.replace_schema_metadata({"a": "b"}))
    batch = table.to_batches()[0]
    assert digest(batch) == digest(table.to_batches()[0])
    assert digest(table.schema) == digest(again.schema)
    assert digest(pa.scalar(1)) != digest(pa.scalar(2)) != digest(pa.scalar(2.0))


# ------------------------------------------------------------------ polars


def test_polars_frames_are_names_types_and_values() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({
        "int": [1, None, 3], "float": [1.5, None, float("nan")], "str": ["a", None, "bc"],
        "bool": [True, None, False], "date": [date(2020, 1, 1), None, date(2021, 1, 1)],
        "time": [datetime(2020, 1, 1, tzinfo=UTC), None, datetime(2021, 1, 1, tzinfo=UTC)],
        "list": [[1, 2], None, []], "texts": [["a"], [], None],
        "struct": [{"a": 1, "b": "x"}, None, {"a": 2, "b": None}], "null": [None] * 3,
        "decimal": [Decimal("1.5"), None, Decimal("2.5")], "binary": [b"a", None, b""],
        "category": pl.Series(["a", None, "b"], dtype=pl.Categorical),
        "array": pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int64, 2)),
    })
    chunked = pl.concat([frame[:1], frame[1:]], rechunk=False)
    sliced = pl.concat([frame[2:], frame, frame[:1]]).slice(1, 3)
    assert digest(frame) == digest(chunked) == digest(sliced) == digest(frame.clone())
    assert digest(frame) != digest(frame[:2])
    for name in frame.columns:
        series = frame[name]
        if name != "null":
            assert digest(series.reverse()) != digest(series), name
        assert digest(series.rename("other")) != digest(series)
    assert digest(frame.select("int", "float")) != digest(frame.select("float", "int"))
    assert len({digest(frame[name].rename("x")) for name in frame.columns}) == frame.width


def test_lazy_frame_is_refused_with_the_way_out() -> None:
    pl = pytest.importorskip("polars")
    with pytest.raises(TypeError, match=r"v\[0\] is a .*LazyFrame.*collect\(\)"):
        digest([pl.LazyFrame({"a": [1]})], name="v")


@pytest.mark.parametrize("index", [
    pd.date_range("2024-01-01", periods=3, freq="24h"),
    pd.timedelta_range("1h", periods=3, freq="24h"),
], ids=["times", "distances"])
def test_frequency_of_an_index_of_times_counts(index: Any) -> None:
    plain, daily = type(index)(index, freq=None), type(index)(index, freq="1440min")
    plain.freq = None
    assert len({digest(one) for one in (index, plain, daily)}) == 3
    assert digest(pd.Series(1, index=index)) != digest(pd.Series(1, index=plain))
    assert digest(index.copy()) == digest(index)
