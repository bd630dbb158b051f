"""Every benchmark runs to its end with tiny sizes and writes its figures; no figure is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TINY = {
    "hello": ["--repeats", "1"],
    "direct_call": ["--calls", "50", "--repeats", "1"],
    "large_arguments": ["--floats", "2000", "--repeats", "1"],
    "map_overhead": ["--elements", "300", "--dask-elements", "30", "--repeats", "1"],
    "map_chain": ["--elements", "300", "--dask-elements", "30", "--repeats", "1"],
    "graph_shapes": ["--links", "20", "--leaves", "16", "--repeats", "1"],
    "first_element": ["--elements", "300", "--repeats", "1"],
    "skewed": ["--elements", "20", "--repeats", "1"],
    "locality": ["--megabytes", "4", "--pieces", "4", "--repeats", "1"],
    "async_concurrency": ["--elements", "50", "--sampled", "4", "--repeats", "1"],
    "million": ["--elements", "3000", "--few", "300"],
    "cache_key": ["--megabytes", "8", "--rows", "1000", "--calls", "50", "--items", "300",
                  "--repeats", "1"],
    "cached_rerun": ["--elements", "300", "--sampled", "10", "--repeats", "1"],
    "persisted_map": ["--elements", "300", "--repeats", "1"],
    "resume": ["--elements", "5000"],
    "single_flight": ["--processes", "3", "--repeats", "1"],
    "schedule_latency": ["--slots", "5", "--deployments", "50"],
    "event_latency": ["--events", "2", "--handled", "300"],
    "take_latency": ["--runs", "500", "--turns", "3"],
    "usage_overhead": ["--elements", "3000"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_benchmark_measures_both_sides_and_writes_json(name: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *TINY[name]], cwd=PROJECT,
                          env={**os.environ, "BENCHMARK_RESULTS": str(tmp_path)}, text=True,
                          capture_output=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / f"{name}.json").read_text())
    assert figures["benchmark"] == name
    assert figures["rows"] and all(row["ours"] is not None for row in figures["rows"])
    assert "Traceback" not in done.stderr


def test_every_benchmark_is_in_the_set_that_make_bench_runs() -> None:
    from benchmarks.__main__ import FULL, QUICK

    shared = {"__init__", "__main__", "harness", "peers", "work"}
    programs = {path.stem for path in (PROJECT / "benchmarks").glob("*.py")} - shared
    assert set(FULL) == set(QUICK) == set(TINY) == programs
