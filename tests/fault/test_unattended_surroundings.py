"""What a run finds around it: modules of its own folder first, its environment from the start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run_support import ledger
from tests.unattended_support import Site

FLOWS = """
    import os
    import sys
    import time
    from pathlib import Path

    from dataflow import flow
    from tests.run_support import note

    BOOK = Path(__file__).parent / "book"

    @flow
    def importing():
        import colours
        note(BOOK, colours.NAME)

    @flow
    def telling():
        import far
        note(BOOK, f"{far.NAME} {time.tzname[0]} {hash('x') == int(os.environ['WAS'])}")

    @flow
    def searching():
        note(BOOK, str(str(Path(__file__).parents[1]) in sys.path or "" in sys.path))
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Return a site whose workers stand in a folder with modules of the same names."""
    made = Site(tmp_path, FLOWS)
    code = tmp_path / "code"
    (code / "sub").mkdir(parents=True)
    for folder in (code, code / "sub"):
        (folder / "flows.py").write_text(made.file.read_text())
    (code / "colours.py").write_text("NAME = 'of the code'")
    (tmp_path / "colours.py").write_text("NAME = 'of the folder that the worker stands in'")
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_modules_of_the_codes_folder_are_found_and_the_workers_are_not_in_the_way(
        site: Site, kind: str) -> None:
    code = str(site.folder / "code")
    site.deploy("importing", source=code)
    site.deploy("importing", "sub", source=code, entrypoint="sub/flows.py:importing")
    site.deploy("importing", "module", source=code, entrypoint="sub.flows:importing")
    site.worker("--type", kind)
    for name in ("d", "sub", "module"):
        row = site.ended(site.ask(f"importing/{name}"))
        assert row.state_name == "Completed", row.message
    assert ledger(site.folder / "code" / "book") == Counter(["of the code"])
    assert ledger(site.folder / "code" / "sub" / "book") == Counter({"of the code": 2})


def test_the_folder_that_the_worker_stands_in_is_not_on_the_path_of_a_run(site: Site) -> None:
    site.deploy("searching", source=str(site.folder / "code"))
    site.worker()
    assert site.ended(site.ask("searching/d")).state_name == "Completed"
    assert ledger(site.folder / "code" / "book") == Counter(["False"])


def test_variables_that_count_at_the_start_of_a_process_count(
        site: Site) -> None:
    far = site.folder / "far_away"
    far.mkdir()
    (far / "far.py").write_text("NAME = 'far'")
    was = subprocess.run([sys.executable, "-c", "print(hash('x'))"], capture_output=True,
                         text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"}).stdout
    path = os.pathsep.join([str(far), str(Path(__file__).parents[2])])
    site.deploy("telling", source=str(site.folder / "code"), environment={
        "PYTHONPATH": path, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "WAS": was.strip()})
    site.worker()
    row = site.ended(site.ask("telling/d"))
    assert row.state_name == "Completed", row.message
    assert ledger(site.folder / "code" / "book") == Counter(["far JST True"])
