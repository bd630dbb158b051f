"""Messages on their way with real parts: workers, scripts, mail, webhooks that hang or fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.header import decode_header, make_header
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataflow.alerts import Parcel, Text
from dataflow.cli import main
from dataflow.event_log import Findings, ParcelRow
from dataflow.service.alert_delivery import AlertDelivery
from dataflow.service.run_failures import READ
from dataflow.store import Store
from dataflow.stores import open_store
from tests.alert_support import Receiver, free_port, plainly, receiver
from tests.run_support import ROOT, end_all, script_of, started, wait_until
from tests.unattended_support import Site

FLOWS = """
    import os
    import sys
    from pathlib import Path

    from dataflow import flow, task
    from dataflow.alerts import Alert

    @task
    def load(number):
        raise ValueError(f"flight {number} has no air time")

    @flow(alerts=[Alert(on=["failed", "crashed"], channels=["hook", "mail"], group_seconds=0,
                        throttle_seconds=0)])
    def nightly(failing: int = 3):
        load.map(range(failing)).result()

    @flow
    def quick():
        pass

    if __name__ == "__main__":
        try:
            nightly(0 if "ok" in sys.argv else 3)
        except ValueError:
            pass
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, FLOWS)
    yield site
    site.close()


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def mails() -> Iterator[tuple[int, list[Any]]]:
    """Run a server of mail; give its port and what it got."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Message

    got: list[Any] = []

    class Keeping(Message):
        def handle_message(self, message: Any) -> None:
            got.append(message)

    controller = Controller(Keeping(), hostname="127.0.0.1", port=free_port())
    controller.start()
    yield controller.port, got
    controller.stop()


@pytest.fixture(autouse=True)
def _nobody_is_left() -> Iterator[None]:
    """End processes that watch after a run, of the home of this test."""
    yield
    end_all(watching())


def watching() -> list[psutil.Process]:
    """Return the processes that watch after a run in the home of this test."""
    found = []
    for process in psutil.process_iter():
        try:
            if "dataflow.service.watch_once" in process.cmdline() and (
                    process.environ().get("DATAFLOW_HOME") == os.environ["DATAFLOW_HOME"]):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def settings(home: Path, more: str = "", **channels: str) -> None:
    """Write the file of settings that holds in every folder."""
    home.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {json.dumps(url)}" for name, url in channels.items()]
    (home / "dataflow.toml").write_text("\n".join(
        ["alerts_allow_private = true", more, "[channels]", *lines, ""]))


def titles(hook: Receiver) -> list[str]:
    return [each.json["title"].partition(":")[0] for each in hook.requests]


@contextmanager
def a_store() -> Iterator[Store]:
    store = open_store()
    try:
        yield store
    finally:
        store.close()


def first_error(flow_run_id: str) -> str:
    """Return the error of the element that ended first, of those that a message looks at."""
    store = open_store()
    rows = store.task_runs(flow_run_id, state="FAILED", limit=READ)
    store.close()
    row = min(rows, key=lambda row: (row.end_time, row.map_index))  # type: ignore[arg-type, return-value]
    return f"{row.error_type}: {row.error_message}"


def messages(status: Any = None) -> list[ParcelRow]:
    with a_store() as store:
        return store.events().parcels(status)


def gate() -> tuple[threading.Event, Callable[[BaseHTTPRequestHandler], None]]:
    """Return what lets an answer go that hangs until then."""
    opened = threading.Event()

    def hangs(handler: BaseHTTPRequestHandler) -> None:
        opened.wait(60)
        plainly(200)(handler)

    return opened, hangs


def mail_url(port: int) -> str:
    return f"mailto://127.0.0.1:{port}?mode=insecure&from=flows@example.com&to=ops@example.com"


def test_worker_tells_of_a_deployment_that_fails_and_that_it_is_over(
    site: Site, hook: Receiver, mails: tuple[int, list[Any]], dataflow_home: Path,
) -> None:
    settings(dataflow_home, hook=hook.url("/hook", "json"), mail=mail_url(mails[0]))

    site.deploy("nightly", alerts=[{
        "on": ["failed", "crashed"], "channels": ["hook", "mail"], "group_seconds": 0,
        "throttle_seconds": 0}])
    site.worker()
    failed = site.ended(site.ask("nightly/d", {"failing": 3000}))
    assert failed.state_type == "FAILED"
    wait_until(lambda: hook.requests and mails[1], "both are told")
    body = hook.requests[0].json["message"]
    assert f"First error: {first_error(failed.id)} (3,000 alike)" in body
    assert "3,000 of 3,000 elements failed." in body
    subject = str(make_header(decode_header(mails[1][0]["Subject"])))
    assert subject.startswith("[failed] nightly/d")
    assert site.ended(site.ask("nightly/d", {"failing": 0})).state_type == "COMPLETED"
    wait_until(lambda: len(hook.requests) > 1 and len(mails[1]) > 1, "it is over")
    wait_until(lambda: not messages("waiting"), "it is recorded")
    assert titles(hook) == ["[failed] nightly/d", "[resolved] nightly/d"]
    assert len(mails[1]) == 2
    assert {each.status for each in messages()} == {"delivered"} and len(messages()) == 4
    assert watching() == []


def test_channel_that_hangs_holds_up_neither_runs_nor_other_channels(
    site: Site, hook: Receiver, dataflow_home: Path,
) -> None:
    with receiver() as dead:
        opened, hangs = gate()
        dead.answers = [hangs]
        settings(dataflow_home, "alerts_timeout_seconds = 60", hook=hook.url("/hook", "json"),
                 mail=dead.url("/hook", "json"))
        site.deploy("nightly")
        site.deploy("quick")
        site.worker()
        site.ended(site.ask("nightly/d"))
        wait_until(lambda: dead.requests and hook.requests, "the one hangs, the other is told")
        assert site.ended(site.ask("quick/d")).state_type == "COMPLETED"
        site.ended(site.ask("nightly/d"))
        wait_until(lambda: len(hook.requests) == 2, "the next message is told")
        assert len(dead.requests) == 1 and not opened.is_set()
        opened.set()
        wait_until(lambda: not messages("waiting"), "the other one goes on")
        assert len(dead.requests) == 2


DELIVERS = """
    import time
    from dataflow.service.alert_delivery import AlertDelivery
    from dataflow.stores import open_store

    delivery = AlertDelivery(open_store())
    while True:
        delivery.step()
        time.sleep(0.02)
