"""A script has one name, however it is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
from dataflow import task
from dataflow.partitions import partition_of

@task
def load():
    pass

print(partition_of(load))
"""


@pytest.mark.parametrize("packaged", [True, False])
def test_a_task_of_a_file_has_one_partition_by_path_by_module_and_imported(
    packaged: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    if packaged:
        (folder / "__init__.py").touch()
    (folder / "nightly.py").write_text(CODE)
    where, name = (tmp_path, "jobs.nightly") if packaged else (folder, "nightly")
    ways = ([str(folder / "nightly.py")], ["-m", name], ["-c", f"import {name}"])
    shown = {subprocess.run([sys.executable, *way], cwd=where, check=True, capture_output=True,
                            text=True).stdout for way in ways}
    assert len(shown) == 1
