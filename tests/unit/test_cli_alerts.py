"""``dataflow alert``: messages and what became of them, tests of channels, alerts there are."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.alerts import Alert
from dataflow.cli import main
from dataflow.stores import open_store
from tests.alert_support import Receiver, free_port, plainly, receiver
from tests.alerting_support import Scene

SECRET = "T0kenInThePath"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def _three_messages(dataflow_home: Path) -> None:
    """Have a message of each status in the store."""
    store = open_store()
    now_s = time.time()
    scene = Scene(store, *(Alert(channels=[each], group_seconds=0, name=f"for {each}")
                           for each in ("done", "lost", "json://host")))
    scene.ran("FAILED", now_s - 5)
    done, lost, _ = scene.turn(now_s - 4)
    outbox = scene.log.outbox()
    outbox.done(done.id, now_s)
    outbox.failed(lost.id, now_s, "the host is gone", None)
    store.close()


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["alert", *arguments]) == code
    return capsys.readouterr().out


@pytest.mark.usefixtures("_three_messages")
def test_messages_are_listed_with_what_became_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    head, *cells = [[cell.strip() for cell in line.split("  ") if cell.strip()]
                    for line in shown(capsys, "ls").splitlines()]
    assert head == ["TIME", "ALERT", "CHANNEL", "TITLE", "ATTEMPTS", "STATUS", "ERROR"]
    title = "[failed] etl: tidy-owl"
    assert [row[1:] for row in cells] == [
        ["for json://host", "json://host/…", title, "0", "waiting"],
        ["for lost", "lost", title, "1", "given up", "the host is gone"],
        ["for done", "done", title, "1", "delivered"]]


@pytest.mark.usefixtures("_three_messages")
@pytest.mark.parametrize("status, channels", [
    ("waiting", ["json://host/…"]), ("delivered", ["done"]), ("given-up", ["lost"])])
def test_messages_are_listed_by_status_as_json(
    status: str, channels: list[str], capsys: pytest.CaptureFixture[str],
) -> None:
    rows = json.loads(shown(capsys, "ls", "--status", status, "--output", "json"))
    assert [row["channel"] for row in rows] == channels
    assert rows[0]["status"] == status.replace("-", " ")
    assert (rows[0]["due"] is None) is (status != "waiting")
    assert (rows[0]["ended"] is None) is (status == "waiting")
    assert "Flow run tidy-owl of etl failed" in rows[0]["body"]


def test_test_sends_now_and_says_what_happened(
    folder: Path, hook: Receiver, capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "dataflow.toml").write_text(
        "alerts_allow_private = true\n[channels]\n"
        f'ops = "json://127.0.0.1:{hook.port}/{SECRET}"\n'
        f'gone = "json://127.0.0.1:{free_port()}/{SECRET}"\n')
    out = shown(capsys, "test", "ops")
    assert out.startswith(f"A test message was delivered to ops (json://127.0.0.1:{hook.port}/…)")
    assert hook.requests[0].json["title"].startswith("[test] dataflow on ")
    found = json.loads(shown(capsys, "test", "gone", "--output", "json", code=1))
    assert (found["delivered"], found["channel"].partition(" ")[0]) == (False, "gone")
    assert "gave no answer" in found["error"] and SECRET not in str(found)
    hook.answers = [plainly(403, b"no")]
    assert main(["alert", "test", f"json://127.0.0.1:{hook.port}/{SECRET}"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "403" in said.err and SECRET not in said.err


@pytest.mark.parametrize("channel, said", [
    ("opps", "There is no channel 'opps'. Did you mean 'ops'?"),
    ("opps", "Known are: broken, ops."),
    ("broken", "variable NOT_THERE, which is not set"),
    ("json://127.0.0.1:1", "127.0.0.1, a loopback address, to which no webhook may go"),
    ("file:///etc/passwd", "cannot be a channel"),
])
def test_channel_that_cannot_be_used_is_an_error(
    folder: Path, channel: str, said: str, capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "dataflow.toml").write_text(
        '[channels]\nops = "json://host.example"\nbroken = "json://${NOT_THERE}@h"\n')
    assert main(["alert", "test", channel]) == 1
    assert said in capsys.readouterr().err


def test_rules_say_which_alerts_there_are_and_where(
    folder: Path, dataflow_home: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    store = open_store()
    Scene(store).deploy("etl", "nightly", Alert(on="late", channels=["ops"]))
    store.close()
    (folder / "dataflow.toml").write_text(
        '[channels]\nops = "json://host.example"\n'
        f'[[alerts]]\nmatch = "tag:prod"\nchannels = ["ops", "slack://{SECRET}/b/c"]\n'
        '[[alerts]]\non = "faild"\nchannels = ["ops"]\n')
    assert main(["alert", "rules", "--output", "json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == [
        {"alert": "failed of tag:prod", "channels": ["ops", "slack://…"],
         "where": f"{folder}/dataflow.toml, [[alerts]] number 1"},
        {"alert": "late", "channels": ["ops"], "where": "deployment etl/nightly"}]
    assert "Not usable: " in said.err and "Did you mean 'failed'?" in said.err
