"""Entry points: what a text names, how a flow is loaded from it, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow import flow
from dataflow.entrypoints import Entrypoint, entrypoint_of, entrypoint_within, load_flow
from dataflow.exceptions import ResumeError

FLOW = """
from dataflow import flow

@flow
def main(n: int = 1):
    return n, __name__
"""


@pytest.fixture(autouse=True)
def _imports_are_undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.startswith("ep_")]:
        del sys.modules[name]


def write(path: Path, text: str = FLOW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("text, place, name, is_module", [
    ("job.py:main", "job.py", "main", False),
    ("flows/job.py:Reports.nightly", "flows/job.py", "Reports.nightly", False),
    ("/srv/a:b/job.py:main", "/srv/a:b/job.py", "main", False),
    ("bin/job:main", "bin/job", "main", False),
    ("my-job:main", "my-job", "main", False),
    ("package.module:main", "package.module", "main", True),
    ("job:main", "job", "main", True),
])
def test_text_names_a_file_or_a_module(text: str, place: str, name: str, is_module: bool) -> None:
    found = Entrypoint.parse(text)
    assert found == Entrypoint(place, name, is_module) and str(found) == text


@pytest.mark.parametrize("text", ["", "job.py", "job.py:", ":main", "a\0b.py:main"])
def test_text_that_names_no_flow_is_refused(text: str) -> None:
    with pytest.raises(ResumeError, match=r"package\.module:function") as caught:
        load_flow(text)
    assert caught.value.entrypoint == text


def test_path_is_relative_to_the_folder_given(tmp_path: Path) -> None:
    file = write(tmp_path / "flows" / "ep_one.py")
    loaded = load_flow("flows/ep_one.py:main", tmp_path)
    assert loaded.name == "main" and loaded.fn() == (1, "ep_one")
    assert entrypoint_of(loaded.fn) == f"{file}:main"


def test_path_is_relative_to_the_current_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "ep_two.py")
    monkeypatch.chdir(tmp_path)
    assert load_flow("ep_two.py:main").fn() == (1, "ep_two")
    assert load_flow("./ep_two.py:main").fn() == (1, "ep_two")
    write(tmp_path / "ep_three.py")
    assert load_flow("ep_three:main").fn() == (1, "ep_three")


def test_module_is_found_in_the_folder_given_with_its_package(tmp_path: Path) -> None:
    write(tmp_path / "ep_package" / "__init__.py", "")
    write(tmp_path / "ep_package" / "jobs.py")
    by_name = load_flow("ep_package.jobs:main", tmp_path)
    assert by_name.fn() == (1, "ep_package.jobs")
    assert load_flow("ep_package/jobs.py:main", tmp_path) is by_name


def test_module_is_found_on_the_path_of_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "lib" / "ep_installed" / "jobs.py")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    assert load_flow("ep_installed.jobs:main", tmp_path).fn() == (1, "ep_installed.jobs")


def test_file_without_suffix_counts_before_a_module_of_its_name(tmp_path: Path) -> None:
    write(tmp_path / "json", "raise ImportError('read as a file')")
    with pytest.raises(ResumeError, match="json cannot be imported"):
        load_flow("json:main", tmp_path)


@pytest.mark.parametrize("entrypoint, said", [
    ("gone.py:main", "There is no file gone.py in "),
    ("ep_gone.jobs:main", "There is no module ep_gone.jobs in "),
    ("ep_here.py:other", "has no flow 'other'. It has: main."),
    ("ep_here:mian", "module ep_here has no flow 'mian'. Is 'main' meant?"),
    ("ep_here:flow", "'flow' in module ep_here is no flow, but of type function"),
    ("ep_empty.py:main", "has no flow 'main'. It has none"),
    ("ep_here.py:f.<locals>.g", "made inside of a function"),
    ("ep_needs:main", "cannot be imported: ModuleNotFoundError: No module named 'ep_missing"),
    ("ep_exits.py:main", "cannot be imported: SystemExit: 3"),
])
def test_what_cannot_be_loaded_is_named(tmp_path: Path, entrypoint: str, said: str) -> None:
    write(tmp_path / "ep_here.py")
    write(tmp_path / "ep_needs.py", "import ep_missing_thing")
    write(tmp_path / "ep_empty.py", "x = 1")
    write(tmp_path / "ep_exits.py", "raise SystemExit(3)")
    with pytest.raises(ResumeError) as caught:
        load_flow(entrypoint, tmp_path)
    assert said in str(caught.value) and caught.value.entrypoint == entrypoint


@pytest.mark.parametrize("entrypoint", ["ep_calls.py:main", "ep_calls:main"])
def test_flow_that_is_called_as_its_module_is_imported_is_refused(
    tmp_path: Path, entrypoint: str
) -> None:
    write(tmp_path / "ep_calls.py", FLOW + "\nmain()\n")
    with pytest.raises(ResumeError, match="calls flow 'main' as it is imported"):
        load_flow(entrypoint, tmp_path)
    assert "ep_calls" not in sys.modules


@pytest.mark.parametrize("entrypoint", ["ep_twice.jobs:main", "ep_twice/jobs.py:main"])
def test_package_of_another_folder_that_is_loaded_is_not_taken_for_it(
    tmp_path: Path, entrypoint: str
) -> None:
    for folder in ("old", "new"):
        write(tmp_path / folder / "ep_twice" / "__init__.py", "")
        write(tmp_path / folder / "ep_twice" / "jobs.py")
    load_flow(entrypoint, tmp_path / "old")
    with pytest.raises(ResumeError, match="this process has loaded that module from .*/old/"):
        load_flow(entrypoint, tmp_path / "new")


def test_entry_point_is_made_relative_to_a_folder_that_holds_it(tmp_path: Path) -> None:
    write(tmp_path / "flows" / "job.py")
    whole = f"{tmp_path}/flows/job.py:main"
    assert entrypoint_within(whole, tmp_path) == "flows/job.py:main"
    assert entrypoint_within(whole, tmp_path / "flows") == "job.py:main"
    assert entrypoint_within(whole, tmp_path / "other") == whole
    assert entrypoint_within("package.module:main", tmp_path) == "package.module:main"


def test_flow_of_this_file_is_found_again() -> None:
    @flow
    def here() -> None: ...

    assert entrypoint_of(here.fn) == (
        f"{Path(__file__).resolve()}:test_flow_of_this_file_is_found_again.<locals>.here")
