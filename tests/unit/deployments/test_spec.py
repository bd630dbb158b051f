"""A deployment as a value: its checks, JSON, digest, and what changed between two."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest

from dataflow import flow
from dataflow.deployments import DeploymentSpec, Difference, differences, fitted, spec_of
from dataflow.deployments.spec_checks import Problem
from dataflow.exceptions import DefinitionError, DeploymentDefinitionError


def spec(**changed: Any) -> DeploymentSpec:
    return DeploymentSpec(**{"name": "nightly", "flow_name": "make-report",
                             "entrypoint": "flows/report.py:make_report", **changed})


FULL = spec(
    source="git+https://example.org/code.git@main#subfolder=app",
    parameters={"day": "today", "limits": [1, 2.5, None, True]},
    parameter_schema={"type": "object"},
    schedules=[{"cron": "0 4 * * *", "timezone": "Europe/Berlin", "slug": "early"},
               {"interval": 60}],
    work_pool="main", work_queue="slow", priority=5, tags=["prod", "eu", "prod"], version="1.2",
    description="Makes it.", environment={"B": "2", "A": "1"},
    task_runner={"name": "dask", "options": {"address": "tcp://x:1"}}, retries=2,
    retry_delay_seconds=5, timeout_seconds=60, limit=1, collision="CANCEL_NEW", on_crash="resume",
    alerts=[{"on": "failed", "channels": ["ops"]}], paused=True, after="load/hourly")


def test_json_is_json_and_makes_the_same_spec_again() -> None:
    for each in (spec(), FULL):
        again = DeploymentSpec.from_json(json.loads(json.dumps(each.to_json())))
        assert again == each and again.digest() == each.digest()
        assert pickle.loads(pickle.dumps(each)) == each
    assert FULL.full_name == "make-report/nightly"


def test_values_come_in_one_form() -> None:
    assert FULL.tags == ("eu", "prod") and list(FULL.environment) == ["A", "B"]
    assert FULL.retry_delay_seconds == 5.0 and isinstance(FULL.retry_delay_seconds, float)
    assert spec(task_runner="dask").task_runner == {"name": "dask", "options": {}}
    assert spec(source={"url": "git+https://example.org/a.git", "ref": "v1"}).source == (
        "git+https://example.org/a.git@v1")


def test_schedules_may_be_objects_that_say_their_json() -> None:
    class Cron:
        def to_json(self) -> dict[str, Any]:
            return {"cron": "0 4 * * *", "active": False}

    assert spec(schedules=[Cron()]).schedules == ({"cron": "0 4 * * *", "active": False},)


def test_spec_is_not_changed_by_who_gave_or_took_its_values() -> None:
    given = {"list": [1]}
    made = spec(parameters=given)
    given["list"].append(2)
    made.to_json()["parameters"]["list"].append(3)
    assert made.parameters == {"list": [1]}


def test_all_triggers_that_cannot_be_meant_are_told_of_at_once() -> None:
    with pytest.raises(DeploymentDefinitionError) as caught:
        spec(triggers=[{"kind": "evnt"}, {"kind": "event", "name": "x"}, {"kind": "file"}])
    first, second = caught.value.problems
    assert "triggers[0]: kind 'evnt' is none" in first.text and first.field == "triggers"
    assert "triggers[2]: a trigger of kind file needs 'url'" in second.text


@pytest.mark.parametrize("field, value, said", [
    ("name", "", "must be a text that is not empty"),
    ("name", "a/b", "must be free of /"),
    ("name", " a", "one line without spaces around it"),
    ("name", "a\nb", "one line"),
    ("name", "x" * 201, "at most 200"),
    ("name", "a\ud800", "half a character"),
    ("flow_name", 3, "got 3"),
    ("entrypoint", "report.py", "names no flow"),
    ("entrypoint", "a.py:f.<locals>.g", "no flow after the colon that another process could find"),
    ("entrypoint", 1, "package.module:flow"),
    ("source", "git+ext::sh -c id", "is refused"),
    ("source", "git+https://me:secret@example.org/a.git", "a password or token in it"),
    ("parameters", [1], "must be a mapping"),
    ("parameters", {"a": float("nan")}, "parameters.a is nan"),
    ("parameters", {"a": {1: 2}}, "parameters.a has a key 1"),
    ("parameters", {"a": [{1}]}, "parameters.a[0] is a set"),
    ("parameters", {"a": "x\0"}, "NUL"),
    ("schedules", [{"cron": "* * * * *", "interval": 5}], "schedules[0] must have one of"),
    ("schedules", [{}], "got none"),
    ("schedules", {"cron": "x"}, "must be a list"),
    ("schedules", [{"cron": "1", "slug": "a"}, {"cron": "2", "slug": "a"}], "the slug 'a'"),
    ("priority", True, "must be a whole number"),
    ("priority", 1 << 40, "beyond what a store can hold"),
    ("tags", "prod", "must be a list of texts"),
    ("tags", ["a", ""], "is no tag"),
    ("environment", {"1A": "x"}, "no name of an environment variable"),
    ("environment", {"A": 1}, "A must be a text, got int"),
    ("task_runner", {"name": "dask", "option": {}}, "'option' is no part of it"),
    ("task_runner", {"options": {}}, "must be a text that is not empty"),
    ("retries", -1, "must be at least 0"),
    ("retries", 1.5, "must be a whole number"),
    ("retry_delay_seconds", -1, "must be 0 or more"),
    ("timeout_seconds", 0, "must be above 0"),
    ("timeout_seconds", float("inf"), "finite"),
    ("limit", 0, "must be at least 1"),
    ("collision", "DROP", "must be 'ENQUEUE' or 'CANCEL_NEW'"),
    ("on_crash", None, "must be 'crash' or 'resume'"),
    ("alerts", ["x"], "alerts[0] must be an Alert, got str"),
    ("alerts", {"on": "failed"}, "must be a list"),
    ("alerts", [{"on": "failed", "chanels": ["ops"]}], "Did you mean 'channels'?"),
    ("alerts", [{"on": "failed"}], "alerts[0] names no channels"),
    ("alerts", [{"channels": ["json://host/secret"]}], "json://host/…, a URL with a secret"),
    ("paused", "yes", "must be true or false"),
    ("after", "a/b/c", "'flow/deployment'"),
    ("after", "nightly", "is the deployment itself"),
    ("version", 1.2, "must be a text"),
])
def test_value_that_cannot_be_meant_is_refused_with_its_field(
    field: str, value: Any, said: str
) -> None:
    with pytest.raises(DeploymentDefinitionError) as caught:
        spec(**{field: value})
    assert [each.field for each in caught.value.problems] == [field]
    assert said in str(caught.value) and said in caught.value.problems[0].text
    assert isinstance(caught.value, DefinitionError)
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


def test_all_that_is_wrong_is_listed() -> None:
    with pytest.raises(DeploymentDefinitionError) as caught:
        spec(retries=-1, limit=0, paused=None)
    assert [each.field for each in caught.value.problems] == ["retries", "limit", "paused"]


@pytest.mark.parametrize("entrypoint", ["/srv/a.py:f", "../a.py:f", "a/../../b.py:f"])
def test_entry_point_must_not_lead_out_of_a_source(entrypoint: str) -> None:
    assert spec(entrypoint=entrypoint).entrypoint == entrypoint  # of a local folder it may
    with pytest.raises(DeploymentDefinitionError, match="leads out of the source"):
        spec(entrypoint=entrypoint, source="git+https://example.org/a.git")


def test_json_of_another_shape_is_refused_with_the_nearest_field() -> None:
    with pytest.raises(DeploymentDefinitionError) as caught:
        DeploymentSpec.from_json({"name": "a", "flow_name": "b", "entrypont": "a.py:f"})
    assert caught.value.problems == (
        Problem("entrypont", "is no field of a deployment; did you mean 'entrypoint'?"),
        Problem("entrypoint", "is missing"))


def test_digest_is_of_what_a_run_depends_on_in_whatever_order() -> None:
    same = replace(FULL, parameters=dict(reversed(FULL.parameters.items())), tags=("eu", "prod"),
                   schedules=(), work_pool=None, work_queue=None, priority=0, description=None,
                   limit=None, collision="ENQUEUE", alerts=(), paused=False, after=None)
    assert same != FULL and same.digest() == FULL.digest() and len(FULL.digest()) == 32
    others = [replace(FULL, **change) for change in (
        {"name": "n"}, {"flow_name": "f"}, {"entrypoint": "b.py:f"}, {"source": None},
        {"parameters": {}}, {"parameter_schema": {}}, {"tags": ()}, {"version": None},
        {"environment": {}}, {"task_runner": None}, {"retries": None},
        {"retry_delay_seconds": None}, {"timeout_seconds": None}, {"on_crash": "crash"})]
    assert len({FULL.digest(), *(other.digest() for other in others)}) == len(others) + 1


def test_digest_is_the_same_in_every_version_of_the_program() -> None:
    assert spec(parameters={"é": 1}).digest() == "2a89d1c1e8df08a3789e9df0888d5416"


def test_differences_name_fields_and_keys_and_mask_secrets() -> None:
    old = spec(parameters={"a": 1, "b": 2}, environment={"API_TOKEN": "one", "A": "x"},
               task_runner={"name": "dask", "options": {"password": "p", "n": 1}})
    new = replace(old, parameters={"a": 1, "b": 3, "c": None}, retries=2,
                  schedules=[{"interval": 5}], environment={"API_TOKEN": "two"},
                  task_runner={"name": "dask", "options": {"password": "q", "n": 1}})
    assert differences(old, new) == [
        Difference("parameters.b", 2, 3),
        Difference("parameters.c", None, None),
        Difference("schedules", [], [{"interval": 5}]),
        Difference("environment.A", "x", None),
        Difference("environment.API_TOKEN", "***", "***"),
        Difference("task_runner", {"name": "dask", "options": {"password": "***", "n": 1}},
                   {"name": "dask", "options": {"password": "***", "n": 1}}),
        Difference("retries", None, 2),
    ]
    assert differences(old, old) == []


def test_differences_from_nothing_are_all_that_is_not_default() -> None:
    assert differences(None, spec(limit=3, tags=["a"])) == [
        Difference("tags", [], ["a"]), Difference("limit", None, 3)]


@flow(version="7")
def make_report(day: str, copies: int = 1) -> None:
    """Make the report.

    Parameters
    ----------
    day
        Which.
    """


def test_spec_of_a_flow_has_what_the_flow_says() -> None:
    from pathlib import Path

    made = spec_of(make_report, "nightly", folder=Path(__file__).parent, parameters={"day": "x"})
    assert (made.full_name, made.entrypoint) == (
        "make-report/nightly", "test_spec.py:make_report")
    assert made.version == "7" and made.description == make_report.description
    assert made.parameter_schema == make_report.parameter_schema
    assert fitted(made, make_report) == made
    own = spec_of(make_report, "nightly", entrypoint="jobs:make_report", version="8",
                  description="other")
    assert (own.entrypoint, own.version, own.description) == ("jobs:make_report", "8", "other")


@pytest.mark.parametrize("fields, where, said", [
    ({"parameters": {"dya": "x"}}, "parameters", "unexpected keyword argument 'dya'"),
    ({"parameters": {"copies": "many"}}, "parameters", "copies"),
    ({"schedules": [{"interval": 5}]}, "schedules[0].parameters", "needs day"),
    ({"parameters": {"day": "x"}, "schedules": [{"interval": 5, "parameters": {"copies": "y"}}]},
     "schedules[0].parameters", "copies"),
])
def test_parameters_that_do_not_fit_the_flow_are_refused(
    fields: dict[str, Any], where: str, said: str
) -> None:
    with pytest.raises(DeploymentDefinitionError) as caught:
        spec_of(make_report, "nightly", **fields)
    assert [name for name, _ in caught.value.problems] == [where]
    assert said in str(caught.value)


def test_flow_that_another_process_cannot_find_is_refused() -> None:
    @flow
    def inner() -> None: ...

    with pytest.raises(DeploymentDefinitionError, match="made inside of a function"):
        spec_of(inner, "nightly")


def test_triggers_may_be_objects_one_or_several_and_change_no_version() -> None:
    from dataflow.triggers import OnEvent, OnState

    @flow
    def load(n: int = 1) -> None: ...

    one = load.to_deployment("d", entrypoint="a.py:load", triggers=OnState("failed", match="x"))
    assert one.triggers == ({"kind": "state", "states": ["failed"], "match": ["x"]},)
    several = load.to_deployment("d", entrypoint="a.py:load", after="etl/d", triggers=[
        OnEvent("a", parameters={"n": "{{ event.payload.n }}"}), {"kind": "event", "name": "b"}])
    assert [each["name"] for each in several.triggers] == [["a"], ["b"]]
    assert several.digest() == one.digest()
    assert [each.field for each in differences(one, several)] == ["after", "triggers"]
    assert DeploymentSpec.from_json(json.loads(json.dumps(several.to_json()))) == several
