"""Triggers as they are written: in Python, as JSON, as programs for Prefect have them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dataflow.exceptions import TriggerError
from dataflow.triggers import (
    Absence,
    DeploymentEventTrigger,
    OnEvent,
    OnFile,
    OnState,
    OnWebhook,
    Trigger,
    trigger_from_json,
)

ALL = [
    OnState("failed"), OnState(["failed", "crashed"], match=["tag:prod & flow:etl-*", "nightly"],
                               count=3, within="1h", for_each="flow"),
    OnState("Timed-Out", action="cancel"), OnEvent("a.*"),
    OnEvent({"b", "a"}, resource="r*", match="tag:x", payload={"a.b": {">": 3}, "c": [1, "x*"]},
            parameters={"x": "{{ event.payload.x }}", "y": [1, {"z": None}]}, slug="mine",
            delay=timedelta(minutes=1)),
    OnEvent("x", action="pause", deployment="load/d"), OnEvent("x", active=False),
    Absence("x", within=60), Absence(OnState("any"), within="10m", after=OnState("running"),
                                     for_each="resource", action="cancel"),
    Absence(OnEvent("x", resource="r"), within=1.5, armed="first"),
    Absence(not_completed_by="06:00", timezone="Europe/Berlin", days="mon-fri", match="tag:prod"),
    OnFile("/in"), OnFile("s3://b/in/*.csv", every="1m", settle=0, existing="run", on="changed",
                          ignore=(), options={"endpoint": "http://x", "secret_key": "${KEY}"}),
    OnWebhook("push", secret="${HOOK}", payload={"body.ref": "refs/*"}, count=2),
]


@pytest.mark.parametrize("trigger", ALL, ids=lambda each: each.describe())
def test_json_gives_the_trigger_back(trigger: Trigger) -> None:
    import json

    text = json.dumps(trigger.to_json())
    again = trigger_from_json(json.loads(text))
    assert again == trigger
    assert again.digest == trigger.digest
    assert json.dumps(again.to_json()) == text
    assert trigger.describe()


def test_json_has_only_what_is_not_as_by_default() -> None:
    assert OnState("failed", match="tag:prod").to_json() == {
        "kind": "state", "states": ["failed"], "match": ["tag:prod"]}


def test_the_digest_tells_upon_what_it_acts_and_not_what_is_done() -> None:
    plain = OnEvent("a", count=2).digest
    assert OnEvent("a", count=2, parameters={"x": 1}, slug="s", delay=3, active=False).digest == (
        plain)
    assert OnEvent("a", count=2, action="cancel").digest == plain
    assert OnEvent("a", count=3).digest != plain
    assert OnState("failed").digest != OnState("crashed").digest


@pytest.mark.parametrize("make, field, said", [
    (lambda: OnState("fialed"), "states", "did you mean 'failed'"),
    (lambda: OnState("recovered"), "states", "no state"),
    (lambda: OnState(()), "states", "names none"),
    (lambda: OnState("failed", match="tga:x"), "match", "Did you mean 'tag'"),
    (lambda: OnState("failed", match="task:load"), "match", "task runs"),
    (lambda: OnState("failed", match=3), "match", "takes a text or several"),
    (lambda: OnEvent(""), "name", "no name"), (lambda: OnEvent([]), "name", "names no event"),
    (lambda: OnEvent("a\nb"), "name", "no name"), (lambda: OnEvent(3), "name", "neither a text"),
    (lambda: OnEvent("x", count=0), "count", "from 1 to"),
    (lambda: OnEvent("x", count=True), "count", "from 1 to"),
    (lambda: OnEvent("x", count=1001), "count", "from 1 to 1000"),
    (lambda: OnEvent("x", within=60), "within", "give count too"),
    (lambda: OnEvent("x", count=2, within="soon"), "within", "no length of time"),
    (lambda: OnEvent("x", count=2, within=0), "within", "more than 0"),
    (lambda: OnEvent("x", count=2, within=float("nan")), "within", "no length"),
    (lambda: OnEvent("x", delay=-1), "delay", "out of range"),
    (lambda: OnEvent("x", action="puase"), "action", "did you mean 'pause'"),
    (lambda: OnEvent("x", deployment="a/b"), "deployment", "with another action leave it out"),
    (lambda: OnEvent("x", action="cancel", parameters={"a": 1}), "parameters", "makes none"),
    (lambda: OnEvent("x", count=2, for_each="event.payload.k"), "for_each",
     "path into the payload"),
    (lambda: OnEvent("x", payload={"a": {">>": 3}}), "payload['a']", "did you mean '>'"),
    (lambda: OnEvent("x", payload={"a": {}}), "payload['a']", "compares nothing"),
    (lambda: OnEvent("x", payload={"a": {">": [1]}}), "payload['a']", "neither a number nor"),
    (lambda: OnEvent("x", payload={"a": [[1]]}), "payload['a']", "a list in a list"),
    (lambda: OnEvent("x", payload=[1]), "payload", "not a mapping"),
    (lambda: OnEvent("x", parameters={"a": "{{ event."}), "parameters.a", "no valid template"),
    (lambda: OnEvent("x", parameters={"a": ["{% if %}"]}), "parameters.a[0]", "no valid"),
    (lambda: OnEvent("x", parameters={"a": {1}}), "parameters", "cannot be written as JSON"),
    (lambda: OnEvent("x", active="no"), "active", "neither true nor false"),
    (lambda: OnEvent("x", slug=" "), "slug", "no name"),
    (lambda: Absence(), "of", "is missing"), (lambda: Absence("x"), "within", "is missing"),
    (lambda: Absence("x", within=3, not_completed_by="06:00"), "of", "make two triggers"),
    (lambda: Absence(not_completed_by="6 am"), "not_completed_by", "time of day"),
    (lambda: Absence(not_completed_by="06:00", days="mon-fry"), "days", "'fry' is no day"),
    (lambda: Absence(not_completed_by="06:00", timezone="Berlin"), "timezone", "no time zone"),
    (lambda: Absence("x", within=3, match="tag:x"), "match", "is of not_completed_by"),
    (lambda: Absence(OnEvent("x", count=2), within=3), "of", "says more than"),
    (lambda: Absence(OnFile("/x"), within=3), "of", "neither an OnEvent"),
    (lambda: Absence("x", within=3, for_each="resource", armed="registered"), "armed",
     "no resource"),
    (lambda: Absence("x", within=3, after="y", armed="first"), "armed", "beside `after`"),
    (lambda: Absence("x", within=3, action="cancel"), "action", "no run to cancel"),
    (lambda: OnFile(""), "url", "no place"), (lambda: OnFile("s3://"), "url", "names no place"),
    (lambda: OnFile("in/*.csv"), "url", "is relative"),
    (lambda: OnFile("ftp://me:hush@host/x"), "url", "user or password"),
    (lambda: OnFile("/x", every=0), "every", "at least 0.1"),
    (lambda: OnFile("/x", existing="all"), "existing", "'skip', 'run'"),
    (lambda: OnFile("/x", action="cancel"), "action", "no run to cancel"),
    (lambda: OnFile("/x", options={"secret_key": "hush"}), "options['secret_key']",
     "${VARIABLE}"),
    (lambda: OnWebhook("a/b", secret="${X}"), "name", "no name of a webhook"),
    (lambda: OnWebhook("a", secret="hush"), "secret", "everybody who sees"),
    (lambda: trigger_from_json({"kind": "stat"}), "kind", "did you mean 'state'"),
    (lambda: trigger_from_json({"states": "failed"}), "kind", "has no kind"),
    (lambda: trigger_from_json({"kind": ["state"]}), "kind", "is none"),
    (lambda: trigger_from_json("state"), "trigger", "not a mapping"),  # type: ignore[arg-type]
    (lambda: trigger_from_json({"kind": "state", "maatch": "x"}), "maatch", "mean 'match'"),
    (lambda: trigger_from_json({"kind": "event"}), "name", "needs 'name'"),
    (lambda: trigger_from_json({"kind": "webhook", "name": "x"}), "secret", "needs 'secret'"),
])
def test_what_cannot_be_meant_is_refused_by_name(
        make: Callable[[], Any], field: str, said: str) -> None:
    with pytest.raises(TriggerError) as caught:
        make()
    assert caught.value.field == field
    assert said in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("arguments, expected", [
    ({"expect": {"prefect.flow-run.Failed"}}, OnEvent("dataflow.flow-run.Failed")),
    ({"expect": ["a", "b"], "match": {"prefect.resource.id": "prefect.flow-run.*"}},
     OnEvent(["a", "b"], resource="dataflow.flow-run.*")),
    ({"expect": {"x"}, "match": {"prefect.resource.name": "tidy-*"}},
     OnEvent("x", match="name:tidy-*")),
    ({"expect": {"x"}, "match_related": {
        "prefect.resource.role": "flow", "prefect.resource.name": ["a", "b"]}},
     OnEvent("x", match=["flow:a", "flow:b"])),
    ({"expect": {"x"}, "match_related": [{"prefect.resource.id": "prefect.tag.prod"},
                                         {"prefect.resource.role": "deployment",
                                          "prefect.resource.name": "d"}]},
     OnEvent("x", match="tag:prod & deployment:d")),
    ({}, OnEvent("*")),
    ({"expect": {"x"}, "threshold": 3, "within": timedelta(hours=1),
      "for_each": {"prefect.resource.id"}},
     OnEvent("x", count=3, within=3600, for_each="resource")),
    ({"expect": {"x"}, "threshold": 3, "within": 0}, OnEvent("x", count=3)),
    ({"expect": {"x"}, "within": 60}, OnEvent("x")),
    ({"expect": {"x"}, "posture": "Proactive", "within": 60, "after": {"y"}},
     Absence("x", within=60, after=OnEvent("y"))),
    ({"expect": {"x"}, "posture": "Proactive", "within": 60,
      "for_each": {"related:flow:prefect.resource.id"}},
     Absence("x", within=60, for_each="flow")),
    ({"expect": {"x"}, "name": "mine", "enabled": False, "schedule_after": 5, "parameters": {
        "a": {"__prefect_kind": "jinja", "template": "{{ event.resource.id }}"}, "b": 1}},
     OnEvent("x", slug="mine", active=False, delay=5,
             parameters={"a": "{{ event.resource.id }}", "b": 1})),
])
def test_what_prefect_has_is_read(arguments: dict[str, Any], expected: Trigger) -> None:
    assert DeploymentEventTrigger(**arguments) == expected


@pytest.mark.parametrize("arguments, field", [
    ({"job_variables": {}}, "job_variables"), ({"posture": "Active"}, "posture"),
    ({"after": {"x"}}, "after"), ({"posture": "Proactive", "threshold": 2}, "threshold"),
    ({"posture": "Proactive"}, "within"), ({"match": {"prefect.resource.kind": "x"}}, "match"),
    ({"expect": {"!x"}}, "expect"), ({"for_each": {"a", "b"}}, "for_each"),
    ({"for_each": {"related:tag:prefect.resource.id"}}, "for_each"),
    ({"match_related": {"prefect.resource.name": "x"}}, "match_related"),
    ({"match_related": {"prefect.resource.role": "flow"}}, "match_related"),
    ({"match_related": {"a": "b"}}, "match_related"),
    ({"parameters": {"a": {"__prefect_kind": "json", "value": "1"}}}, "parameters"),
])
def test_what_there_is_nothing_for_is_refused(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(TriggerError) as caught:
        DeploymentEventTrigger(**arguments)
    assert caught.value.field == field


def test_names_of_prefect_are_names_of_its_events_here() -> None:
    found = DeploymentEventTrigger(expect={"prefect.flow-run.*"}, match={
        "prefect.resource.id": ["prefect.flow-run.a", "other"]})
    assert isinstance(found, OnEvent)
    assert found.resource == ("dataflow.flow-run.a", "other")
