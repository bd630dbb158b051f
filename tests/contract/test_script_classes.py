"""Classes of a script in results and parameters: the same class wherever a flow runs or goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASE = '''
import enum, os, sys
from dataclasses import dataclass
from dataflow import flow, task
from dataflow.cache_policies import INPUTS, TASK_SOURCE

class Verdict(enum.Enum):
    OK = 1
    BAD = 2

@dataclass(frozen=True)
class Row:
    x: int

class Plain:
    def __init__(self, x):
        self.x = x

KEPT = dict(persist_result=True, cache_policy=INPUTS + TASK_SOURCE)

@task(**KEPT)
def check(i):
    return Verdict.OK

@task(**KEPT)
def row(i):
    return Row(i)

@task(**KEPT)
def plain(i):
    return [Plain(i)]

@task(isolation=os.environ.get("ISOLATION"))
def same(verdict, row, plain, i):
    return (verdict is Verdict.OK, isinstance(row, Row) and row == Row(i),
            isinstance(plain[0], Plain))

def runner():
    if os.environ.get("RUNNER") != "dask":
        return os.environ.get("RUNNER", "inline")
    from runners import DaskTaskRunner
    return DaskTaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1})

@flow
def work(mode):
    n = range(6)
    kept = check.map(n), row.map(n), plain.map(n)
    seen = same.map(*kept, n).result()
    good = [(v is Verdict.OK, isinstance(r, Row), isinstance(p[0], Plain))
            for v, r, p in zip(*(each.result() for each in kept))]
    print("VERDICT", all(map(all, seen)) and all(map(all, good)),
          mode is Verdict.OK, sorted({each.state.name for each in kept[0]}), flush=True)
    if os.environ.get("DIE"):
        os.kill(os.getpid(), 9)

def main():
    if len(sys.argv) > 1:
        work.resume(sys.argv[1])
    else:
        work.with_options(task_runner=runner())(Verdict.OK)

if __name__ == "__main__":
    main()
'''


class Case:
    """The script, and the ways to run it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.script = folder, folder / "case.py"
        self.script.write_text(CASE)

    def run(self, *command: str, runner: str = "inline", die: bool = False) -> list[str]:
        env = {**os.environ, "DATAFLOW_HOME": str(self.folder / "home"), "RUNNER": runner}
        if die:
            env["DIE"] = "1"
        done = subprocess.run([sys.executable, *command], cwd=self.folder, env=env, text=True,
                              capture_output=True, timeout=120)
        assert done.returncode == (-9 if die else 0), done.stderr
        found = [line for line in done.stdout.splitlines() if line.startswith("VERDICT")]
        assert len(found) == 1, done.stdout + done.stderr
        return found[0].split(maxsplit=3)[1:]

    def as_script(self, *arguments: str, runner: str = "inline", die: bool = False) -> list[str]:
        return self.run("case.py", *arguments, runner=runner, die=die)

    def imported(self, runner: str = "inline") -> list[str]:
        return self.run("-c", "import case; case.main()", runner=runner)

    def by_command(self, verb: str = "resume", *, die: bool = False) -> list[str]:
        return self.run("-m", "dataflow", "flow-run", verb, "last", die=die)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


RIGHT, CACHED = ["True", "True", "['Completed']"], ["True", "True", "['Cached']"]


@pytest.mark.parametrize("runner", ["inline", "threads", "dask"])
def test_a_script_finds_its_own_classes_again(case: Case, runner: str) -> None:
    assert case.as_script(runner=runner) == RIGHT
    assert case.as_script(runner=runner) == CACHED


@pytest.mark.parametrize("runner", ["inline", "dask"])
def test_what_a_script_kept_is_of_the_class_of_the_module(case: Case, runner: str) -> None:
    assert case.as_script() == RIGHT
    assert case.imported(runner) == CACHED


@pytest.mark.parametrize("runner", ["inline", "dask"])
def test_what_a_module_kept_is_of_the_class_of_the_script(case: Case, runner: str) -> None:
    assert case.imported() == RIGHT
    assert case.as_script(runner=runner) == CACHED


@pytest.mark.parametrize("then", ["inline", "dask"])
def test_what_a_worker_kept_of_a_module_is_of_the_class_of_the_module(
    case: Case, then: str,
) -> None:
    assert case.imported("dask") == RIGHT
    assert case.imported(then) == CACHED
    assert case.as_script(runner=then) == CACHED


@pytest.mark.parametrize("annotation", ["", ": Verdict"])
@pytest.mark.parametrize("runner", ["inline", "dask"])
def test_a_script_that_was_killed_goes_on_by_command_and_by_itself(
    case: Case, runner: str, annotation: str,
) -> None:
    case.script.write_text(CASE.replace("work(mode)", f"work(mode{annotation})"))
    assert case.as_script(runner=runner, die=True) == RIGHT
    by_command = case.by_command(die=True)
    assert by_command[:2] == ["True", "True"]
    assert case.as_script("last", runner=runner)[:2] == ["True", "True"]


def test_another_script_with_a_class_of_that_name_keeps_its_own(case: Case) -> None:
    assert case.as_script() == RIGHT
    (case.folder / "other.py").write_text(
        "import case\n"
        "class Row:\n    pass\n"
        "class Plain:\n    pass\n"
        "case.main()\n")
    assert case.run("other.py") == CACHED


SPAWNING = CASE.replace("    main()\n", '''    if sys.argv[1:] == ["spawn"]:
        import multiprocessing
        child = multiprocessing.get_context("spawn").Process(target=main_of_child)
        child.start()
        child.join()
    else:
        main()
''').replace("def main():", '''def main_of_child():
    sys.argv = sys.argv[:1]
    main()

def main():''')


@pytest.mark.parametrize("first", [(), ("spawn",)])
def test_a_spawned_child_and_its_parent_find_each_others_results(
    case: Case, first: tuple[str, ...],
) -> None:
    case.script.write_text(SPAWNING)
    then = () if first else ("spawn",)
    assert case.as_script(*first) == RIGHT
    assert case.as_script(*then) == CACHED


@pytest.mark.parametrize("how", ["dask", "isolated"])
def test_a_spawned_child_sends_what_its_script_defines(
    case: Case, how: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    case.script.write_text(SPAWNING)
    if how == "isolated":
        monkeypatch.setenv("ISOLATION", "process")
    runner = "dask" if how == "dask" else "threads"
    assert case.as_script("spawn", runner=runner) == RIGHT
    assert case.as_script("spawn", runner=runner) == CACHED
