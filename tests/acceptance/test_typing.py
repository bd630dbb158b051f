"""What type checkers see of tasks and flows: signatures are kept, wrong arguments refused.

The samples in ``tests/typing_samples`` say what they expect by ``assert_type``,
and by an ignore on each line that must be an error: mypy reports one that is not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "tests" / "typing_samples").glob("*.py"))


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return what mypy says of all samples, line by line."""
    cache = tmp_path_factory.mktemp("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--warn-unused-ignores",
         "--ignore-missing-imports", "--follow-imports=silent", "--no-error-summary",
         "--cache-dir", str(cache), *map(str, SAMPLES)],
        cwd=ROOT, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=110, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_type_checker_sees_what_the_sample_says(said: list[str], sample: Path) -> None:
    assert sample.read_text().count("assert_type(") > 5
    assert [line for line in said if sample.name in line] == []
