"""Runs of deployments that did not complete, put back into the queue by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.run_support import ROOT, ledger, recorded, wait_until
from tests.unattended_support import Site

FLOWS = """
    from pathlib import Path

    from dataflow import flow, task
    from dataflow.runtime import deployment
    from tests.run_support import note

    BOOK = Path(__file__).parent / "book"

    @task(persist_result=True)
    def step(x, word):
        note(BOOK, f"{word} {x} {deployment.name}")
        if x == 2 and not (BOOK.parent / "mended").exists():
            raise ValueError("not mended")
        return x

    @flow(task_runner="inline")
    def stepping(word: str):
        return sum(step.map(range(4), word).result())
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, FLOWS)
    yield made
    made.close()


def command(site: Site, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "dataflow", "flow-run", *arguments, "--output", "json"],
        cwd=site.folder.parent, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)})
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_a_failed_run_of_a_deployment_is_retried_by_a_worker_with_its_parameters(
        site: Site) -> None:
    site.deploy("stepping")
    run_id = site.ask("stepping/d", {"word": "once"})
    site.worker()
    assert site.ended(run_id).state_name == "Failed"
    wait_until(lambda: site.queued(run_id).phase == "ended", "the worker knows")
    (site.folder / "mended").touch()
    code, row, error = command(site, "retry", run_id, "--watch")
    assert (code, row["state_name"], row["id"]) == (0, "Completed", run_id), error
    book = ledger(site.folder / "book")
    assert book == Counter({"once 0 d": 1, "once 1 d": 1, "once 2 d": 2, "once 3 d": 1}), book
    assert recorded(run_id).counts == {"step": {"Completed": 4}}
    code, _, error = command(site, "resume", run_id)
    assert code == 1 and "there is nothing to resume" in error


def test_a_run_that_was_cancelled_before_it_began_is_resumed_by_a_worker(site: Site) -> None:
    (site.folder / "mended").touch()
    site.deploy("stepping")
    run_id = site.ask("stepping/d", {"word": "late"})
    assert command(site, "cancel", run_id)[:2][0] == 0
    assert site.row(run_id).state_name == "Cancelled"
    code, row, error = command(site, "resume", run_id)
    assert (code, row["state_name"], row["message"]) == (0, "Scheduled", "To be resumed"), error
    code, _, error = command(site, "resume", run_id)
    assert code == 1 and "waits for a worker or goes on" in error
    site.worker()
    code, row, _ = command(site, "watch", run_id)
    assert (code, row["state_name"]) == (0, "Completed")
    assert ledger(site.folder / "book") == Counter(f"late {x} d" for x in range(4))


def test_a_run_of_a_deployment_can_be_retried_here_all_the_same(site: Site) -> None:
    site.deploy("stepping")
    run_id = site.ask("stepping/d", {"word": "here"})
    worker = site.worker()
    assert site.ended(run_id).state_name == "Failed"
    site.kill_all_of(worker)
    (site.folder / "mended").touch()
    code, row, error = command(site, "retry", run_id, "--here")
    assert (code, row["state_name"]) == (0, "Completed"), error
    assert ledger(site.folder / "book")["here 2 None"] == 1
