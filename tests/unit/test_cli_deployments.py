"""``dataflow deployment`` and ``dataflow schedule`` on deployments that nobody runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataflow.cli import main
from dataflow.deployments import DeploymentSpec
from dataflow.schedules import At, Cron
from dataflow.service.deploying import register
from dataflow.stores import open_store

NEVER = At("2999-01-01T00:00", slug="never")


@pytest.fixture(autouse=True)
def _deployed(dataflow_home: Path) -> None:
    schema = {"properties": {"n": {"type": "integer"}, "text": {"type": "string"}}}
    daily = Cron("0 4 * * *", timezone="Europe/Berlin", slug="daily", parameters={"n": 1})
    store = open_store()
    for name, schedules in (("d", [daily, NEVER]), ("bare", []), ("quiet", [NEVER])):
        register(store.agenda(), DeploymentSpec(
            name=name, flow_name="f", entrypoint="f.py:f", parameter_schema=schema,
            schedules=[each.to_json() for each in schedules]), 1.0)
    store.close()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Return what a command says in JSON."""
    capsys.readouterr()
    assert main([*arguments, "--output", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main([*arguments]) in (1, 2)
    store = open_store()
    assert store.flow_runs() == []
    store.close()
    return capsys.readouterr().err


def test_pausing_and_deleting_tell_what_came_of_it_in_json(
        capsys: pytest.CaptureFixture[str]) -> None:
    row = said(capsys, "deployment", "pause", "d")
    assert (row["name"], row["paused"]) == ("f/d", True)
    assert said(capsys, "deployment", "resume", "d")["paused"] is False
    row = said(capsys, "schedule", "pause", "d", "daily")
    assert (row["slug"], row["active"]) == ("daily", False)
    assert said(capsys, "schedule", "resume", "d", "daily")["active"] is True
    said(capsys, "deployment", "run", "d")
    gone = said(capsys, "deployment", "delete", "d")
    assert (gone["name"], gone["deleted"], gone["cancelled"]) == ("f/d", True, 1)


SPAN = ("--from", "2026-03-28", "--to", "2026-03-30")


def test_a_dry_backfill_tells_each_slot_and_makes_nothing(
        capsys: pytest.CaptureFixture[str]) -> None:
    facts = said(capsys, "deployment", "backfill", "d", *SPAN, "--dry-run")
    assert (facts["deployment"], facts["dry_run"], facts["cut"], facts["run"]) == (
        "f/d", True, False, None)
    assert facts["slots"] == [
        {"schedule": "daily", "slot": f"2026-03-{day}T04:00:00+0{offset}:00",
         "slot_utc": f"2026-03-{day}T0{4 - offset}:00:00.000000+00:00", "runs": True,
         "why": "has no run", "flow_run_id": None} for day, offset in ((28, 1), (29, 2))]
    assert main(["deployment", "backfill", "d", *SPAN, "--dry-run", "--newest-first"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["2026-03-29T04:00:00+02:00", "daily", "runs", "has", "no", "run"],
        ["2026-03-28T04:00:00+01:00", "daily", "runs", "has", "no", "run"],
        ["2", "of", "2", "slot(s)", "would", "run", "(--dry-run)."]]
    store = open_store()
    assert store.flow_runs() == [] and store.agenda().queue_of("d") == []
    store.close()


@pytest.mark.parametrize(("name", "options", "text"), [
    ("bare", (), "has no schedule, so that it has no slots"),
    ("gone", (), "There is no deployment 'gone'"),
    ("d", ("--schedule", "weekly"), "has no schedule 'weekly': it has daily, never"),
    ("d", ("-p", "m=1"), "m: the flow has no such parameter"),
    ("d", ("-p", "n=x"), "n: 'x' is not of type 'integer'"),
    ("d", ("--to", "2026-03-28"), "is not later"),
    ("d", ("--from", "2998-01-01", "--to", "2998-01-02"), "still to come"),
    ("d", ("--limit", "1"), "more than 1 slots"),
    ("d", ("--reprocess", "some"), "'some' is not one of"),
    ("d", ("--max-active", "0"), "0 is not in the range"),
])
def test_a_backfill_that_cannot_be_meant_is_refused_before_anything_is_made(
        capsys: pytest.CaptureFixture[str], name: str, options: tuple[str, ...],
        text: str) -> None:
    assert text in refused(capsys, "deployment", "backfill", name, *SPAN, *options)


def test_schedules_that_rest_count_only_where_they_are_named(
        capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "schedule", "pause", "d", "daily")
    assert said(capsys, "deployment", "backfill", "d", *SPAN, "--dry-run")["slots"] == []
    named = said(capsys, "deployment", "backfill", "d", *SPAN, "--dry-run", "--schedule", "daily")
    assert len(named["slots"]) == 2
    said(capsys, "schedule", "pause", "quiet", "never")
    error = refused(capsys, "deployment", "backfill", "quiet", *SPAN)
    assert "rest (never)" in error and "--schedule" in error


def test_deploying_warns_of_names_that_nothing_answers_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "f.py").write_text("from dataflow import flow\n@flow\ndef f(): ...\n")
    (tmp_path / "dataflow.yaml").write_text("""
name: x
deployments:
  - {name: one, entrypoint: f.py:f, after: quite}
  - name: two
    entrypoint: f.py:f
    after: f/one
    triggers: [{kind: event, name: q, action: pause, deployment: zz}]
""")
    monkeypatch.chdir(tmp_path)
    assert main(["deploy", "--all"]) == 0
    near, none = capsys.readouterr().err.splitlines()
    assert near == "Warning: f/one: after names 'quite', which is not registered; is 'quiet' meant?"
    assert none == ("Warning: f/two: triggers[0].deployment names 'zz', which is not registered, "
                    "and nothing follows until it is.")