"""


def test_killed_between_sending_and_recording_it_goes_out_again(
    tmp_path: Path, hook: Receiver, dataflow_home: Path,
) -> None:
    settings(dataflow_home)
    opened, hangs = gate()
    hook.answers = [hangs, plainly(200)]
    parcel = Parcel(id="p", channel=hook.url("/", "json").rstrip("/"),
                    text=Text(title="t", body="b", severity="failure"),
                    created_s=time.time(), due_s=time.time())
    with a_store() as store:
        log = store.events()
        log.settle(log.pending().version, Findings(parcels=[parcel]), time.time())
    process = started(script_of(tmp_path, DELIVERS))
    try:
        wait_until(lambda: hook.requests, "it was sent")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [each.status for each in messages()] == ["waiting"]
    with a_store() as store:
        soon, later = AlertDelivery(store), AlertDelivery(store, lambda: time.time() + 3600)
        soon.step()
        assert len(hook.requests) == 1  # it is leased still
        wait_until(lambda: later.step().sent, "it goes out again")
    opened.set()
    assert len(hook.requests) == 2
    assert [(each.status, each.parcel.attempts) for each in messages()] == [("delivered", 1)]


def run_script(site: Site, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(site.file), *args], cwd=site.folder, capture_output=True, text=True,
        timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT), **variables}, check=True)


def test_script_that_nobody_watches_tells_and_does_not_wait_for_it(
    site: Site, hook: Receiver, mails: tuple[int, list[Any]], dataflow_home: Path,
) -> None:
    opened, hangs = gate()
    hook.answers = [hangs, plainly(200)]
    settings(dataflow_home, "alerts_timeout_seconds = 60", hook=hook.url("/hook", "json"),
             mail=mail_url(mails[0]))
    run_script(site)
    assert not opened.is_set()  # the script has ended, whatever the channel does
    wait_until(lambda: hook.requests and mails[1], "both are told")
    assert len(watching()) == 1
    run_script(site, "ok")  # the one that watches sees it too
    assert len(watching()) == 1
    opened.set()
    wait_until(lambda: not watching(), "nothing is left to tell", 60)
    assert titles(hook) == ["[failed] nightly", "[resolved] nightly"]
    assert {each.status for each in messages()} == {"delivered"}
    log = (dataflow_home / "alerts.log").read_text()
    assert "Watches events" in log and "Error" not in log
    run_script(site, "ok")  # nothing is wrong, and nothing was: nobody is started
    assert watching() == []
    assert len(messages()) == 4


def test_script_tells_by_the_files_of_its_folder_where_its_flow_brings_no_alert(
    site: Site, hook: Receiver, dataflow_home: Path,
) -> None:
    settings(dataflow_home)
    (site.folder / "dataflow.toml").write_text(
        f'[channels]\nhook = "{hook.url("/hook", "json")}"\n'
        '[[alerts]]\non = "completed"\nmatch = "flow:quick"\nchannels = ["hook"]\n'
        "group_seconds = 0\n")
    script = script_of(site.folder, "from flows import quick\nquick()\n", "other.py")
    subprocess.run([sys.executable, str(script)], cwd=site.folder, check=True, timeout=60,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_until(lambda: hook.requests, "it is told")
    assert titles(hook) == ["[completed] quick"]
    wait_until(lambda: not watching(), "nothing is left to tell", 60)


def test_switched_off_nobody_is_started_and_nothing_is_sent(
    site: Site, hook: Receiver, dataflow_home: Path,
) -> None:
    settings(dataflow_home, hook=hook.url("/hook", "json"))
    run_script(site, DATAFLOW_ALERTS_SEND="off")
    assert watching() == [] and hook.requests == []
    with a_store() as store:
        assert store.find_flow_run("last").state_type == "FAILED"
        assert store.events().pending().events  # whoever watches next finds it


SECRETS = ("T0kenInThePath", "Passw0rdOfUser", "s3cretInTheQuery")


def test_secrets_of_channels_stand_nowhere(
    site: Site, hook: Receiver, dataflow_home: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:
    path, password, query = SECRETS
    hook.answers = [plainly(500, f"no {path} {password} {query}".encode())]
    refused = f"json://user:{password}@127.0.0.1:{free_port()}/{path}?token={query}"
    settings(dataflow_home, "alerts_timeout_seconds = 2", mail=refused,
             hook=f"json://user:{password}@127.0.0.1:{hook.port}/{path}?-token={query}")
    text = (dataflow_home / "dataflow.toml").read_text()
    other = f"gotify://127.0.0.1:{free_port()}/{path}{query}"
    (dataflow_home / "dataflow.toml").write_text(text + f"""
