"""Results whose classes are defined in a script, loaded by the script's next process and others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.packs import results_at
from dataflow.packs.collecting import Budget
from dataflow.packs.housekeeping import collect
from dataflow.storages import open_storage

SCRIPT = """
import enum, sys
from dataclasses import dataclass
from typing import NamedTuple
from dataflow.packs import Origin, results_at
from dataflow.storages import open_storage
from dataflow.serializers import PickleSerializer

class Kind(enum.Enum):
    GOOD = 1

class Pair(NamedTuple):
    a: int
    b: int

@dataclass(frozen=True, slots=True)
class Row:
    x: int
    kind: Kind
    pair: Pair
    def twice(self):
        return 2 * self.x

made = [Row(x, Kind.GOOD, Pair(x, x)) for x in range(100)]
keys = [bytes([x]) * 16 for x in range(100)]
results = results_at(open_storage(sys.argv[1]))
found = results.find("rows", keys, 1.0)
if found[0] is None:
    writer = results.writer("rows", Origin("r", "n", "t", 0, 1.0), PickleSerializer())
    for x, value in enumerate(made):
        writer.add(keys[x], value, index=x)
        if x % 10 == 9:
            writer.flush()
    print("wrote")
else:
    values = results.load("rows", found)
    print("same" if values == made and type(values[0]) is Row else values[0])
"""


def run(path: Path, folder: Path) -> str:
    done = subprocess.run([sys.executable, path, folder], capture_output=True, text=True,
                          check=True, timeout=60)
    return done.stdout.strip()


def test_classes_of_a_script_are_its_own_when_it_runs_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    assert run(script, tmp_path / "results") == "wrote"
    assert run(script, tmp_path / "results") == "same"


@pytest.mark.parametrize("merged", [False, True])
def test_values_of_a_script_are_loaded_by_a_process_that_has_it_not(
    tmp_path: Path, merged: bool
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run(script, tmp_path / "results")
    results = results_at(open_storage(tmp_path / "results"))
    if merged:
        done = collect(results.storage, Budget(now_s=2.0, grace_s=float("-inf")))
        assert (done.merged_files, done.written_files) == (10, 1)
    found = results.find("rows", [bytes([x]) * 16 for x in range(100)], 1.0)
    values = results.load("rows", [entry for entry in found if entry is not None])
    assert [value.twice() for value in values] == [2 * x for x in range(100)]
    assert len({type(value) for value in values}) == 1 and values[0].kind.name == "GOOD"
