"""Runs in the worker's own process: what is put back after one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dataflow.service.inline import as_it_was


def test_the_process_is_put_back_though_the_run_removed_the_folder_that_it_stood_in(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worker").mkdir()
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "worker")
    monkeypatch.setenv("KEPT", "a")
    with as_it_was("no run"):
        os.chdir(tmp_path / "run")
        (tmp_path / "run").rmdir()
        os.environ["KEPT"] = "b"
        os.environ["OF_THE_RUN"] = "c"
        sys.path.append("/of/the/run")
    assert Path.cwd() == tmp_path / "worker"
    assert (os.environ["KEPT"], os.environ.get("OF_THE_RUN")) == ("a", None)
    assert "/of/the/run" not in sys.path
