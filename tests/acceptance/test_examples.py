"""Every example runs, checks itself, and leaves nothing outside the home it was given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((PROJECT / "examples").glob("*.py"))
ARGUMENTS = {"flights": ["--limit", "4000", "--runner", "threads"]}


def run(example: Path, *arguments: str, user_home: Path) -> subprocess.CompletedProcess[str]:
    """Run an example as a user does, with a home folder of its own."""
    environment = {**os.environ, "HOME": str(user_home), "PYTHONWARNINGS": "error::ResourceWarning"}
    return subprocess.run([sys.executable, str(example), *arguments], cwd=user_home, text=True,
                          env=environment, capture_output=True, timeout=100)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_finds_its_own_check_right(example: Path, tmp_path: Path) -> None:
    done = run(example, *ARGUMENTS.get(example.stem, []), user_home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
    assert list(tmp_path.iterdir()) == []


def test_flights_on_dask_accounts_for_each_flight_and_groups_failures(tmp_path: Path) -> None:
    done = run(PROJECT / "examples" / "flights.py", "--limit", "4000", user_home=tmp_path)
    out = done.stdout
    assert done.returncode == 0, out + done.stderr
    assert "Dask dashboard: http://127.0.0.1:" in out
    assert "Equal to plain Python: yes" in out
    # of the first 4,000 flights 3,953 came to an air time
    words = [line.split(maxsplit=1) for line in out.splitlines() if ": " in line]
    lines = dict(words)
    assert lines["parse"] == "Completed: 3,953 Failed: 47"
    assert lines["join_weather"] == lines["delay_row"] == "Completed: 3,953 NotReady: 47"
    assert "cancelled: it never departed" in out
    assert "flow-run inspect last" in out


def test_flights_that_differ_from_plain_python_fail_the_command(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong_flights.py"
    source = (PROJECT / "examples" / "flights.py").read_text()
    assert "expected, total, not_flown = in_plain_python" in source
    wrong.write_text(source.replace(
        'outcome["report"] == expected', 'outcome["report"] == {**expected, "UA": [0] * 5}'))
    done = run(wrong, "--limit", "500", "--runner", "inline", user_home=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Equal to plain Python: NO" in done.stdout
