"""The table of the hasher's documentation, line by line, and pairs that it is too short for."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from fractions import Fraction
from math import nan
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from pydantic_core import PydanticUndefined

import dataflow.hashing
from dataflow.hashing import digest

Point = namedtuple("Point", "x y")
Place = namedtuple("Place", "x y")
one = [1]


class Colour(Enum):
    RED = 1
    BLUE = 2


class Number(IntEnum):
    ONE = 1


class Flags(IntFlag):
    A = 1
    B = 2


class Text(str):
    pass


class Numbers(list):
    pass


NAMES = {**globals(), "o": [0]}
ROWS = re.findall(r"^``(.+?)`` +``(.+?)`` +(same|apart)$", dataflow.hashing.__doc__, re.MULTILINE)


def test_table_is_read() -> None:
    assert len(ROWS) >= 35


@pytest.mark.parametrize("left, right, keys", ROWS)
def test_row_of_the_table_holds(left: str, right: str, keys: str) -> None:
    same = digest(eval(left, NAMES)) == digest(eval(right, NAMES))
    assert same == (keys == "same")


@pytest.mark.parametrize("left, right, keys", ROWS)
def test_row_of_the_table_holds_inside_of_containers(left: str, right: str, keys: str) -> None:
    one, other = eval(left, NAMES), eval(right, NAMES)
    for wrap in (lambda x: [x], lambda x: {"a": (x,)}, lambda x: [[[x]], x, list(range(100))]):
        assert (digest(wrap(one)) == digest(wrap(other))) == (keys == "same")


ALL_APART: list[Any] = [
    None, True, False, ..., NotImplemented, 0, 1, -1, 255, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1,
    2**64, 2**5000, 0.0, -0.0, 1.0, float("inf"), -float("inf"), nan, 0j, complex(0, -0.0),
    complex(nan, 0), "", "0", "\ud800", "\ud83d\ude00", "\U0001f600", "a" * 1024, "a" * 1025,
    "a" * 1026, b"", b"a" * 1024, b"a" * 1025, bytearray(), bytearray(b"a" * 1025),
    memoryview(b""), memoryview(b"a"), [], (), {}, set(), frozenset(), [None], [[]], [[], []],
    ([],), [()], {1}, {(1,)}, {1: 1}, {1: None}, {None: 1}, {(1,): [1]}, {1: {1: 1}},
    [1, [2, 3]], [[1, 2], 3], [1, 2, 3], ["ab", "c"], ["a", "bc"], ["abc"],
    range(3), range(0), slice(3), slice(0, 3), slice(None), Colour.RED, Colour.BLUE, Number.ONE,
    Flags.A, Flags.A | Flags.B, Point(1, 2), Place(1, 2), Point(2, 1), Text("0"), Numbers(),
    Numbers([1]), OrderedDict(), defaultdict(list), defaultdict(int), defaultdict(None), Counter(),
    Counter("a"), deque(), deque(maxlen=3), SimpleNamespace(), SimpleNamespace(a=1),
    date(2020, 1, 1), datetime.fromisoformat("2020-01-01"), datetime(2020, 1, 1, tzinfo=UTC),
    datetime(2020, 1, 1, tzinfo=timezone(timedelta(0), "Z")),
    datetime(2020, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), time(), timedelta(), UTC,
    ZoneInfo("UTC"), Decimal(0), Decimal("-0"), Decimal("NaN"), Decimal("sNaN"), Decimal("Inf"),
    Fraction(0), UUID(int=0), Path("a"), PurePosixPath("a"), PureWindowsPath("a"), Path("/a"),
    re.compile("a"), re.compile("a", re.IGNORECASE), re.compile(b"a"),
    int, str, list[int], int | str, Colour,
    Exception(), Exception("a"), ValueError("a"), OSError(2, "x", "a"), OSError(2, "x", "b"), len,
    [].append, re, np.int32(0), np.int64(0), np.float64(0), np.bool_(False), np.str_("0"),
    np.datetime64(0, "s"), np.datetime64(0, "ms"), np.timedelta64(0, "s"), np.dtype("i4"),
    pd.NaT, pd.NA, pd.Timestamp(0), pd.Timestamp(0, tz="UTC"), pd.Timedelta(0),
    pd.Period("2020"), pd.Interval(0, 1), pd.Interval(0, 1, closed="both"),
    pd.offsets.Day(1), pd.offsets.Day(2), pd.offsets.Hour(1), pd.DateOffset(days=1),
    PydanticUndefined, np.ma.masked, np.ma.array(0.0, mask=True),
]


def test_values_of_a_long_list_are_all_told_apart() -> None:
    found: dict[bytes, Any] = {}
    for value in ALL_APART:
        key = digest(value)
        assert key not in found, (value, found[key])
        assert len(key) == 16 and digest(value) == key
        found[key] = value


def test_shortcut_for_small_containers_gives_what_the_walk_gives() -> None:
    from dataflow.hashing.encoding import final
    from dataflow.hashing.walk import Walk

    for value in [(), [], {}, (1, "a", 2.5), ["a" * 100], {"a": 1, 2: None}, list(range(32)),
                  {i: str(i) for i in range(32)}, dict.fromkeys("cab", "x" * 2000)]:
        assert digest(value) == final(Walk("value").encode(value))


@pytest.mark.parametrize("size", [31, 32, 33, 4095, 4096, 4097, 9000])
def test_long_list_with_and_without_parts_differs_at_every_place(size: int) -> None:
    plain: list[Any] = list(range(size))
    keys = {digest(plain)}
    for place in (0, size // 2, size - 1):
        for other in (-1, [place], (place,)):
            changed = plain.copy()
            changed[place] = other
            keys.add(digest(changed))
    assert len(keys) == 10
    assert digest(list(range(size))) in keys


@pytest.mark.parametrize("odd", [nan, -0.0, 2**63, -(2**63), True, np.float64(1), "a", [1], None])
def test_numbers_taken_by_the_batch_are_as_one_by_one(odd: Any) -> None:
    from dataflow.hashing.encoding import final, sequence_head
    from dataflow.hashing.walk import Walk

    for numbers in ([float(n) for n in range(5000)], list(range(5000)), [float("inf")] * 100):
        for place in (0, 50, 99, len(numbers) - 1):
            changed = [*numbers[:place], odd, *numbers[place + 1:]]
            raw = sequence_head(list, len(changed)) + b"".join(
                Walk("v").encode(item) for item in changed)
            assert digest(changed) == final(b"#" + final(raw))


def test_digest_is_what_it_was_in_the_first_release() -> None:
    # a change of the format must be meant: it makes every cache worthless
    assert digest((1, "a", 2.5)).hex() == "70da9df7fc22ddf0c6a6609909628a77"
    assert digest({"a": 1, "b": [1, 2, {3}]}).hex() == "9726b73532efb400eb2d990701dff06d"
    array = np.arange(6.0).reshape(2, 3)
    assert digest(array).hex() == digest(np.asfortranarray(array)).hex() == ARRAY


ARRAY = "89203b48cf6e34050fa52a1c30029c03"
