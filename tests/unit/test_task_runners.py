"""Names of Prefect's modules that lead to the same things here."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import dataflow.task_runners
import dataflow.utilities.annotations
from dataflow import annotations
from runners import DaskTaskRunner, InlineTaskRunner, ThreadPoolTaskRunner


def test_names_of_task_runners_are_the_installed_classes() -> None:
    from dataflow.task_runners import ConcurrentTaskRunner
    from dataflow.task_runners import DaskTaskRunner as Dask
    from dataflow.task_runners import InlineTaskRunner as Inline
    from dataflow.task_runners import ThreadPoolTaskRunner as Threads

    assert (ConcurrentTaskRunner, Threads) == (ThreadPoolTaskRunner, ThreadPoolTaskRunner)
    assert (Dask, Inline) == (DaskTaskRunner, InlineTaskRunner)
    assert pickle.loads(pickle.dumps(Threads(max_workers=2))) == ThreadPoolTaskRunner(2)


def test_importing_a_name_loads_its_runner_alone() -> None:
    script = ("import sys, dataflow.task_runners as t; assert 'runners' not in sys.modules; "
              "t.ThreadPoolTaskRunner; assert 'distributed' not in sys.modules")
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_runner_that_nobody_offers_is_no_attribute() -> None:
    with pytest.raises(ImportError, match="RayTaskRunner"):
        from dataflow.task_runners import RayTaskRunner  # noqa: F401
    assert "DaskTaskRunner" in dir(dataflow.task_runners)


@pytest.mark.parametrize("path", [
    "shell.run", "task_runners.ThreadPoolTaskRunner", "flows.Flow", "tasks.Task"])
def test_modules_are_attributes_of_the_package(path: str) -> None:
    script = f"import dataflow; dataflow.{path}"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_annotations_are_the_same_under_both_paths() -> None:
    for name in dataflow.utilities.annotations.__all__:
        assert getattr(dataflow.utilities.annotations, name) is getattr(annotations, name)
