"""Where in a source the file of a flow stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.deployments.source_places import place_in_source
from dataflow.entrypoints import load_flow

FLOW = "from dataflow import flow\n\n@flow\ndef main():\n    return 1\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    (folder / "jobs").mkdir(parents=True)
    (folder / "jobs" / "etl.py").write_text(FLOW)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(("source", "place"), [
    (".", "jobs/etl.py:main"), ("jobs", "etl.py:main"), ("..", "here/jobs/etl.py:main"),
    ("git+https://host/repo.git@main", "jobs/etl.py:main"),
    ("git+https://host/repo.git#subfolder=jobs", "etl.py:main"),
    ("git+https://host/repo.git#subfolder=other", "jobs/etl.py:main"),
    ("s3://bucket/code.zip", "jobs/etl.py:main"),
])
def test_a_file_within_the_source_is_named_as_from_there(
        here: Path, source: str, place: str) -> None:
    assert place_in_source(f"{here / 'jobs' / 'etl.py'}:main", source) == place


@pytest.mark.parametrize("copy", ["jobs/etl.py", "etl.py"])
def test_a_copy_in_another_folder_is_found(here: Path, copy: str) -> None:
    other = here.parent / "other"
    (other / copy).parent.mkdir(parents=True)
    (other / copy).write_text(FLOW)
    place = f"{here / 'jobs' / 'etl.py'}:main"
    assert place_in_source(place, str(other)) == f"{copy}:main"
    spec = load_flow(place).to_deployment("d", source=str(other))
    assert spec.entrypoint == f"{copy}:main"
    assert load_flow(place).to_deployment("d", source=str(other), entrypoint="x.py:y"
                                          ).entrypoint == "x.py:y"


def test_what_the_source_does_not_have_and_modules_stay_as_they_are(here: Path) -> None:
    (here.parent / "other").mkdir()
    place = f"{here / 'jobs' / 'etl.py'}:main"
    assert place_in_source(place, str(here.parent / "other")) == place
    assert place_in_source("package.jobs:main", ".") == "package.jobs:main"
