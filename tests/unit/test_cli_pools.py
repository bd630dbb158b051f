"""``dataflow pool`` and ``dataflow limit``: what is kept, and how bad input is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataflow.cli import main


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main(arguments) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(said(capsys, *arguments, "--json"))


def test_a_pool_is_made_changed_paused_and_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "pool", "create", "docker", "--type", "command", "--limit", "4",
         "-c", "docker run --rm --name {name} {image} 'a b'", "-v", "image=flows:7",
         "--cancel", "docker stop {name}")
    template = {"command": ["docker", "run", "--rm", "--name", "{name}", "{image}", "a b"],
                "cancel": ["docker", "stop", "{name}"], "variables": {"image": "flows:7"}}
    assert shown(capsys, "pool", "inspect", "docker") == {
        "name": "docker", "type": "command", "limit": 4, "paused": False, "template": template,
        "queues": []}
    said(capsys, "pool", "set", "docker", "-v", "image=flows:8", "--no-limit", "--cancel", "")
    said(capsys, "pool", "pause", "docker")
    said(capsys, "pool", "queue", "set", "docker", "fast", "--priority", "5", "--limit", "2")
    said(capsys, "pool", "queue", "set", "docker", "fast", "--no-limit")
    found = shown(capsys, "pool", "inspect", "docker")
    assert (found["limit"], found["paused"], found["template"]["variables"]) == (
        None, True, {"image": "flows:8"})
    assert "cancel" not in found["template"]
    assert found["queues"] == [{"name": "fast", "priority": 5, "limit": None}]
    assert "paused" in said(capsys, "pool", "ls") and "fast" in said(capsys, "pool", "queue", "ls")
    assert "docker" in said(capsys, "pool", "inspect", "docker")
    said(capsys, "pool", "resume", "docker")
    assert shown(capsys, "pool", "ls")[0]["paused"] is False
    said(capsys, "pool", "delete", "docker")
    assert shown(capsys, "pool", "ls") == []


@pytest.mark.parametrize(("arguments", "code", "text"), [
    (("create", "a/b"), 1, "no slash"),
    (("create", "x", "--type", "command"), 2, "needs --command"),
    (("create", "x", "-c", "docker run"), 2, "goes with --type command"),
    (("create", "x", "--type", "command", "-c", "docker {imge}", "-v", "image=x"), 1, "{image}"),
    (("create", "x", "--type", "command", "-c", "run", "-v", "image"), 2, "NAME=VALUE"),
    (("create", "x", "--dask-address", "tcp://h:1"), 2, "goes with --type dask"),
    (("set", "nobody", "--limit", "3"), 1, "There are none yet"),
    (("delete", "nobody"), 1, "pool create nobody"),
    (("queue", "set", "x", "q"), 2, "Give --priority"),
])
def test_what_cannot_be_meant_is_refused(
        capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int,
        text: str) -> None:
    assert text in said(capsys, "pool", *arguments, code=code)
    assert shown(capsys, "pool", "ls") == []


def test_a_pool_that_is_there_is_not_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "pool", "create", "x")
    assert "pool set x" in said(capsys, "pool", "create", "x", code=1)


def test_a_manifest_is_read_from_yaml(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("kind: Job\nmetadata: {name: '{name}'}\n")
    said(capsys, "pool", "create", "k", "-t", "command", "-c", "kubectl create -f {manifest}",
         "--manifest", str(path))
    assert shown(capsys, "pool", "inspect", "k")["template"]["manifest"] == {
        "kind": "Job", "metadata": {"name": "{name}"}}
    path.write_text("kind: Job\n---\nkind: Pod\n")
    assert "2 documents" in said(capsys, "pool", "set", "k", "--manifest", str(path), code=1)
    path.write_text("kind: [\n")
    assert "as YAML" in said(capsys, "pool", "set", "k", "--manifest", str(path), code=1)


def test_limits_are_set_listed_and_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    for name, runs in (("tag:db", "3"), ("queue:default/fast", "2"), ("pool:default", "10")):
        said(capsys, "limit", "set", name, runs)
    assert shown(capsys, "limit", "ls") == [
        {"kind": "pool", "name": "default", "limit": 10, "running": 0},
        {"kind": "queue", "name": "default/fast", "limit": 2, "running": 0},
        {"kind": "tag", "name": "db", "limit": 3, "running": 0}]
    assert "tag:db" in said(capsys, "limit", "ls")
    said(capsys, "limit", "delete", "tag:db")
    assert "has no limit" in said(capsys, "limit", "delete", "tag:db", code=1)


@pytest.mark.parametrize(("name", "code", "text"), [
    ("db", 2, "write tag:db"), ("colour:red", 2, "write tag:db"), ("tag:", 2, "write tag:db"),
    ("queue:fast", 2, "POOL/QUEUE"), ("deployment:nobody", 1, "no deployment 'nobody'"),
])
def test_what_names_no_limit_is_refused(
        capsys: pytest.CaptureFixture[str], name: str, code: int, text: str) -> None:
    assert text in said(capsys, "limit", "set", name, "3", code=code)


def test_each_change_is_told_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    made = {"name": "a b", "type": "process", "limit": None, "paused": False, "template": None}
    assert shown(capsys, "pool", "create", "a b") == made
    assert shown(capsys, "pool", "set", "a b", "--limit", "3") == {**made, "limit": 3}
    assert shown(capsys, "pool", "pause", "a b") == {**made, "limit": 3, "paused": True}
    assert shown(capsys, "pool", "resume", "a b") == {**made, "limit": 3}
    assert shown(capsys, "pool", "queue", "set", "a b", "q", "--priority", "2") == {
        "pool": "a b", "name": "q", "priority": 2, "limit": None}
    assert shown(capsys, "pool", "delete", "a b") == {"name": "a b", "deleted": True}
    limit = {"kind": "tag", "name": "db"}
    assert shown(capsys, "limit", "set", "tag:db", "3") == {**limit, "limit": 3}
    assert shown(capsys, "limit", "delete", "tag:db") == {**limit, "limit": None}


def test_the_command_of_a_new_pools_worker_can_be_pasted(
        capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "pool", "create", "a b").endswith("--pool 'a b'\n")


@pytest.mark.parametrize(("arguments", "text"), [
    (("pool", "queue", "set", "x", "", "--limit", "1"), "'' is no name of a queue"),
    (("pool", "queue", "set", "a/b", "q", "--limit", "1"), "'a/b' is no name of a pool"),
    (("limit", "set", "pool:a/b", "1"), "'a/b' is no name of a pool"),
    (("limit", "set", "queue:x/ ", "1"), "' ' is no name of a queue"),
    (("limit", "set", "tag:a\nb", "1"), "is no name of a tag"),
    (("worker", "start", "--name", "a\nb"), "is no name of a worker"),
    (("worker", "start", "--name", ""), "'' is no name of a worker"),
])
def test_what_nothing_can_be_called_gets_no_limit(
        capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], text: str) -> None:
    assert text in said(capsys, *arguments, code=1)
    assert shown(capsys, "limit", "ls") == shown(capsys, "pool", "queue", "ls") == []
