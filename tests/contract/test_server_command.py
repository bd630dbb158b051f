"""``dataflow server`` and ``dataflow scheduler`` as processes of their own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import sqlite3
import ssl
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dataflow.cli import main
from dataflow.deployments import DeploymentSpec
from dataflow.schedules import At
from dataflow.service.deploying import register
from dataflow.service.ending import HELD_UP
from dataflow.stores import open_store
from tests.run_support import ROOT, wait_until
from tests.server_support import TOKEN, Client

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path, dataflow_home: Path) -> Iterator[Start]:
    """Return what starts the command; what is left of it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        log = (tmp_path / f"log-{len(started)}").open("w")
        with log:
            started.append(subprocess.Popen(
                [sys.executable, "-m", "dataflow", *arguments], cwd=tmp_path, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment}))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(r"Serving (https?://127\.0\.0\.1:\d+/api/v1)\n", line)
    assert found, line
    return found[1]


def ended(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    return process.wait(30)


def status(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(("server", "status", "--output", "json", *options))
    return code, json.loads(capsys.readouterr().out)


def get(address: str, token: str, **options: Any) -> Any:
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20, **options) as answer:
        return json.load(answer)


def test_a_service_makes_a_token_says_where_it_is_and_ends_when_told(
        start: Start, dataflow_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(capsys)[0] == 1
    assert not dataflow_home.exists()  # asking makes nothing
    process = start("server", "start", "--port", "0")
    address = address_of(process)
    token = dataflow_home / "token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(token.read_text().strip()) >= 32
    assert stat.S_IMODE((dataflow_home / "server.json").stat().st_mode) == 0o600
    assert get(f"{address}/flow-runs", token.read_text().strip()) == {"items": [], "next": None}
    code, facts = status(capsys)
    assert code == 0 and facts["started"] and facts["version"]
    assert {name: facts[name] for name in ("address", "healthy", "ready", "problem", "pid")} == {
        "address": address, "healthy": True, "ready": True, "problem": None, "pid": process.pid}
    assert ended(process) == 0
    assert not (dataflow_home / "server.json").exists()
    kept = token.read_text()
    again = start("server", "start", "--port", "0", "--no-scheduler")
    address_of(again)
    assert token.read_text() == kept
    assert ended(again, signal.SIGINT) == 0


def test_the_note_of_a_service_that_was_killed_is_not_believed(
        start: Start, dataflow_home: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLOW_API_PORT", "1")  # nobody listens there
    process = start("server", "start", "--port", "0")
    address_of(process)
    assert ended(process, signal.SIGKILL) == -signal.SIGKILL
    assert (dataflow_home / "server.json").exists()
    code, facts = status(capsys)
    assert (code, facts["pid"], facts["healthy"]) == (1, None, False)
    assert facts["address"] == "http://127.0.0.1:1/api/v1" and "Nothing listens" in facts["problem"]


def test_the_token_of_the_environment_is_the_one(start: Start, dataflow_home: Path) -> None:
    address = address_of(start("server", "start", "--port", "0", DATAFLOW_API_TOKEN=TOKEN))
    assert get(f"{address}/version", TOKEN)["api"] == "v1"
    assert not (dataflow_home / "token").exists()


def test_a_service_runs_the_scheduler_and_a_scheduler_runs_alone(
        start: Start, tmp_path: Path, dataflow_home: Path) -> None:
    (tmp_path / "flows.py").write_text("from dataflow import flow\n\n@flow\ndef f():\n    ...\n")
    store = open_store()

    def due_now(name: str) -> None:
        register(store.agenda(), DeploymentSpec(
            name=name, flow_name="f", entrypoint="flows.py:f", source=str(tmp_path),
            schedules=[At(datetime.now(UTC) + timedelta(seconds=1)).to_json()]), time.time())

    service = start("server", "start", "--port", "0", DATAFLOW_API_TOKEN=TOKEN)
    address = address_of(service)
    due_now("one")
    wait_until(lambda: store.agenda().queue_of("f/one"), "the service makes the run")
    events = get(f"{address}/events?name=dataflow.flow-run.*", TOKEN)["items"]
    assert [event["deployment"] for event in events][-1] == "f/one"
    client = Client(int(address.rsplit(":")[-1].partition("/")[0]))
    metrics = client.ask("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert re.search(rb"dataflow_scheduler_turn_seconds_count [1-9]", metrics.body)
    assert ended(service) == 0
    alone = start("scheduler", "start")
    due_now("two")
    wait_until(lambda: store.agenda().queue_of("f/two"), "the scheduler makes the run")
    assert ended(alone) == 0
    store.close()


_HURRIED = """
from dataflow.cli import main
from dataflow.service import ending

ending.PATIENCE_S = 0.2
raise SystemExit(main({arguments}))
"""


@pytest.mark.parametrize("arguments", [
    ("server", "start", "--port", "0"), ("server", "start", "--port", "0", "--no-scheduler"),
    ("scheduler", "start")])
def test_a_store_that_does_not_answer_does_not_hold_up_the_end(
        tmp_path: Path, dataflow_home: Path, arguments: tuple[str, ...]) -> None:
    script = _HURRIED.format(arguments=arguments)
    store = open_store()
    with (tmp_path / "log").open("w") as log, subprocess.Popen(
            [sys.executable, "-c", script], text=True, stdout=subprocess.PIPE, stderr=log,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DATAFLOW_API_TOKEN": TOKEN}) as process:
        try:
            if arguments[0] == "server":
                port = int(address_of(process).rsplit(":")[-1].partition("/")[0])
            else:
                wait_until(lambda: "Watches events" in (tmp_path / "log").read_text(), "it runs")
            with closing(sqlite3.connect(dataflow_home / "dataflow.db")) as other:
                other.execute("BEGIN IMMEDIATE")  # whoever writes waits, for 20 s
                if "--no-scheduler" in arguments:
                    asking = threading.Thread(target=asked_in_vain, args=(port,), daemon=True)
                    asking.start()
                time.sleep(1.0)  # until each loop has asked the store
                process.send_signal(signal.SIGTERM)
                assert process.wait(15) == HELD_UP
        finally:
            process.kill()
            store.close()
    assert "holds up the end" in (tmp_path / "log").read_text()


def asked_in_vain(port: int) -> None:
    with suppress(OSError, http.client.HTTPException):
        Client(port).ask("POST", "/api/v1/events", {"name": "x"},
                         {"Authorization": f"Bearer {TOKEN}"})


@pytest.mark.parametrize("arguments, said", [
    (["--host", "0.0.0.0"], "--insecure"), (["--host", "::"], "--insecure"),
    (["--host", "flows.example"], "--insecure"), (["--certfile", "f"], "--keyfile"),
    (["--certfile", "f", "--keyfile", "f"], "no certificate"),
    (["--host", "192.0.2.1", "--insecure"], "cannot listen"),
    (["--port", "65536"], "65536")])
def test_what_cannot_be_served_is_refused_with_what_to_do(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        arguments: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_text("nothing")
    assert main(("server", "start", "--port", "0", *arguments)) != 0
    caught = capsys.readouterr()
    assert said in caught.err and "Traceback" not in caught.err and caught.out == ""


def test_a_port_that_is_taken_is_named(
        start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    port = address_of(start("server", "start", "--port", "0")).rpartition(":")[2].split("/")[0]
    assert main(("server", "start", "--port", port)) == 1
    assert f"127.0.0.1, port {port}: Address already in use" in capsys.readouterr().err


def test_a_store_without_deployments_is_refused(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DATAFLOW_STORE", "memory:")
    assert main(("server", "start", "--port", "0")) == 1
    assert "DATAFLOW_STORE" in capsys.readouterr().err


def test_with_a_certificate_it_speaks_tls(
        start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certfile, keyfile = certificate(tmp_path)
    process = start("server", "start", "--port", "0", "--certfile", str(certfile), "--keyfile",
                    str(keyfile), DATAFLOW_API_TOKEN=TOKEN)
    address = address_of(process)
    assert address.startswith("https://")
    context = ssl.create_default_context(cafile=str(certfile))
    assert get(f"{address}/version", TOKEN, context=context)["api"] == "v1"
    code, facts = status(capsys)  # the note says with what it is checked
    assert (code, facts["healthy"]) == (0, True)
    code, facts = status(capsys, "--address", address)
    assert code == 1 and "CERTIFICATE_VERIFY_FAILED" in facts["problem"]
    code, facts = status(capsys, "--address", address, "--cafile", str(certfile))
    assert code == 0
    assert ended(process) == 0


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that vouches for itself."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(7)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256()))
    certfile, keyfile = folder / "cert.pem", folder / "key.pem"
    certfile.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    keyfile.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return certfile, keyfile
