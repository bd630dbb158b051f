"""What docs/pools.md shows is taken, and does what it says where programs stand in for others."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dataflow.cli import main
from tests.run_support import ROOT, ledger, wait_until
from tests.unattended_support import Site

TEXT = (ROOT / "docs" / "pools.md").read_text()
COMMANDS = [
    shlex.split(line)[1:] for block in re.findall(r"```console\n(.*?)```", TEXT, re.S)
    for line in block.replace("\\\n", " ").replace("$ ", "").splitlines()]

FLOWS = """
    import time
    from pathlib import Path

    from dataflow import flow
    from tests.run_support import note

    BOOK = Path(__file__).parent / "book"

    @flow
    def sleeping(nap: float = 0.0):
        note(BOOK, "sleeping")
        time.sleep(nap)
        note(BOOK, "woken")
"""

KUBECTL = '''
import json, os, signal, subprocess, sys
from pathlib import Path
folder = Path(os.environ["STAND_IN_FOLDER"])
verb, *rest = sys.argv[1:]
if verb == "create":
    job = json.loads(Path(rest[1]).read_text())
    assert (job["kind"], job["spec"]["backoffLimit"]) == ("Job", 0)
    (run,) = job["spec"]["template"]["spec"]["containers"]
    if run["image"] == "refused":
        print("error: jobs.batch is forbidden", file=sys.stderr)
        sys.exit(1)
    name = job["metadata"]["name"]
    script = f'{" ".join(run["command"])}; echo $? > {folder}/{name}.code'
    pod = subprocess.Popen(["sh", "-c", script], start_new_session=True, cwd="/",
                           stdout=subprocess.DEVNULL, stderr=(folder / f"{name}.log").open("w"))
    (folder / f"{name}.pid").write_text(str(pod.pid))
    print(f"job.batch/{name} created")
elif verb == "get":
    assert rest[0] == "job" and "--ignore-not-found" in rest
    if (folder / f"{rest[1]}.pid").exists():
        code = folder / f"{rest[1]}.code"
        said = code.read_text().strip() if code.exists() else ""
        print("there:" + {"": ":", "0": "1:"}.get(said, ":1"), end="")
elif verb == "logs":
    print((folder / f"{rest[1].removeprefix('job/')}.log").read_text(), end="")
elif verb == "delete":
    pid = folder / f"{rest[1]}.pid"
    os.killpg(int(pid.read_text()), signal.SIGTERM)
    pid.rename(pid.with_suffix(".gone"))
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("STAND_IN_FOLDER", str(tmp_path))
    monkeypatch.setenv("LOOK", "0.2")
    monkeypatch.chdir(tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "kubectl.py").write_text(KUBECTL)
    for name, script in (("docker", ROOT / "tests" / "stand_in_docker.py"),
                         ("kubectl", programs / "kubectl.py")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    (programs / "dataflow").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m dataflow "$@"\n')
    for path in programs.iterdir():
        path.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), os.environ["PATH"]]))
    for language, name in (("yaml", "job.yaml"), ("sh", "job.sh")):
        (block,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)
        (tmp_path / name).write_text(block)
    made = Site(tmp_path, FLOWS)
    monkeypatch.setenv("DATAFLOW_STORE", f"{os.environ['DATAFLOW_HOME']}/dataflow.db")
    yield made
    made.close()
    for path in [*tmp_path.glob("*.pid"), *tmp_path.glob("*.gone")]:
        with suppress(ProcessLookupError, ValueError):
            os.killpg(int(path.read_text()), signal.SIGKILL)


def created(pool: str) -> None:
    for command in COMMANDS:
        if command[:3] == ["pool", "create", pool]:
            assert main(command) == 0


def test_all_commands_are_taken(site: Site) -> None:
    assert len(COMMANDS) >= 9
    for command in COMMANDS:
        if command[0] != "worker":
            assert main(command) == 0, command


@pytest.mark.parametrize("pool", ["docker", "k8s"])
def test_a_run_goes_through_the_template_to_its_end(site: Site, pool: str) -> None:
    created(pool)
    site.deploy("sleeping", work_pool=pool)
    flow_run_id = site.ask("sleeping/d")
    site.worker("--pool", pool)
    assert site.ended(flow_run_id).state_name == "Completed", site.said()
    assert ledger(site.folder / "book") == Counter(["sleeping", "woken"])
    wait_until(lambda: site.queued(flow_run_id).phase == "ended", "the worker knows")


@pytest.mark.parametrize("pool", ["docker", "k8s"])
def test_a_run_is_cancelled_through_the_template(site: Site, pool: str) -> None:
    created(pool)
    site.deploy("sleeping", work_pool=pool, parameters={"nap": 60.0})
    flow_run_id = site.ask("sleeping/d")
    site.worker("--pool", pool)
    site.process_of(flow_run_id)
    with site.store() as store:
        assert store.agenda().ask_to_cancel(flow_run_id, time.time())
    assert site.ended(flow_run_id, 30).state_name == "Cancelled", site.said()
    wait_until(lambda: site.queued(flow_run_id).phase == "ended", "the worker knows", 20)
    assert ledger(site.folder / "book") == Counter(["sleeping"])


def test_a_job_that_is_refused_is_a_crash_that_says_why(site: Site) -> None:
    created("k8s")
    assert main(["pool", "set", "k8s", "-v", "image=refused"]) == 0
    site.deploy("sleeping", work_pool="k8s")
    flow_run_id = site.ask("sleeping/d")
    site.worker("--pool", "k8s")
    row = site.ended(flow_run_id)
    assert row.state_name == "Crashed" and "jobs.batch is forbidden" in str(row.message)
