"""NumPy's arrays: logical content, in every layout and type."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from dataflow.hashing import digest

SMALL = np.arange(24).reshape(2, 3, 4)
LARGE = np.random.default_rng(0).random((300, 7, 50))


def layouts(array: Any) -> list[Any]:
    """Return arrays of the same content in other layouts."""
    wide = np.zeros((*array.shape[:-1], array.shape[-1] * 2), array.dtype)
    wide[..., ::2] = array
    moved = np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:].view(array.dtype)
    return [
        array.copy(), np.asfortranarray(array), wide[..., ::2], array[::-1].copy()[::-1],
        array.transpose(2, 0, 1).copy().transpose(1, 2, 0), array[..., ::-1].copy()[..., ::-1],
        array.astype(array.dtype.newbyteorder(">")), moved.reshape(array.shape),
        np.asfortranarray(array).astype(array.dtype.newbyteorder(">")),
    ]


@pytest.mark.parametrize("array", [SMALL, LARGE, LARGE > 0.5, LARGE.astype("f4"),
                                   LARGE.astype("f2"), LARGE + 1j, SMALL.astype("U7"),
                                   SMALL.astype("S5"), SMALL.astype("M8[s]")],
                         ids=lambda a: f"{a.dtype} {a.size}")
def test_layout_makes_no_difference(array: Any) -> None:
    assert {digest(one) for one in layouts(array)} == {digest(array)}


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u8", "i8", "f2", "f4", "f8", "g", "c8",
                                   "c16", "G", "U3", "S3", "V3", "M8[ns]", "M8[D]", "m8[s]", "O"])
def test_one_changed_item_is_seen_whatever_the_type(dtype: str) -> None:
    array = np.zeros(5, dtype)
    changed = array.copy()
    changed[3] = b"abc" if dtype == "V3" else 1
    assert digest(array.copy()) == digest(array) != digest(changed)
    assert digest(array) != digest(array[:4]) != digest(array.reshape(5, 1)[:4])


def test_types_and_shapes_are_all_told_apart() -> None:
    arrays = [np.zeros(0, t) for t in ("i4", "i8", "u4", "f4", "f8", "?", "U1", "U2", "S1", "O")]
    arrays += [np.zeros(shape) for shape in ((), 1, 2, (0, 1), (1, 0), (1, 1), (2, 1), (1, 2))]
    arrays += [np.zeros(2, "M8[s]"), np.zeros(2, "M8[ms]"), np.zeros(2, "m8[s]")]
    keys = [digest(array) for array in arrays]
    assert len(set(keys)) == len(arrays)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "c8", "c16", "G"])
def test_all_nan_are_one_and_zeros_have_a_sign(dtype: str) -> None:
    array = np.ones(100, dtype)
    array[50] = np.nan
    other = array.copy()
    other[50] = -other[50]
    with np.errstate(all="ignore"):
        computed = array.copy()
        computed[50] = np.zeros(1, dtype)[0] / np.zeros(1, dtype)[0]
    if dtype[0] == "f" or dtype == "g":
        assert digest(array) == digest(other) == digest(computed)
    zeros = np.zeros(3, dtype)
    assert digest(zeros) != digest(-zeros) and digest(array) != digest(np.ones(100, dtype))
    inf = np.array([np.inf, -np.inf], dtype)
    assert digest(inf) == digest(inf.copy()) != digest(inf[::-1])


def test_nan_in_a_chunk_far_behind_is_found() -> None:
    array = np.zeros(200_000)
    array[150_000] = np.nan
    other = array.copy()
    other.view("u8")[150_000] ^= 1 << 63 | 7
    assert np.isnan(other[150_000]) and digest(array) == digest(other)


def test_padding_of_records_does_not_count() -> None:
    dtype = np.dtype([("a", "i1"), ("b", "f8"), ("c", "U3"), ("d", "i2", (2,))], align=True)
    one = np.zeros(dtype.itemsize * 3, np.uint8).view(dtype)
    other = np.ones(dtype.itemsize * 3, np.uint8).view(dtype)
    for name in dtype.names:
        other[name] = one[name]
    assert one.tobytes() != other.tobytes() and digest(one) == digest(other)
    packed = one.astype(np.dtype([(n, dtype.fields[n][0]) for n in dtype.names]))
    assert digest(packed) == digest(one)
    other["b"][1] = 1
    assert digest(one) != digest(other)
    assert digest(one) != digest(one.view(np.recarray))


def test_objects_in_an_array_are_walked() -> None:
    def array(inner: Any) -> Any:
        made = np.empty((2, 2), object)
        made[:] = [[1, "a"], [None, 0]]
        made[1, 1] = inner
        return made

    assert digest(array([1, {2}])) == digest(array([1, {2}])) != digest(array([1, {3}]))
    assert digest(array(1)) == digest(np.asfortranarray(array(1))) != digest(array(1.0))
    assert digest(array(1)) != digest(array(1).T)


def test_what_is_under_a_mask_does_not_count() -> None:
    mask = [False, True, False]
    one = np.ma.array([1.0, 2.0, 3.0], mask=mask)
    other = np.ma.array([1.0, 9.0, 3.0], mask=mask)
    assert digest(one) == digest(other) != digest(one.data)
    assert digest(one) != digest(np.ma.array([1.0, 2.0, 3.0]))
    assert digest(one) != digest(np.ma.array([1.0, 2.0, 3.0], mask=mask, fill_value=7))


def test_matrix_and_array_are_told_apart() -> None:
    array = np.eye(2)
    assert digest(np.asmatrix(array)) == digest(np.asmatrix(array.copy())) != digest(array)


def test_generators_are_their_state() -> None:
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    assert digest(one) == digest(other)
    other.random()
    assert digest(one) != digest(other)
    assert digest(np.random.RandomState(1)) == digest(np.random.RandomState(1))


def test_scalars_are_told_apart_by_type_and_value() -> None:
    scalars = [np.dtype(t).type(v) for t, v in itertools.product(
        ("i1", "i4", "i8", "u8", "f4", "f8", "c16", "?"), (0, 1))]
    assert len({digest(one) for one in scalars}) == len(scalars)
    assert digest(np.array(1.0)) != digest(np.float64(1.0))
    assert digest(np.float64("nan")) == digest(np.float64(-np.float64("nan")))


def test_strings_of_any_length_are_their_texts() -> None:
    dtypes = pytest.importorskip("numpy.dtypes")
    if not hasattr(dtypes, "StringDType"):
        pytest.skip("NumPy 2")
    one = np.array(["a", "bc" * 100], dtypes.StringDType())
    assert digest(one) == digest(one.copy()) != digest(one[::-1])


def test_sparse_matrices_are_what_is_stored() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.array([[0, 1, 0], [2, 0, 3]])
    kinds = [sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array, sparse.lil_matrix]
    keys = [digest(kind(dense)) for kind in kinds]
    assert keys == [digest(kind(dense.copy())) for kind in kinds] and len(set(keys)) == 4
    unsorted = sparse.csr_matrix(([3, 2, 1], [2, 0, 1], [0, 0, 3]), shape=(2, 3))
    ordered = sparse.csr_matrix(([2, 1, 3], [0, 1, 2], [0, 0, 3]), shape=(2, 3))
    assert digest(unsorted) == digest(ordered)


def test_dtype_as_a_value_is_all_that_it_says() -> None:
    noted = [np.dtype("O", metadata={"vlen": kind}) for kind in (str, bytes)]
    plain = {"names": ["a", "b"], "formats": ["i1", "<i4"]}
    dtypes = [np.dtype(kind) for kind in (
        "<i4", ">i4", "<i8", "O", "<M8[s]", "<M8[ms]", ">M8[s]", "U3", "S3", "V3", "(2,)<i4",
        "(2,)>i4", "(3,)<i4")]
    dtypes += noted + [
        np.dtype(plain), np.dtype(plain, align=True), np.dtype({**plain, "names": ["a", "c"]}),
        np.dtype({**plain, "formats": ["i1", ">i4"]}), np.dtype({**plain, "titles": ["A", "B"]}),
        np.dtype({**plain, "offsets": [0, 8]}), np.dtype({**plain, "itemsize": 16}),
        np.dtype((np.record, plain)),
    ]
    assert len({digest(dtype) for dtype in dtypes}) == len(dtypes)
    assert digest(np.dtype("i4")) == digest(np.zeros(1, "i4").dtype)
    assert digest(np.dtype(plain, align=True)) == digest(
        np.zeros(2, np.dtype(plain, align=True)).dtype)
