"""``dataflow.yaml``: what becomes of it, and that every mistake is listed with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dataflow import flow
from dataflow.deployments import DeploymentSpec, Project, fitted, load_project, project_schema
from dataflow.deployments.project_file import parse_project
from dataflow.deployments.project_flows import with_flows
from dataflow.deployments.project_yaml import read_yaml
from dataflow.deployments.published_schema import SCHEMA_FILE, project_schema_text
from dataflow.exceptions import (
    DefinitionError,
    DeploymentDefinitionError,
    ProjectFileError,
    ResumeError,
)

FILE = Path("/srv/shop/dataflow.yaml")
WHOLE = """\
name: shop
source: git+https://example.org/shop.git@main#subfolder=flows
alerts:
  - {on: failed, channels: [ops]}
defaults:
  work_pool: main
  tags: [prod]
  timezone: Europe/Berlin
  parameters: {limit: 5, region: eu}
  environment: {TZ: UTC}
  cron: 0 1 * * *
deployments:
  - name: nightly
    entrypoint: report.py:make_report
    schedules:
      - {cron: 0 4 * * mon-fri, slug: early, catch_up: none}
      - {interval: 3600, active: false}
    parameters: {region: us, day: 2024-02-29, at: 06:00, on: yes}
    environment: {LEVEL: "1"}
    tags: [eu]
    task_runner: dask
    retries: 2
    timeout_seconds: 60
    alerts: [{on: late, channels: [ops]}]
    description: |
      Makes the report.
  - name: hourly
    entrypoint: shop.load:load_all
    flow: load
    source: {url: s3://bucket/code.zip, subfolder: app}
    work_pool: other
    after: nightly
"""


def parsed(text: str, **checks: Any) -> Project:
    return parse_project(text, FILE, **checks)


def mistakes_of(text: str, **checks: Any) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ProjectFileError) as caught:
        parsed(text, **checks)
    error = caught.value
    assert isinstance(error, DefinitionError) and error.file == str(FILE)
    for each in error.problems:
        where = str(FILE) if each.line is None else f"{FILE}:{each.line}"
        assert f"  {where}: {f'{each.path} {each.text}'.strip()}" in str(error).splitlines()
    return [(each.line, each.path, each.text) for each in error.problems]


def of_one(keys: str) -> str:
    """Return a file with one deployment; its further keys begin in line 4."""
    return ("deployments:\n  - name: a\n    entrypoint: a.py:f\n"
            + "".join(f"    {line}\n" for line in keys.splitlines()))


def test_file_becomes_specs() -> None:
    project = parsed(WHOLE)
    assert (project.file, project.name, project.lines) == (FILE, "shop", (13, 27))
    assert project.specs == (
        DeploymentSpec(
            name="nightly", flow_name="make-report", entrypoint="report.py:make_report",
            source="git+https://example.org/shop.git@main#subfolder=flows",
            schedules=({"cron": "0 4 * * mon-fri", "slug": "early", "catch_up": "none",
                        "timezone": "Europe/Berlin"}, {"interval": 3600.0, "active": False}),
            parameters={"limit": 5, "region": "us", "day": "2024-02-29", "at": "06:00",
                        "on": "yes"},
            environment={"TZ": "UTC", "LEVEL": "1"}, tags=("eu", "prod"), work_pool="main",
            task_runner={"name": "dask", "options": {}}, retries=2, timeout_seconds=60.0,
            alerts=({"on": "failed", "channels": ["ops"]}, {"on": "late", "channels": ["ops"]}),
            description="Makes the report.\n"),
        DeploymentSpec(
            name="hourly", flow_name="load", entrypoint="shop.load:load_all",
            source="s3://bucket/code.zip#subfolder=app",
            schedules=({"cron": "0 1 * * *", "timezone": "Europe/Berlin"},),
            parameters={"limit": 5, "region": "eu"}, environment={"TZ": "UTC"}, tags=("prod",),
            work_pool="other", alerts=({"on": "failed", "channels": ["ops"]},),
            after="make-report/nightly"))


def test_code_is_in_the_folder_of_the_file_by_default() -> None:
    assert parsed(of_one("")).specs[0].source == "/srv/shop"
    assert parsed(of_one("source: ../other")).specs[0].source == "/srv/other"
    assert parsed(of_one("source: {url: sub}")).specs[0].source == "/srv/shop/sub"


@pytest.mark.parametrize("keys, schedules", [
    ("cron: '* * * * *'", [{"cron": "* * * * *"}]),
    ("interval: 1.5", [{"interval": 1.5}]),
    ("rrule: FREQ=DAILY\ntimezone: UTC", [{"rrule": "FREQ=DAILY", "timezone": "UTC"}]),
    ("at: 2030-01-01T00:00\ntimezone: Europe/Berlin",
     [{"at": ["2030-01-01T00:00"], "timezone": "Europe/Berlin"}]),
    ("at: 2030-01-01T00:00:00+00:00", [{"at": ["2030-01-01T00:00:00+00:00"]}]),
    ("at: [a, b]\ninterval: 5", [{"interval": 5.0}, {"at": ["a", "b"]}]),
])
def test_a_schedule_may_stand_at_the_deployment_itself(keys: str, schedules: list[Any]) -> None:
    assert list(parsed(of_one(keys)).specs[0].schedules) == schedules


@pytest.mark.parametrize("keys, expected", [
    ("entrypont: x", [(4, "deployments[0].entrypont",
                       "is no known key; did you mean 'entrypoint'?")]),
    ("Work-Pool: x", [(4, "deployments[0].Work-Pool",
                       "is no known key; did you mean 'work_pool'?")]),
    ("schedules:\n  - crn: x\n    cron: y",
     [(5, "deployments[0].schedules[0].crn", "is no known key; did you mean 'cron'?")]),
    ("source: {url: x, rev: y}",
     [(4, "deployments[0].source.rev", "is no known key; did you mean 'ref'?")]),
    ("<<: {a: 1}", [(4, "deployments[0].<<",
                     "is not supported: what deployments share stands under 'defaults'")]),
    ("version: 1.10", [(4, "deployments[0].version", "must be text, got 1.1: write it in quotes")]),
    ("paused: yes", [(4, "deployments[0].paused", "must be true or false, got 'yes'")]),
    ("retries: '2'", [(4, "deployments[0].retries", "must be a whole number, got '2'")]),
    ("retries: 2.5", [(4, "deployments[0].retries", "must be a whole number, got 2.5")]),
    ("timeout_seconds: soon", [(4, "deployments[0].timeout_seconds",
                                "must be a number, got 'soon'")]),
    ("tags: prod", [(4, "deployments[0].tags", "must be a list, got 'prod'")]),
    ("tags:\n  - a\n  - [b]", [(6, "deployments[0].tags[1]", "must be text, got ['b']")]),
    ("environment: {API_TOKEN: 12345}",
     [(4, "deployments[0].environment.API_TOKEN", "must be text, got '***': write it in quotes")]),
    ("parameters: [1]", [(4, "deployments[0].parameters", "must be a mapping, got [1]")]),
    ("collision: DROP", [(4, "deployments[0].collision",
                          "must be 'ENQUEUE' or 'CANCEL_NEW', got 'DROP'")]),
    ("limit: 0", [(4, "deployments[0].limit", "should be greater than or equal to 1, got 0")]),
    ("schedules: [{cron: x, interval: 1}]",
     [(4, "deployments[0].schedules",
       "schedules[0] must have one of cron, interval, rrule, at, got cron and interval")]),
    ("environment: {1A: x}",
     [(4, "deployments[0].environment", "'1A' is no name of an environment variable")]),
    ("triggers: [{kind: state, states: fialed}]",
     [(4, "deployments[0].triggers",
       ("triggers[0]: states 'fialed' is no state (one with a name of its own is an event: "
        "OnEvent('dataflow.flow-run.<name>')); did you mean 'failed'?"))]),
    ("triggers: [{kind: event, name: a, slug: x}, {kind: event, name: b, slug: x}]",
     [(4, "deployments[0].triggers", "several have the slug 'x'")]),
    ("after: a", [(4, "deployments[0].after", "'a' is the deployment itself")]),
    ("flow: a/b", [(4, "deployments[0].flow", "'a/b' must be free of /")]),
    ("retries: 1\nretries: 2", [(5, "deployments[0].retries",
                                 "is there twice: first in line 4")]),
    ("parameters: {1: x}", [(4, "deployments[0].parameters",
                             "has the key '1': keys are texts; write it in quotes")]),
    ("parameters: {? [a] : x}", [(4, "deployments[0].parameters",
                                  "has a list as a key: keys are texts; write it in quotes")]),
    ("parameters: &a {b: *a}", [(4, "deployments[0].parameters.b", "holds itself")]),
    ("parameters: {a: .nan}", [(4, "deployments[0].parameters.a",
                                "is nan, which JSON does not know")]),
    ("description: !!int x", [(4, "deployments[0].description", "'x' is no int")]),
])
def test_mistake_is_listed_with_line_path_and_what_is_meant(
    keys: str, expected: list[tuple[int, str, str]]
) -> None:
    assert mistakes_of(of_one(keys)) == expected


@pytest.mark.parametrize("tag", [
    "!!python/object/apply:os.system ['id']", "!!python/name:os.system", "!!binary aGk=",
    "!!timestamp 2024-01-01", "!!set {a}", "!mine x"])
def test_tags_that_make_objects_are_refused(tag: str) -> None:
    [(line, path, said), *_] = mistakes_of(of_one(f"parameters:\n  a: {tag}"))
    assert (line, path) == (5, "deployments[0].parameters.a") and "which is refused" in said


def test_source_that_is_refused_is_listed_without_its_password() -> None:
    [(line, path, said)] = mistakes_of(of_one("source: git+http://me:secret@example.org/a.git"))
    assert (line, path) == (4, "deployments[0].source")
    assert "over plain http" in said and "secret" not in said
    [(line, path, said)] = mistakes_of(of_one("source: git+https://me:secret@example.org/a.git"))
    assert path == "deployments[0].source" and "${TOKEN}" in said and "secret" not in said


def test_everything_that_is_wrong_is_listed_at_once_by_line() -> None:
    found = mistakes_of("""\
nam: shop
defaults:
  retries: many
deployments:
  - name: a
    entrypoint: a.py:f
    paused: 1
  - entrypoint: b
    tags: []
  - name: b/c
    entrypoint: b.py:f
    environment: {"x y": z}
  - name: d
    entrypoint: a.py:f
  - name: d
    entrypoint: a.py:f
    limit: 1
    limit: 2
alerts: {}
""")
    assert [(line, path) for line, path, _ in found] == [
        (1, "nam"), (3, "defaults.retries"), (7, "deployments[0].paused"),
        (8, "deployments[1].name"), (10, "deployments[2].name"),
        (12, "deployments[2].environment"), (15, "deployments[4].name"),
        (18, "deployments[4].limit"), (19, "alerts")]


@pytest.mark.parametrize("text, line, said", [
    ("", None, "is empty: it needs 'deployments'"),
    ("# nothing\n", None, "is empty"),
    ("[]", 1, "must be a mapping of keys"),
    ("text", 1, "must be a mapping of keys"),
    ("{}", None, "is missing"),
    ("a: [", 1, "is no YAML that can be read: while parsing a flow node"),
    ("a: 1\n---\nb: 2", 2, "is no YAML that can be read: expected a single document"),
    ("a: \tb: c", 1, "is no YAML that can be read"),
    ("a: \x01", None, "is no YAML that can be read"),
    ('a: "\\UFFFFFFFF"', None, "is no YAML that can be read"),
    ("[" * 5000, None, "is nested too deep"),
    ("[" * 100 + "]" * 100, 1, "is nested more than 64 deep"),
    ("x" * (1 << 20) + "y", None, "at most 1048576"),
    ("a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n"
        for n in range(9)), None, "has more than 50000 values, aliases included"),
    ("a: " + "9" * 5000, 1, "is no int"),
    ("a: 1e999", 1, "is inf, which JSON does not know"),
    ('a: "\\0"', 1, "has the character NUL"),
    ('a: "\\ud800"', 1, "half a character"),
])
def test_text_that_is_no_project_is_refused(text: str, line: int | None, said: str) -> None:
    found = mistakes_of(text)
    assert any(said in text for _, _, text in found), found
    assert line is None or line in [at for at, _, _ in found]


def test_after_must_be_clear_and_go_in_no_circle() -> None:
    two = ("deployments:\n  - {name: a, entrypoint: 'x.py:f', after: %s}\n"
           "  - {name: b, entrypoint: 'x.py:g', after: %s}\n"
           "  - {name: b, entrypoint: 'x.py:h', after: other/elsewhere}\n")
    assert [spec.after for spec in parsed(two % ("g/b", "unknown")).specs] == [
        "g/b", "unknown", "other/elsewhere"]
    assert mistakes_of(two % ("b", "x")) == [
        (2, "deployments[0].after", "'b' may be g/b or h/b: write which")]
    assert mistakes_of(two % ("g/b", "a")) == [
        (2, "deployments[0].after", "goes in a circle: f/a after g/b after f/a"),
        (3, "deployments[1].after", "goes in a circle: g/b after f/a after g/b")]


def test_names_are_unique_within_a_flow() -> None:
    text = ("deployments:\n  - {name: a, entrypoint: 'x.py:f'}\n"
            "  - {name: a, entrypoint: 'y.py:%s'}\n")
    assert [spec.full_name for spec in parsed(text % "g").specs] == ["f/a", "g/a"]
    assert mistakes_of(text % "f") == [
        (3, "deployments[1].name", "'a' of flow 'f' is there twice: also deployments[0]")]


def test_schedules_are_held_against_the_check_given() -> None:
    seen: list[dict[str, Any]] = []

    def check(value: dict[str, Any]) -> None:
        seen.append(value)
        if "bad" in json.dumps(value):
            raise ValueError("cron: 'bad' has no five fields")

    assert mistakes_of(of_one("cron: bad\nschedules: [{interval: 5}]"),
                       check_schedule=check) == [
        (4, "deployments[0].cron", "cron: 'bad' has no five fields")]
    assert seen == [{"interval": 5.0}, {"cron": "bad"}]


def test_alerts_are_checked_where_they_stand() -> None:
    found = mistakes_of("""\
alerts:
  - on: failed
    chanels: [ops]
defaults:
  alerts:
    - {on: failed}
deployments:
  - name: a
    entrypoint: a.py:f
    alerts:
      - on: late
        channels: [ops]
      - on: faild
        channels: [ops]
      - channels:
          - ops
          - slack://TokenA/TokenB/TokenC
""")
    assert [(line, path) for line, path, _ in found] == [
        (3, "alerts[0].chanels"), (6, "defaults.alerts[0]"), (13, "deployments[0].alerts[1].on"),
        (15, "deployments[0].alerts[2]")]
    said = [text for _, _, text in found]
    assert "Did you mean 'channels'?" in said[0]
    assert "names no channels" in said[1]
    assert "Did you mean 'failed'?" in said[2]
    assert "slack://…, a URL with a secret" in said[3]
    assert "Token" not in str(said)


def test_file_is_found_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProjectFileError, match="There is no project file /.*/dataflow.yaml"):
        load_project(tmp_path)
    (tmp_path / "dataflow.yml").write_text(of_one(""))
    monkeypatch.chdir(tmp_path)
    for project in (load_project(), load_project(tmp_path), load_project("dataflow.yml")):
        assert project.file == tmp_path / "dataflow.yml"
        assert project.specs[0].source == str(tmp_path)
    (tmp_path / "dataflow.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProjectFileError, match="cannot be read"):
        load_project(tmp_path)


@flow
def make_report(day: str, region: str = "eu", **more: Any) -> None:
    """Make the report."""


@flow(name="loading")
def load_all(limit: int, region: str) -> None: ...


def test_flows_fill_in_names_and_schemas_and_links_follow() -> None:
    flows = {"make_report": make_report, "load_all": load_all}
    text = WHOLE.replace("    flow: load\n", "").replace("after: nightly", "")
    project = with_flows(parsed(text + "  - {name: next, entrypoint: 'a.py:make_report', "
                                "after: hourly, parameters: {day: x}}\n"),
                         lambda spec: flows[spec.entrypoint.rpartition(":")[2]])
    assert [spec.full_name for spec in project.specs] == [
        "make-report/nightly", "loading/hourly", "make-report/next"]
    assert project.specs[2].after == "loading/hourly"
    assert project.specs[1].parameter_schema == load_all.parameter_schema
    assert project.specs[2].description == "Make the report."


def test_triggers_stand_in_a_project_file_in_one_form() -> None:
    spec = parsed(of_one("triggers:\n  - {kind: state, states: failed, match: 'tag:prod'}\n"
                         "  - kind: file\n    url: /in/*.csv\n"
                         "    parameters: {path: '{{ event.payload.path }}'}")).specs[0]
    assert list(spec.triggers) == [
        {"kind": "state", "states": ["failed"], "match": ["tag:prod"]},
        {"kind": "file", "url": "/in/*.csv",
         "parameters": {"path": "{{ event.payload.path }}"}}]


def test_parameters_that_a_trigger_leaves_out_or_makes_up_are_told_of() -> None:
    def problems(*triggers: dict[str, Any], after: str | None = None) -> list[tuple[str, str]]:
        with pytest.raises(DeploymentDefinitionError) as caught:
            fitted(DeploymentSpec(name="d", flow_name="loading", entrypoint="a.py:load_all",
                                  parameters={"limit": 1}, triggers=triggers, after=after),
                   load_all)
        return list(caught.value.problems)

    (missing,) = problems({"kind": "event", "name": "x"})
    assert missing[0] == "triggers[0].parameters"
    assert "needs region, and nobody gives it to a triggered run" in missing[1]
    (unknown,) = problems({"kind": "event", "name": "x", "parameters": {
        "region": "{{ event.resource }}", "regoin": 1}})
    assert "regoin" in unknown[1]
    (wrong,) = problems({"kind": "event", "name": "x", "parameters": {
        "region": "{{ event.resource }}", "limit": "many"}})
    assert wrong[0] == "triggers[0].parameters" and "limit" in wrong[1]
    assert [field for field, _ in problems(after="a/b")] == ["after"]
    fitted(DeploymentSpec(name="d", flow_name="loading", entrypoint="a.py:load_all", triggers=[
        {"kind": "event", "name": "x", "action": "pause"},
        {"kind": "event", "name": "x", "parameters": {
            "region": "{{ event.resource }}", "limit": "{{ event.payload.n }}"}}]), load_all)


def test_all_flows_that_do_not_fit_are_listed() -> None:
    def load(spec: DeploymentSpec) -> Any:
        if spec.name == "gone":
            raise ResumeError("There is no module gone.")
        return load_all

    text = ("deployments:\n  - {name: gone, entrypoint: 'gone:f'}\n"
            "  - {name: b, entrypoint: 'y:g', parameters: {limit: many, size: 1}, interval: 5}\n")
    with pytest.raises(ProjectFileError) as caught:
        with_flows(parsed(text), load)
    found = [(each.line, each.path) for each in caught.value.problems]
    assert found == [(2, "deployments[0].entrypoint"), (3, "deployments[1].parameters"),
                     (3, "deployments[1].schedules[0].parameters"),
                     (3, "deployments[1].schedules[0].parameters")]


def test_published_schema_is_that_of_the_models() -> None:
    assert SCHEMA_FILE.read_text() == project_schema_text(), (
        "run: python -c 'from dataflow.deployments.published_schema import *; "
        "SCHEMA_FILE.write_text(project_schema_text())'")


def test_published_schema_takes_and_refuses_what_the_parser_does() -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    assert schema == project_schema()
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)

    assert list(validator.iter_errors(read_yaml(WHOLE).value)) == []
    for keys in ("entrypont: x", "version: 1.10", "paused: yes", "limit: 0", "collision: DROP",
                 "schedules: [{cron: x, interval: 1}]", "schedules: [{slug: x}]",
                 "source: {rev: x}", "interval: 0", "task_runner: [dask]", "tags: prod"):
        assert list(validator.iter_errors(read_yaml(of_one(keys)).value)), keys
        assert mistakes_of(of_one(keys)), keys
