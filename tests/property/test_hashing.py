"""The hasher over generated values: in fresh interpreters, for copies, for single changes."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from dataflow.hashing import changed_leaves, digest, leaves

PROJECT = Path(__file__).resolve().parents[2]


@dataclass
class Box:
    inside: Any


@dataclass(frozen=True)
class Sealed:
    inside: Any


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(),
    st.text(st.characters(), max_size=5), st.binary(max_size=5), st.decimals(allow_nan=False),
    st.fractions(), st.dates(), st.datetimes(timezones=st.none() | st.just(UTC)), st.times(),
    st.timedeltas(), st.uuids(), st.text("ab/.", max_size=4).map(PurePosixPath),
    st.sampled_from([..., int, str]),
)
hashable = st.recursive(scalars, lambda inner: st.one_of(
    st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3),
    inner.map(Sealed)), max_leaves=6)
arrays = npst.arrays(
    npst.scalar_dtypes() | npst.unicode_string_dtypes() | npst.byte_string_dtypes(),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
values = st.recursive(
    st.one_of(hashable, arrays, st.binary(max_size=5).map(bytearray)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=40).map(tuple),
        st.dictionaries(hashable, inner, max_size=4), st.sets(hashable, max_size=5),
        st.dictionaries(st.text(max_size=2), inner, max_size=3).map(OrderedDict),
        st.lists(inner, max_size=3).map(deque), inner.map(Box)),
    max_leaves=15)

# reads pickled lists of values, writes the digests of each; as many interpreters as seeds
SCRIPT = """
import importlib.util, pickle, sys
spec = importlib.util.spec_from_file_location(sys.argv[2], sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules[sys.argv[2]] = module
spec.loader.exec_module(module)
from dataflow.hashing import digest
values = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(b"".join(map(digest, values)))
"""


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(many=st.lists(values, min_size=30, max_size=150))
def test_digest_is_the_same_in_a_fresh_interpreter_of_any_hash_seed(many: list[Any]) -> None:
    here = b"".join(map(digest, many))
    sent = pickle.dumps(many)
    for seed in ("0", "1", "4321"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, __file__, __name__], input=sent, capture_output=True,
            cwd=PROJECT, timeout=60, env={**os.environ, "PYTHONHASHSEED": seed})
        assert done.returncode == 0, done.stderr.decode()
        assert done.stdout == here


@given(value=values)
def test_digest_of_a_copy_is_the_same(value: Any) -> None:
    assert digest(copy.deepcopy(value)) == digest(value)
    assert digest(pickle.loads(pickle.dumps(value))) == digest(value)


@given(value=values, other=values)
def test_digest_differs_where_a_naive_account_of_the_values_does(value: Any, other: Any) -> None:
    assert (digest(value) == digest(other)) == (account(value) == account(other))


@given(items=st.lists(values, min_size=1, max_size=40), data=st.data())
def test_digest_differs_after_a_single_change(items: list[Any], data: st.DataObject) -> None:
    before = digest(items)
    place = data.draw(st.integers(0, len(items) - 1))
    changed = [*items[:place], [items[place]], *items[place + 1:]]
    assert digest(changed) != before
    assert digest([*items, None]) != before != digest(items[:-1])
    assert digest(tuple(items)) != before


@given(pairs=st.dictionaries(hashable, values, max_size=8), data=st.data())
def test_order_of_keys_does_not_count(pairs: dict[Any, Any], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(list(pairs.items())))
    assert digest(dict(shuffled)) == digest(pairs)


@given(array=arrays, data=st.data())
def test_array_is_the_same_in_every_layout(array: Any, data: st.DataObject) -> None:
    axes = data.draw(st.permutations(range(array.ndim)))
    back = [axes.index(axis) for axis in range(array.ndim)]
    turned = array.transpose(axes).copy(order="C").transpose(back)
    swapped = array.astype(array.dtype.newbyteorder("S"))
    assert digest(array) == digest(turned) == digest(swapped)
    assert digest(array) == digest(array.copy(order="F"))


@given(value=values)
def test_leaves_of_any_value_are_few_and_short(value: Any) -> None:
    found = leaves(value, name="v", limit=20)
    assert 1 <= len(found) <= 20
    again = leaves(copy.deepcopy(value), name="v", limit=20)
    assert [leaf[:2] for leaf in again] == [leaf[:2] for leaf in found]  # texts may hold sets
    assert changed_leaves(found, again) == []


def account(value: Any) -> Any:
    """Return what a value is, as nested tuples of texts that are equal where it is the same."""
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        return (kind, value.dtype.newbyteorder("<").str, value.shape,
                [account(item) for item in value.ravel().tolist()] if value.dtype.kind in "fc"
                else value.astype(value.dtype.newbyteorder("<")).tobytes())
    if isinstance(value, float):
        return (kind, "nan" if value != value else value.hex())
    if isinstance(value, complex):
        return (kind, account(value.real), account(value.imag))
    if isinstance(value, (set, frozenset)):
        return (kind, sorted(repr(account(item)) for item in value))
    if isinstance(value, OrderedDict):
        return (kind, [(account(key), account(item)) for key, item in value.items()])
    if isinstance(value, dict):
        return (kind, sorted(repr((account(key), account(item))) for key, item in value.items()))
    if isinstance(value, (list, tuple, deque)):
        return (kind, [account(item) for item in value])
    if isinstance(value, (Box, Sealed)):
        return (kind, account(value.inside))
    return (kind, repr(value), getattr(value, "fold", None))


SCRIPT_WITH_CLASSES = """
import sys
from dataclasses import dataclass
from enum import Enum

from dataflow.hashing import digest

@dataclass
class Config:
    rate: float

class Colour(Enum):
    RED = 1

class Plain:
    def __init__(self): self.a = [1, "x"]

def key():
    return digest([Config(0.1), Colour.RED, Plain(), Config, {Colour.RED: 1}]).hex()

if __name__ == "__main__":
    print(key())
"""


@pytest.mark.parametrize("command", [
    ["job.py"], ["-m", "job"], ["-c", "import job; print(job.key())"],
])
def test_script_that_runs_and_one_that_is_imported_agree(
    command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(SCRIPT_WITH_CLASSES)
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=tmp_path, timeout=60,
        env={**os.environ, "PYTHONPATH": str(PROJECT)})
    assert done.returncode == 0, done.stderr
    expected = subprocess.run(
        [sys.executable, "-c", "import job; print(job.key())"], capture_output=True, text=True,
        cwd=tmp_path, timeout=60, env={**os.environ, "PYTHONPATH": str(PROJECT)})
    assert done.stdout == expected.stdout and len(done.stdout.strip()) == 32
