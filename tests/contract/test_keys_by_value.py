"""Keys of code and of classes' instances that come to a worker by value: those of the driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from distributed import LocalCluster

SHAPES = """
import collections, dataclasses, enum, functools
from typing import NamedTuple
import pydantic

FACTOR = 3

def helper(x): return x * FACTOR

class Base:
    offset = FACTOR
    def shift(self, x): return x + self.offset

class Scale(Base):
    def __init__(self, k): self.k = k
    def __call__(self, x): return helper(x) * self.k
    def go(self, x): return self.shift(x) * self.k
    @classmethod
    def made(cls, x): return cls(x)
    @staticmethod
    def plain(x): return helper(x)

@dataclasses.dataclass
class Data:
    a: int = FACTOR
    b: "Base | None" = None
    def __call__(self, x): return self.a * x

@dataclasses.dataclass(slots=True, frozen=True)
class Slots:
    a: Base
    def __call__(self, x): return self.a.shift(x)

class Model(pydantic.BaseModel):
    a: int = FACTOR
    def __call__(self, x: Data) -> Data: return self.a * x

class Kind(enum.Enum):
    ONE = 1

class Pair(NamedTuple):
    a: int
    def go(self, x): return x + self.a

class Bad(Exception):
    pass

class Items(list):
    def __call__(self, x): return helper(x)

class Outer:
    class Inner(Base):
        pass

def local(k):
    class Local(Base):
        K = k
        def __call__(self, x): return self.shift(x) * k
    return Local

def wrapped(fn):
    @functools.wraps(fn)
    def inner(*args): return fn(*args)
    return inner

@wrapped
def decorated(x: Data): return x

Made = pydantic.create_model("Made", a=(int, 2))
VALUES = {
    "callable": Scale(2), "bound": Scale(2).go, "class method": Scale.made,
    "static method": Scale.plain, "dataclass": Data(1), "its call": Data(1).__call__,
    "slots": Slots(Base()), "model": Model(a=1), "enum": Kind.ONE, "tuple": Pair(1),
    "bound of a tuple": Pair(1).go, "exception": Bad(2), "list": Items([1]),
    "nested": Outer.Inner(), "local": local(3)(), "local class": local(3),
    "classes": [Scale, Data, Slots, Model, Kind, Pair, Bad, Items, Outer.Inner], "made": Made(),
    "made class": Made, "of the same name": pydantic.create_model("Model", a=(int, 2)),
    "its instance": pydantic.create_model("Model", a=(int, 2))(), "function": decorated,
    "lambda": lambda x: helper(x) + Scale(2)(x), "partial": functools.partial(helper, 2),
    "named tuple": collections.namedtuple("Other", "a b")(1, 2),
    "derived": type("Scale", (Scale,), {"q": 1})(2),
    "data": dataclasses.make_dataclass("Made", ["a"])(1),
}
"""
FLOW = """
import sys
from pathlib import Path
from dataflow import flow, task
from dataflow.cache_policies import INPUTS
from dataflow.hashing import digest
from runners import DaskTaskRunner, InlineTaskRunner

@task(cache_policy=INPUTS)
def named(name, value):
    with open(sys.argv[2], "a") as file:
        file.write(f"{name}\\n")
    return name

@flow
def everything():
    found = [named.submit(name, value) for name, value in VALUES.items()]
    assert [one.result() for one in found] == list(VALUES)
    assert [*named.map(list(VALUES), list(VALUES.values())).result()] == list(VALUES)

if __name__ == "__main__":
    sys.argv[2] = str(Path(sys.argv[2]).resolve())
    assert len({digest(value) for value in VALUES.values()}) == len(VALUES)
    for runner in (InlineTaskRunner(), DaskTaskRunner(address=sys.argv[1])):
        everything.with_options(task_runner=runner)()
        print(len(Path(sys.argv[2]).read_text().split("\\n")) - 1 - len(VALUES))
"""


@pytest.mark.dask
@pytest.mark.timeout(90)
@pytest.mark.parametrize("imported", [False, True], ids=["script", "module"])
def test_values_have_the_keys_of_an_inline_run_on_a_cluster_that_has_their_code_by_value(
        imported: bool, dask_cluster: LocalCluster, tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text(SHAPES)
    first = "from shapes import VALUES\n" if imported else SHAPES
    (tmp_path / "script.py").write_text(first + FLOW)
    done = subprocess.run(
        [sys.executable, "script.py", dask_cluster.scheduler_address, "computed.txt"],
        cwd=tmp_path, capture_output=True, text=True, timeout=80, check=False,
        env={**os.environ, "DATAFLOW_HOME": str(tmp_path / "home")})
    assert done.returncode == 0, done.stderr
    counts = [line for line in done.stdout.splitlines() if line.lstrip("-").isdigit()]
    assert counts == ["0", "0"], done.stdout + done.stderr
