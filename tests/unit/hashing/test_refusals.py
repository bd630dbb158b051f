"""What is not cacheable says so, with the path to the part and the way out."""

from __future__ import annotations

import asyncio
import io
import pickle
import socket
import threading
import weakref
from collections import OrderedDict, namedtuple
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dataflow.exceptions import DataflowError, NotCacheable
from dataflow.hashing import digest

LOCK = threading.Lock()
Pair = namedtuple("Pair", "left right")


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock = LOCK


class Pickled:
    def __getstate__(self) -> dict[str, Any]:
        return {}


class Reduced:
    def __reduce__(self) -> Any:
        return (Reduced, ())


@dataclass
class Config:
    rate: float
    lock: Any = LOCK


class Prickly:
    @property
    def shown(self) -> int:
        return 1

    def __dataflow_hash__(self) -> Any:
        raise KeyError("no such thing")


def frame_with(value: Any) -> pd.DataFrame:
    return pd.DataFrame({"n": [1, 2], "x": pd.Series([1, value], dtype=object)})


async def coroutine() -> None:
    pass


PATHS = [
    (LOCK, "v", "is a _thread.lock"),
    ([1, LOCK], "v[1]", "is a _thread.lock"),
    ((1, [2, (LOCK,)]), "v[1][1][0]", "is a _thread.lock"),
    ({"a": 1, "cfg": Plain(lock=LOCK)}, "v['cfg'].lock", "is a _thread.lock"),
    ({1: {"b": LOCK}}, "v[1]['b']", "is a _thread.lock"),
    ({LOCK: 1}, f"v (its key {LOCK!r})"[:75], "is a _thread.lock"),
    ({LOCK}, "v{…}", "is a _thread.lock"),
    (OrderedDict(a=LOCK), "v['a']", "is a _thread.lock"),
    (Pair(1, LOCK), "v.right", "is a _thread.lock"),
    (Config(1.0), "v.lock", "is a _thread.lock"),
    (Slotted(), "v.lock", "is a _thread.lock"),
    (Exception(LOCK), "v.args[0]", "is a _thread.lock"),
    (threading.Event(), "v._cond._lock", "is a _thread.lock"),
    ((n for n in range(3)), "v", "is an iterator (generator)"),
    ([iter([1])], "v[0]", "is an iterator (list_iterator)"),
    (count(), "v", "is an iterator (itertools.count)"),
    (map(str, [1]), "v", "is an iterator (map)"),
    (zip([1]), "v", "is an iterator (zip)"),
    (io.StringIO("a"), "v", "is an open file (_io.StringIO)"),
    (Future(), "v", "is a future (concurrent.futures._base.Future)"),
    (weakref.ref(Plain), "v", "is a weakref.ReferenceType"),
    (threading.local(), "v", "is a _thread._local"),
    (object(), "v", "is an object()"),
    (Pickled(), "v", "which says itself how it is pickled"),
    ([Reduced()], "v[0]", "which says itself how it is pickled"),
    (np.array([1, LOCK], dtype=object), "v[1]", "is a _thread.lock"),
    (np.array([[1, 2], [3, LOCK]], dtype=object), "v[1, 1]", "is a _thread.lock"),
    (frame_with(LOCK), "v['x'][1]", "is a _thread.lock"),
    (pd.Series([1, LOCK]), "v[1]", "is a _thread.lock"),
    (pd.DataFrame({"a": [1]}).groupby("a"), "v", "GroupBy"),
]


@pytest.mark.parametrize("value, path, reason", PATHS)
def test_refusal_names_the_path_and_the_kind(value: Any, path: str, reason: str) -> None:
    with pytest.raises(NotCacheable) as caught:
        digest(value, name="v")
    error = caught.value
    assert reason in error.reason
    assert error.path.startswith(path) and (path.endswith("…") or len(path) >= 60 or (
        error.path == path))
    assert str(error).startswith(f"not cacheable because {error.path} {error.reason}: ")


def test_refusal_says_how_to_leave_the_argument_out() -> None:
    with pytest.raises(NotCacheable, match=r"args\['cfg'\].lock .*INPUTS - 'cfg'"):
        digest({"cfg": Plain(lock=LOCK)}, name="args")
    with pytest.raises(NotCacheable, match=r"because cfg.lock is .*INPUTS - 'cfg'"):
        digest(Plain(lock=LOCK), name="cfg")


def test_refusal_is_a_type_error_of_the_tree_that_survives_pickle() -> None:
    with pytest.raises(NotCacheable) as caught:
        digest([LOCK], name="x")
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, TypeError) and isinstance(again, DataflowError)
    assert (str(again), again.path, again.reason) == (
        str(caught.value), "x[0]", "is a _thread.lock")


def test_sockets_and_coroutines_are_refused() -> None:
    waiting = coroutine()
    with socket.socket() as wire, pytest.raises(NotCacheable):
        digest(wire)
    with pytest.raises(NotCacheable):
        digest(waiting)
    waiting.close()
    loop = asyncio.new_event_loop()
    with pytest.raises(NotCacheable, match="is a future"):
        digest(loop.create_future())
    loop.close()


def test_ufunc_made_of_a_function_is_refused() -> None:
    assert digest(np.sin) != digest(np.cos)
    with pytest.raises(NotCacheable, match="none of NumPy's"):
        digest(np.frompyfunc(lambda x: x, 1, 1))


def test_generator_is_not_used_up_by_the_refusal() -> None:
    values = iter([1, 2])
    with pytest.raises(NotCacheable):
        digest({"a": values})
    assert list(values) == [1, 2]


def test_hook_that_raises_is_named_and_its_error_chained() -> None:
    with pytest.raises(NotCacheable, match=r"v\[0\] is a .*Prickly.*__dataflow_hash__.*no such"
                       ) as caught:
        digest([Prickly()], name="v")
    assert isinstance(caught.value.__cause__, KeyError)


def test_lambda_inside_of_what_a_hook_returns_has_a_path_through_the_hook() -> None:
    class Hooked:
        def __dataflow_hash__(self) -> Any:
            return {"a": LOCK}

    with pytest.raises(NotCacheable, match=r"v\.__dataflow_hash__\(\)\['a'\] is a _thread.lock"):
        digest(Hooked(), name="v")
