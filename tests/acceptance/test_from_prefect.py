"""The guide for people from Prefect: complete, up to date, and true as far as a test can tell."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dataflow import Flow, Task, flow, task
from runners import DaskTaskRunner

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
GUIDE = (DOCS / "from-prefect.md").read_text(encoding="utf-8")
HERE = ("same", "better")


def script() -> ModuleType:
    """Import docs/prefect_names.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("prefect_names", DOCS / "prefect_names.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NAMES = script()
ROWS: list[dict[str, Any]] = NAMES.answers()
MODULE_ROWS = [row for row in ROWS if NAMES.home_of(row)]


def there(path: str) -> bool:
    """Tell whether a dotted path leads to something."""
    parts = path.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            value = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for name in parts[count:]:
            if not hasattr(value, name):
                return False
            value = getattr(value, name)
        return True
    return False


def names_with(*answers: str, of: str | None = None) -> list[tuple[str, str]]:
    """Return (our module, name) of rows with these answers; of keywords and methods by title."""
    rows = MODULE_ROWS if of is None else [row for row in ROWS if row["module"] == of]
    return [(NAMES.home_of(row), name) for row in rows if row["answer"] in answers
            for name in row["names"]]


def test_every_public_name_of_prefect_has_one_answer() -> None:
    assert NAMES.problems(NAMES.known()["names"], ROWS) == []


def test_every_name_that_is_said_to_be_here_can_be_imported() -> None:
    assert [f"{home}.{name}" for home, name in names_with(*HERE) if not there(f"{home}.{name}")
            ] == []


def test_no_name_that_is_said_to_be_missing_is_here() -> None:
    """Where this fails something was added: put it in prefect_names.toml and run the script."""
    assert [f"{home}.{name}" for home, name in names_with("not yet", "never")
            if there(f"{home}.{name}")] == []


@pytest.mark.parametrize(("title", "make"), [("@task(...)", task), ("@flow(...)", flow)])
def test_keywords_not_there_yet_are_refused_and_the_others_taken(title: str, make: Any) -> None:
    def plain() -> None:
        """Do nothing."""

    for _, name in names_with("not yet", of=title):
        with pytest.raises((NotImplementedError, TypeError, ValueError), match=name):
            make(**{name: object()})(plain)
    for _, name in names_with(*HERE, of=title):
        make(**{name: None})(plain)


def test_methods_and_settings_of_the_dask_runner_are_there_as_said() -> None:
    for title, kind in (("Task", Task), ("Flow", Flow)):
        assert [name for _, name in names_with(*HERE, of=title) if not hasattr(kind, name)] == []
        assert [name for _, name in names_with("not yet", of=title) if hasattr(kind, name)] == []
    for _, name in names_with(*HERE, of="DaskTaskRunner(...)"):
        DaskTaskRunner(**{name: None})


def run_script(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script where no Prefect is found."""
    return subprocess.run([sys.executable, str(folder / "prefect_names.py"), *arguments],
                          capture_output=True, text=True, timeout=60, env=os.environ)


def test_tables_of_the_guide_are_as_the_script_writes_them() -> None:
    done = run_script(DOCS, "--check")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_name_without_an_answer_fails_the_script(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    names = tmp_path / "docs" / "prefect_names.json"
    found = json.loads(names.read_text())
    found["names"]["prefect"].append("brand_new")
    names.write_text(json.dumps(found))
    done = run_script(tmp_path / "docs")
    assert (done.returncode, done.stdout) == (1, "prefect.brand_new has no row\n")


def test_answer_without_a_name_fails_the_script(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    with (tmp_path / "docs" / "prefect_names.toml").open("a") as answers:
        answers.write('\n[[row]]\nmodule = "prefect"\nanswer = "same"\nnames = ["flow", "gone"]\n')
    done = run_script(tmp_path / "docs", "--check")
    assert done.returncode == 1
    assert "prefect.flow has two rows\nprefect.gone is no name of Prefect\n" in done.stdout


@pytest.mark.skipif(sys.platform == "darwin", reason="the guide's command is for GNU sed")
def test_command_of_the_guide_changes_the_imports_of_a_flow(tmp_path: Path) -> None:
    command = next(re.finditer(r"```console\n(sed .*?)\n```", GUIDE, re.DOTALL)).group(1)
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "double.py").write_text(
        "from prefect import flow, task, unmapped\n"
        "from prefect.futures import wait\n"
        "from prefect.logging import get_run_logger\n"
        "from prefect.task_runners import ThreadPoolTaskRunner\n"
        "from prefect_dask import DaskTaskRunner\n"
        "from prefect_shell import ShellOperation\n\n"
        "@task(retries=1)\ndef double(x: int, y: int) -> int:\n    return 2 * x + y\n\n"
        "@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))\n"
        "def doubles(n: int) -> list[int]:\n"
        "    get_run_logger().info('from prefect')\n"
        "    futures = double.map(range(n), unmapped(1))\n    wait(futures)\n"
        "    return futures.result()\n\n"
        "said = ShellOperation(commands=['echo hi']).run()\n"
        "print(doubles('3'), said, DaskTaskRunner.__name__)\n")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, timeout=30)
    done = subprocess.run([sys.executable, "flows/double.py"], cwd=tmp_path, capture_output=True,
                          text=True, timeout=60, env=os.environ)
    assert done.stdout == "[1, 3, 5] ['hi'] DaskTaskRunner\n", done.stderr


def test_links_of_the_guide_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", GUIDE)
    assert [link for link in links if not (DOCS / link).exists()] == []
