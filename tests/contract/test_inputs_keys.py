"""Keys by INPUTS alone: no two functions share a record because they have one name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataflow import flow, task
from dataflow.cache_policies import INPUTS


class Base:
    """Two classes whose methods have one qualified name."""

    kind = 1

    def __init__(self, k: int = 0) -> None:
        self.k = k

    def go(self, x: int) -> tuple[str, int, int]:
        return type(self).__name__, self.k, x

    @classmethod
    def made(cls, x: int) -> tuple[str, int, int]:
        return cls.__name__, cls.kind, x


class Derived(Base):
    """The other."""

    kind = 2


def by_inputs(fn: Any, name: str) -> Any:
    return task(fn, name=name, cache_policy=INPUTS)


@flow(task_runner="inline")
def calling(fns: list[Any], x: Any) -> list[Any]:
    return [by_inputs(fn, "one name")(x) for fn in fns]


@pytest.mark.parametrize(("fns", "x"), [
    ([Base(1).go, Base(2).go, Derived(1).go], 5),
    ([Base.made, Derived.made], 5),
    (["a".join, "b".join], ["x", "y"]),
])
def test_methods_of_other_objects_are_other_functions(fns: list[Any], x: Any) -> None:
    expected = [fn(x) for fn in fns]
    assert calling(fns, x) == expected
    assert calling(fns, x) == expected


def test_a_name_that_is_given_twice_in_a_module_is_two_functions(tmp_path: Path) -> None:
    script = tmp_path / "twice.py"
    script.write_text("""
from dataflow import flow, task
from dataflow.cache_policies import INPUTS

@task(cache_policy=INPUTS)
def load(n):
    return "first"

first = load

@task(cache_policy=INPUTS)
def load(n):
    return "second"

@flow(task_runner="inline")
def both():
    return first(1), load(1)

print(both(), both())
""")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('first', 'second') ('first', 'second')"


def test_scripts_of_one_name_in_two_folders_keep_their_own_results(tmp_path: Path) -> None:
    text = """
from dataflow import flow, task
from dataflow.cache_policies import INPUTS

@task(cache_policy=INPUTS)
def load(n):
    return "WHAT"

@flow(task_runner="inline")
def f():
    return load(1, return_state=True)

if __name__ == "__main__":
    state = f()
    print(state.name, state.result())
"""

    def run(folder: str, *how: str) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "main.py").write_text(text.replace("WHAT", folder))
        command = how or ("main.py",)
        done = subprocess.run([sys.executable, *command], cwd=tmp_path / folder,
                              capture_output=True, text=True, check=True, env=os.environ)
        return done.stdout.strip()

    assert run("customers") == "Completed customers"
    assert run("invoices") == "Completed invoices"
    assert run("customers") == "Cached customers"
    imported = "import main; state = main.f(); print(state.name, state.result())"
    assert run("invoices", "-c", imported) == "Cached invoices"


@pytest.mark.dask
@pytest.mark.parametrize("how", ["script", "module"])
def test_a_call_inside_of_a_task_on_a_worker_has_the_key_of_the_flow(
    tmp_path: Path, how: str,
) -> None:
    (tmp_path / "case.py").write_text("""
from dataflow import flow, task
from dataflow.cache_policies import INPUTS
from runners import DaskTaskRunner

@task(cache_policy=INPUTS)
def leaf(x):
    with open("book", "a") as book:
        book.write(f"leaf {x} ")
    return x

@task
def parent(x):
    return leaf(x)

@flow(task_runner=DaskTaskRunner(cluster_kwargs={"n_workers": 1, "threads_per_worker": 1}))
def f():
    return leaf(1), parent.submit(1).result(), parent.submit(2).result(), leaf(2)

def main():
    print(f())

if __name__ == "__main__":
    main()
""")
    command = ["case.py"] if how == "script" else ["-c", "import case; case.main()"]
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ, timeout=120)
    assert done.stdout.strip() == "(1, 1, 2, 2)", done.stderr
    assert (tmp_path / "book").read_text() == "leaf 1 leaf 2 "
