"""What follows from events by triggers of deployments."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from dataflow.agenda import DeploymentRow
from dataflow.event_log import EventRow
from dataflow.exceptions import ParameterTypeError
from dataflow.triggers import OnEvent, OnState, OnWebhook, Trigger
from dataflow.triggers.consequences import DEEPEST, LONGEST_PAYLOAD, failures_said
from dataflow.triggers.judging import NothingKnown
from dataflow.triggers.remembering import TRIGGER_FAILED
from tests.unit.triggers.trigger_support import MADE_S, Turns, deployment, event, runs, state


def made(trigger: Trigger, *events: EventRow) -> int:
    """Return how many runs follow by one trigger."""
    return len(Turns([deployment(trigger)]).turn(*events).runs)


def test_an_event_makes_one_run_that_knows_it() -> None:
    came = event("orders.loaded", resource="shop.eu", payload={"path": "/x", "rows": 3},
                 flow_run_id="r9")
    turns = Turns([deployment(OnEvent("orders.*", parameters={
        "path": "{{ event.payload.path }}", "rows": "{{ event.payload.rows * 2 }}",
        "said": "{{ event.resource }}: {{ event.payload.rows }}", "day": 4}),
        parameters={"day": 1, "zone": "EU"})])
    (run,) = turns.turn(came).runs
    assert run.parameters == {"path": "/x", "rows": 6, "said": "shop.eu: 3", "day": 4, "zone": "EU"}
    assert (run.deployment, run.flow_run_id, run.idempotency_key, run.cause, run.due_s) == (
        "etl/nightly", "new-0", f"trigger:event:{came.key}",
        "trigger event: orders.loaded of shop.eu", MADE_S + 101)
    assert run.trigger is not None
    assert {name: run.trigger[name] for name in (
        "slug", "depth", "name", "id", "resource", "payload", "flow_run_id")} == {
        "slug": "event", "depth": 1, "name": "orders.loaded", "id": came.id,
        "resource": "shop.eu", "payload": {"path": "/x", "rows": 3}, "flow_run_id": "r9"}
    assert turns.turn().runs == []  # and no other one later


def test_a_large_payload_is_seen_by_templates_and_not_kept_with_the_run() -> None:
    came = event(payload={"text": "x" * LONGEST_PAYLOAD, "n": 3})
    (run,) = Turns([deployment(OnEvent("*", parameters={"n": "{{ event.payload.n }}"}))]).turn(
        came).runs
    assert run.parameters == {"n": 3}
    assert run.trigger is not None
    assert run.trigger["payload"] == {} and run.trigger["payload_left_out"] > LONGEST_PAYLOAD


def test_events_from_before_the_trigger_was_registered_do_not_count() -> None:
    assert made(OnEvent("*"), event(at=-0.001)) == 0
    assert made(OnEvent("*"), event(at=0)) == 1


@pytest.mark.parametrize("match, expected", [
    ("tag:prod", 1), ("tag:pro", 0), ("flow:lo*", 1), ("flow:etl", 0), ("deployment:d", 1),
    ("deployment:load/d", 1), ("deployment:x", 0), ("load", 1), ("name:tidy-*", 1),
    ("name:wild-*", 0), ("tag:prod & flow:load", 1), ("tag:prod & flow:etl", 0),
    (["flow:etl", "tag:prod"], 1),
])
def test_runs_are_matched_as_alerts_match_them(match: Any, expected: int) -> None:
    came = state("FAILED", tags=("prod", "eu"))
    assert made(OnState("failed", match=match), came) == expected
    assert made(OnEvent("dataflow.flow-run.*", match=match), came) == expected


@pytest.mark.parametrize("states, came, expected", [
    ("failed", state("FAILED"), 1), ("failed", state("FAILED", state_name="TimedOut"), 1),
    ("timed_out", state("FAILED", state_name="TimedOut"), 1), ("timed_out", state("FAILED"), 0),
    ("late", state("SCHEDULED", state_name="Late"), 1), ("late", state("SCHEDULED"), 0),
    ("retrying", state("SCHEDULED", state_name="AwaitingRetry"), 1),
    ("any", state("CANCELLED"), 1), ("any", state("RUNNING"), 0), ("running", state("RUNNING"), 1),
    (["failed", "crashed"], state("CRASHED"), 1), (["failed", "any"], state("FAILED"), 1),
    ("completed", event("dataflow.flow-run.Completed"), 0),  # somebody emitted one of that name
])
def test_states_are_what_they_are_called(states: Any, came: EventRow, expected: int) -> None:
    assert made(OnState(states), came) == expected


def test_runs_of_the_deployment_itself_count_where_they_are_named() -> None:
    own = state("COMPLETED", flow="etl", deployment="etl/nightly")
    assert made(OnState("completed"), own) == 0
    assert made(OnEvent("*"), own) == 0
    assert made(OnState("completed", match="deployment:etl/nightly"), own) == 1


@pytest.mark.parametrize("payload, expected", [
    ({"kind": "full"}, 1), ({"kind": "ful"}, 0), ({"kind": "f*"}, 1), ({"kind": ["a", "f*"]}, 1),
    ({"size.rows": 3}, 1), ({"size.rows": 3.0}, 1), ({"size.rows": True}, 0),
    ({"size.rows": {">": 2}}, 1), ({"size.rows": {">": 3}}, 0), ({"size.rows": {">=": 3}}, 1),
    ({"size.rows": {">": 2, "<": 3}}, 0), ({"kind": {">": 3}}, 0), ({"kind": {"!=": "x"}}, 1),
    ({"kind": {"==": "f*"}}, 0), ({"nothing": {"!=": "x"}}, 0), ({"none": None}, 1),
    ({"nothing": None}, 0), ({"labels": "b"}, 1), ({"labels": "c"}, 0), ({"labels.0": "a"}, 1),
    ({"labels.7": "a"}, 0), ({"a.b": 1}, 1), ({"a.b.c": 2}, 1), ({"kind": "full", "x": 1}, 0),
])
def test_payloads_are_compared(payload: dict[str, Any], expected: int) -> None:
    came = event(payload={"kind": "full", "size": {"rows": 3}, "labels": ["a", "b"], "none": None,
                          "a.b": 1, "a": {"b.c": 2}})
    assert made(OnEvent("orders.*", payload=payload), came) == expected


def test_resources_are_globs_and_an_event_may_have_none() -> None:
    assert made(OnEvent("*", resource=["a.*", "b"]), event(resource="a.1"), event(resource="b"),
                event(resource="b2"), event()) == 2


def test_a_webhook_is_heard_where_it_was_signed_for_the_trigger() -> None:
    hook = OnWebhook("push", secret="${ONE}")
    assert made(hook, event("dataflow.webhook.push", payload={"secret": "${ONE}"})) == 1
    assert made(hook, event("dataflow.webhook.push", payload={"secret": "${TWO}"})) == 0
    assert made(hook, event("dataflow.webhook.pusher", payload={"secret": "${ONE}"})) == 0


def test_after_means_a_completed_run_of_that_deployment_alone() -> None:
    turns = Turns([deployment(after="load/d[1]*")])
    found = turns.turn(
        state(deployment="load/d[1]*"), state(deployment="load/d1x"), state("FAILED"),
        state("RUNNING", deployment="load/d[1]*"))
    (run,) = found.runs
    assert run.trigger is not None
    assert (run.trigger["slug"], run.trigger["flow_run_id"]) == ("after", "run-1")


def test_a_paused_deployment_makes_nothing_up_and_starts_anew() -> None:
    counting = OnEvent("*", count=2)
    turns = Turns([deployment(counting)])
    turns.turn(event(at=1), at=1)
    turns.deployments = [deployment(counting, paused=True)]
    assert turns.turn(event(at=2), event(at=3), at=3).runs == []
    turns.deployments = [deployment(counting)]
    assert turns.turn(event(at=2.5), event(at=3), at=4).runs == []  # from while it rested
    assert len(turns.turn(event(at=6), event(at=7), at=8).runs) == 1


def test_a_pause_of_a_deployment_that_is_not_there_is_told_of() -> None:
    turns = Turns([deployment(OnEvent("x", action="pause", deployment="no/such"))])
    found = turns.turn(event("x"), there=lambda name: f"There is no deployment {name!r}.")
    assert found.pause == []
    (said,) = failures_said(found.events)
    assert said == ("Trigger event of etl/nightly paused nothing upon event x: There is no "
                    "deployment 'no/such'.")
    found = turns.turn(event("x"), there=lambda name: None)
    assert (found.pause, found.events) == ([("no/such", True)], [])


def test_a_trigger_may_rest_by_itself_and_resume_is_heard_in_a_pause() -> None:
    assert made(OnEvent("*", active=False), event()) == 0
    turns = Turns([deployment(OnEvent("go", action="resume"), OnEvent("go", slug="run"),
                              paused=True)])
    found = turns.turn(event("go"))
    assert (found.pause, found.runs) == ([("etl/nightly", False)], [])


def test_actions_beside_runs() -> None:
    turns = Turns([deployment(
        OnState("late", action="cancel"), OnState("failed", action="pause", deployment="load/d"),
        OnEvent("x", action="cancel", slug="c"))])
    found = turns.turn(state("SCHEDULED", state_name="Late", run="r1"), state("FAILED"),
                       event("x", flow_run_id="r2"), event("x"))
    assert (found.cancel, found.pause, found.runs) == (["r1", "r2"], [("load/d", True)], [])
    (failed,) = found.events
    assert (failed.name, failed.payload["slug"]) == (TRIGGER_FAILED, "c")
    assert "no run that could be cancelled" in failed.payload["reason"]


def test_a_delay_makes_the_run_due_later() -> None:
    (run,) = Turns([deployment(OnEvent("*", delay="2m"))]).turn(event(), at=5).runs
    assert run.due_s == MADE_S + 6 + 120


def test_parameters_that_do_not_fit_make_no_run_but_one_failure_for_all() -> None:
    def fit(row: DeploymentRow, given: Mapping[str, Any]) -> dict[str, Any]:
        if given.get("n") == 13:
            raise ParameterTypeError("13 is no number of mine")
        return dict(given)

    trigger = OnEvent("x", parameters={"n": "{{ event.payload.n }}"})
    turns = Turns([deployment(trigger)])
    events = [event("x", payload={"n": 13}), event("x"), event("x", payload={"n": 2})]
    found = turns.turn(*events, fit=fit)
    assert [each.parameters for each in found.runs] == [{"n": 2}]
    (failed,) = found.events
    assert failed.payload["count"] == 2 and "13 is no number" in failed.payload["reason"]
    assert failed.resource == "dataflow.deployment.etl/nightly"
    (said,) = failures_said([failed])
    assert said.startswith("Trigger event of etl/nightly made no run of event x and 1 more: 13 is")
    again = Turns([deployment(trigger)]).turn(*events, fit=fit)
    assert again.events[0].id == failed.id  # judged twice it is the same event


def test_a_trigger_that_hears_of_failures_does_not_hear_its_own() -> None:
    turns = Turns([deployment(OnEvent("*", parameters={"n": "{{ event.payload.nothing }}"})),
                   deployment(OnEvent(TRIGGER_FAILED), name="ops/tell")])
    (failed,) = turns.turn(event()).events
    came = event(TRIGGER_FAILED, at=2, payload=dict(failed.payload), id=failed.id)
    found = turns.turn(came)
    assert [each.deployment for each in found.runs] == ["ops/tell"]
    assert found.events == []


class Deep(NothingKnown):
    def __init__(self, depth: int) -> None:
        self.depth = depth

    def depths(self, flow_run_ids: Collection[str]) -> Mapping[str, int]:
        return dict.fromkeys(flow_run_ids, self.depth)


def test_a_circle_of_triggers_ends_and_is_told_of_once() -> None:
    turns = Turns([deployment(OnState("completed", match="flow:load"))])
    (run,) = turns.turn(state(), known=Deep(DEEPEST - 1)).runs
    assert run.trigger is not None and run.trigger["depth"] == DEEPEST
    found = turns.turn(state(), known=Deep(DEEPEST))
    assert found.runs == [] and "circle" in found.events[0].payload["reason"]
    found = turns.turn(state(), known=Deep(DEEPEST))
    assert (found.runs, list(found.events)) == ([], [])
    assert len(turns.turn(state(), known=Deep(0)).runs) == 1  # another beginning


def test_failures_that_follow_from_failures_end_too() -> None:
    broken = {"n": "{{ event.payload.nothing }}"}
    turns = Turns([deployment(OnEvent(TRIGGER_FAILED, parameters=broken), name=f"a/{name}")
                   for name in "bc"])
    waiting = [event(TRIGGER_FAILED, payload={"depth": 0, "trigger": "another"})]
    rounds = 0
    while waiting:
        found = turns.turn(*waiting)
        waiting = [event(TRIGGER_FAILED, payload=dict(each.payload)) for each in found.events]
        rounds += 1
        assert rounds <= DEEPEST + 2
    assert rounds > 3


def test_what_is_remembered_goes_with_the_trigger() -> None:
    turns = Turns([deployment(OnEvent("*", count=2))])
    turns.memory["alert:x"] = "another's"
    turns.turn(event())
    assert set(turns.memory) == {"trigger:id-of-etl/nightly:event", "alert:x"}
    assert turns.turn().memory == {}  # nothing is another: nothing is written
    turns.deployments = [deployment()]
    turns.turn()
    assert set(turns.memory) == {"alert:x"}


def test_a_changed_trigger_counts_anew_and_other_parameters_change_nothing() -> None:
    turns = Turns([deployment(OnEvent("a*", count=2))])
    turns.turn(event("a"))
    turns.deployments = [deployment(OnEvent("a*", count=2, parameters={"x": 1}))]
    assert len(turns.turn(event("a")).runs) == 1
    turns.turn(event("a"))
    turns.deployments = [deployment(OnEvent("*", count=2))]
    assert turns.turn(event("a")).runs == []


def test_a_trigger_that_cannot_be_read_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    broken = deployment(OnEvent("*"), name="a/newer")
    broken.spec["triggers"].append({"kind": "by-a-newer-version"})
    turns = Turns([broken, deployment(OnEvent("*"))])
    assert len(turns.turn(event()).runs) == 2
    assert len(turns.turn(event()).runs) == 2
    assert caplog.text.count("by-a-newer-version") == 1


def test_several_triggers_make_a_run_each() -> None:
    turns = Turns([deployment(OnEvent("*"), OnEvent("o*"), OnEvent("x"), OnState("failed"))])
    came = event()
    assert runs(turns.turn(came)) == [f"trigger:event:{came.key}", f"trigger:event-2:{came.key}"]


def test_many_events_and_triggers_are_judged_in_no_time() -> None:
    triggers = [deployment(*(
        (OnState("failed", match=f"flow:f-{n}*"), OnEvent(f"sale.{n}.*", payload={"n": {">": 5}},
                                                         count=5, within=60))
        [each] for each in range(2)), name=f"f/{n}") for n in range(100)]
    events = [state("FAILED", flow=f"f-{n % 120}", run=f"r{n}") if n % 2 else
              event(f"sale.{n % 120}.made", payload={"n": n % 10}) for n in range(2000)]
    turns = Turns(triggers)
    turns.turn()
    began = time.perf_counter()
    found = turns.turn(*events)
    took = time.perf_counter() - began
    assert found.runs
    assert took < 1.0