[[alerts]]
on = "failed"
group_seconds = 0
channels = ["{refused}", "{other}", "json://me:{password}@127.0.0.1:{hook.port}/{path}?-a={query}"]
""")
    site.deploy("nightly")
    worker = site.worker()
    site.ended(site.ask("nightly/d"))
    wait_until(lambda: len([each for each in messages() if each.parcel.attempts]) == 5,
               "all were tried", 40)
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    said = [site.said()]
    monkeypatch.chdir(site.folder)
    for command in (["alert", "ls"], ["alert", "ls", "-o", "json"], ["alert", "rules"],
                    ["alert", "rules", "--json"], ["alert", "test", "hook"],
                    ["alert", "test", refused], ["alert", "test", other, "--json"],
                    ["flow-run", "logs", "last"], ["deployment", "inspect", "nightly/d"],
                    ["event", "ls", "--json"]):
        code = main(command)
        shown = capfd.readouterr()
        said += [shown.out, shown.err]
        assert code == (1 if "test" in command else 0), shown.err
    kept = [file.read_bytes() for file in sorted(dataflow_home.rglob("*"))
            if file.is_file() and file.name != "dataflow.toml"]
    assert any(b"SQLite" in each[:16] for each in kept)
    for secret in SECRETS:
        assert secret not in "".join(said) + caplog.text
        assert not [each for each in kept if secret.encode() in each]
    errors = [each.parcel.error or "" for each in messages()]
    assert all(errors) and "json://127.0.0.1" in str(errors)
