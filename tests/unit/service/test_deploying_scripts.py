"""Scripts that deploy or serve their own flows: where the flow is found again, and when not."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from dataflow.entrypoints import load_flow
from dataflow.exceptions import ResumeError
from dataflow.stores import open_store

FLOW = "from dataflow import flow\n\n\n@flow\ndef grown(n: int):\n    return n\n\n\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATAFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_script_deploys_its_flow_by_a_path_within_the_current_folder(folder: Path) -> None:
    script = folder / "sub" / "deploys_itself.py"
    script.parent.mkdir()
    script.write_text(FLOW + 'if __name__ == "__main__":\n    grown.deploy("nightly")\n')
    runpy.run_path(str(script), run_name="__main__")
    store = open_store(None)
    try:
        row = store.agenda().deployment("grown/nightly")
    finally:
        store.close()
    assert (row.spec["source"], row.spec["entrypoint"]) == (
        str(folder), "sub/deploys_itself.py:grown")


@pytest.mark.parametrize("call", ["grown.serve('x')", "grown.deploy('x')"])
def test_a_file_that_serves_or_deploys_as_it_is_imported_is_refused(
    folder: Path, call: str
) -> None:
    (folder / "serves_at_once.py").write_text(FLOW + call + "\n")
    with pytest.raises(ResumeError, match="as it is imported"):
        load_flow("serves_at_once.py:grown", folder)


def test_a_script_of_another_folder_deploys_its_flow_with_that_folder(
        folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    script = tmp_path_factory.mktemp("elsewhere") / "deploys_itself.py"
    script.write_text(FLOW + 'if __name__ == "__main__":\n    grown.deploy("nightly")\n')
    runpy.run_path(str(script), run_name="__main__")
    store = open_store(None)
    try:
        row = store.agenda().deployment("grown/nightly")
    finally:
        store.close()
    assert (row.spec["source"], row.spec["entrypoint"]) == (
        str(script.parent), "deploys_itself.py:grown")
