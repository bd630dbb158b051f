"""What a version records of its code: commit, digest, packages; out of real repositories."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from dataflow import flow
from dataflow.deployments import Provenance, Source, provenance_of
from dataflow.deployments.imported_packages import packages_of
from dataflow.deployments.provenance import commit_of
from dataflow.entrypoints import load_flow
from tests.git_support import Repository

JOB = """
from dataflow import flow
import json
from pv_shop import prices
from . import rates

def late():
    import pandas as pd
    return pd

@flow
def main():
    return prices.VALUE, {!r}
"""
FILES = {
    "pv_shop/__init__.py": "", "pv_shop/rates.py": "from sqlalchemy.orm import Session\n",
    "pv_shop/prices.py": "import yaml\nVALUE = 1\n",
    "pv_shop/job.py": JOB.format("one"), ".gitignore": "*.log\n",
}


@pytest.fixture(autouse=True)
def _imports_are_undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.startswith("pv_")]:
        del sys.modules[name]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "code.git", tmp_path / "work")
    made.commit(FILES)
    return made


def test_version_of_fetched_code_records_commit_digest_and_packages(
    repository: Repository, tmp_path: Path
) -> None:
    got = Source.parse(repository.url).fetch(tmp_path / "home")
    loaded = load_flow("pv_shop.job:main", got.folder)
    found = provenance_of(loaded, got.folder, got.revision)
    assert found.revision == found.commit == repository.head() and found.dirty is False
    assert len(found.code_digest or "") == 32 and found.code_note is None
    assert {name: found.packages[name] for name in (
        "dask", "distributed", "pandas", "PyYAML", "sqlalchemy")} == {
            name: version(name) for name in (
                "dask", "distributed", "pandas", "PyYAML", "sqlalchemy")}
    assert "dataflow" in found.packages and not {"json", "pv_shop", "pytest"} & set(found.packages)
    assert (found.python, found.machine) == (platform.python_version(), platform.machine())
    assert Provenance.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert Provenance.from_json({**found.to_json(), "of_a_later_version": 1}) == found


def test_digest_follows_the_code_that_the_flow_reaches(repository: Repository) -> None:
    digests = set()
    for text in (JOB.format("one"), "# note\n" + JOB.format("one"), JOB.format("two")):
        (repository.work / "pv_shop" / "job.py").write_text(text)
        for name in [name for name in sys.modules if name.startswith("pv_")]:
            del sys.modules[name]
        loaded = load_flow("pv_shop/job.py:main", repository.work)
        digests.add(provenance_of(loaded, repository.work).code_digest)
    assert len(digests) == 2 and None not in digests


def test_code_that_has_no_digest_says_why(tmp_path: Path) -> None:
    (tmp_path / "pv_lock.py").write_text(
        "import threading\nfrom dataflow import flow\nLOCK = threading.Lock()\n\n"
        "@flow\ndef main():\n    with LOCK:\n        pass\n")
    found = provenance_of(load_flow("pv_lock.py:main", tmp_path), tmp_path)
    assert found.code_digest is None and "LOCK" in (found.code_note or "")


@pytest.mark.parametrize("change, dirty", [
    ({}, False), ({"pv_shop/job.py": "changed"}, True), ({"new.py": ""}, True),
    ({"ignored.log": ""}, False), ({"pv_shop/__pycache__/job.pyc": ""}, False),
])
def test_folder_is_dirty_where_its_files_are_not_those_of_the_commit(
    repository: Repository, change: dict[str, str], dirty: bool
) -> None:
    for name, text in change.items():
        (repository.work / name).parent.mkdir(exist_ok=True)
        (repository.work / name).write_text(text)
    assert commit_of(repository.work) == (repository.head(), dirty)


def test_only_the_folder_counts_not_what_lies_beside_it(repository: Repository) -> None:
    (repository.work / "beside.py").write_text("")
    assert commit_of(repository.work / "pv_shop") == (repository.head(), False)


def test_folder_without_a_repository_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commit_of(tmp_path) == (None, None)
    assert commit_of(tmp_path / "gone") == (None, None)
    monkeypatch.setenv("PATH", "/nowhere")
    assert commit_of(Path(__file__).parent) == (None, None)


def test_flow_of_a_test_knows_its_packages_and_modules_that_are_no_python_are_passed_over(
    tmp_path: Path
) -> None:
    @flow
    def here() -> None: ...

    assert "pytest" in packages_of(here.fn)
    (tmp_path / "pv_broken.py").write_text("def (")
    (tmp_path / "pv_uses.py").write_text(
        "from dataflow import flow\nimport numpy\n\ndef late():\n    import pv_broken\n\n"
        "@flow\ndef main(): ...\n")
    assert "numpy" in packages_of(load_flow("pv_uses.py:main", tmp_path).fn)
