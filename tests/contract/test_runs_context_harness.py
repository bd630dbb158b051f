"""The harness for tests of flows: a home that comes and goes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow import flow, task
from dataflow.settings import get_settings
from dataflow.stores import open_store
from dataflow.testing import harness
from dataflow.testing.utilities import prefect_test_harness


@task
def one() -> int:
    return 1


@flow
def counted() -> int:
    return one.submit().result() + one()


def runs() -> int:
    store = open_store()
    try:
        return len(store.flow_runs())
    finally:
        store.close()


def test_runs_of_the_block_are_recorded_in_its_home_and_forgotten(dataflow_home: Path) -> None:
    counted()
    before = get_settings(), dict(os.environ), list(logging.getLogger("dataflow").handlers)
    with harness() as home:
        assert runs() == 0
        assert counted() == 2
        assert runs() == 1 and (home / "dataflow.db").exists()
        code = "from dataflow.settings import get_settings; print(get_settings().home)"
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                               check=True).stdout
        assert shown.strip() == str(home)
    assert not home.exists() and runs() == 1
    assert (get_settings(), dict(os.environ),
            list(logging.getLogger("dataflow").handlers)) == before


def test_a_store_in_the_settings_has_no_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAFLOW_STORE", str(tmp_path / "mine.db"))
    with harness():
        counted()
    assert not (tmp_path / "mine.db").exists()


def test_harnesses_nest_and_the_name_of_old_is_the_same() -> None:
    with prefect_test_harness(server_startup_timeout=5):
        counted()
        with harness():
            assert runs() == 0
        assert runs() == 1


def test_an_error_in_the_block_restores_everything_too() -> None:
    before = os.environ["DATAFLOW_HOME"]
    with pytest.raises(RuntimeError, match="inside"):
        with harness() as home:
            raise RuntimeError("inside")
    assert os.environ["DATAFLOW_HOME"] == before and not home.exists()


@harness()
def test_the_harness_is_a_decorator() -> None:
    counted()
    assert runs() == 1
