"""Tests that need a server say so where there is none, and fail in continuous integration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TEST = """
import pytest

def test_asks(postgres_url):
    pass

def test_is_skipped_for_another_reason():
    pytest.skip("not today")
"""


@pytest.mark.parametrize("ci, code", [("", 0), ("true", 1)])
def test_a_missing_server_is_a_skip_with_its_reason_and_a_failure_in_ci(
    tmp_path: Path, ci: str, code: int
) -> None:
    (tmp_path / "test_asks.py").write_text(TEST)
    # a server that starts nowhere: the folder of its programs is empty
    hidden = ("import tests.postgres_support as s, sys, pytest\n"
              "s.shutil.which = lambda name: None; s.glob = lambda pattern: []\n"
              "sys.exit(pytest.main(sys.argv[1:]))")
    environment = {**os.environ, "CI": ci}
    environment.pop("DATAFLOW_TEST_POSTGRES", None)
    done = subprocess.run(
        [sys.executable, "-c", hidden, "-rs", "-p", "tests.conftest", "-c",
         str(PROJECT / "pyproject.toml"), "--rootdir", str(PROJECT), str(tmp_path)],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "no server: initdb and pg_ctl are not installed" in done.stdout
    assert ("must not be skipped" in done.stdout) == bool(code)
