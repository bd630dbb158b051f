"""The shape of the house: which way imports point, what an import costs, what is public."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from dataflow.code_identity.parsing import parsed

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("dataflow", "runners")
HEAVY = {"dask", "distributed", "bokeh", "alembic", "pandas", "numpy", "tornado"}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "base", "core", "misc"}


def modules() -> Iterator[Path]:
    """Yield every source file of both packages."""
    for package in PACKAGES:
        yield from sorted((PROJECT / package).rglob("*.py"))


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that are loaded once a fresh interpreter has run ``code``."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=True, cwd=PROJECT, env=os.environ)
    return set(done.stdout.split())


def test_import_contracts_of_pyproject_are_kept() -> None:
    # in a process of its own: the linter's logging set-up silences every logger there is
    script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          check=False, cwd=PROJECT, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("code", ["import dataflow", "import runners",
                                  "from dataflow import flow, task"])
def test_import_of_the_public_face_loads_nothing_heavy(code: str) -> None:
    assert loaded_after(code) & HEAVY == set()


def test_finding_a_command_does_not_load_the_service() -> None:
    loaded = loaded_after("from dataflow.cli import main, _COMMANDS, cli\n"
                          "for name in _COMMANDS: cli.get_command(None, name)")
    assert loaded & {"tornado", "prometheus_client", "distributed"} == set()


def test_import_of_the_thread_runner_does_not_load_dask() -> None:
    loaded = loaded_after("from runners import ThreadPoolTaskRunner, InlineTaskRunner")
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_imported(package: str) -> None:
    module = import_module(package)
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    assert missing == []


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert path.stem not in VAGUE_NAMES
    assert ast.get_docstring(parsed(path.read_text())), "no docstring"


def test_runner_entry_points_name_what_exists() -> None:
    from importlib.metadata import entry_points

    names = {point.name: point.load().__name__ for point in entry_points(group="dataflow.runners")}
    assert names == {"inline": "InlineTaskRunner", "threads": "ThreadPoolTaskRunner",
                     "dask": "DaskTaskRunner"}
