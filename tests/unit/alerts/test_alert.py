"""The alert: what it takes, what it refuses and with which words, its JSON."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest

from dataflow.alerts import Alert, alert_from_json
from dataflow.exceptions import DefinitionError, DefinitionTypeError

FULL = Alert(
    on=["failed", "crashed"], match=["tag:prod & flow:etl-*", "nightly"],
    channels=["slack-ops", "json://hooks.example.com/x"], longer_than="2x median",
    failed_share=0.05, late_by_seconds=60, name="etl", group_seconds=0, throttle_seconds=60,
    resolved=False, title="{{ run_name }}", text="{{ why }}")


@pytest.mark.parametrize("alert", [
    FULL, Alert(), Alert(longer_than=90), Alert(on="any", match="tag:a"),
    Alert(not_completed_by="06:00", timezone="Europe/Berlin", days="mon-fri,sun"),
])
def test_an_alert_goes_to_json_and_back(alert: Alert) -> None:
    again = alert_from_json(alert.to_json())
    assert (again, again.key) == (alert, alert.key)
    assert alert_from_json(json.loads(alert.to_json())) == alert
    assert pickle.loads(pickle.dumps(alert)) == alert


def test_an_alert_without_conditions_is_about_failures_and_one_with_another_is_not() -> None:
    assert Alert().on == ("failed",)
    assert Alert(longer_than=90).on == ()
    assert Alert(failed_share=0.1, on="completed").on == ("completed",)


def test_alerts_that_differ_have_other_keys() -> None:
    keys = {Alert().key, Alert(on="crashed").key, Alert(match="a").key, Alert(channels=["a"]).key}
    assert len(keys) == 4


@pytest.mark.parametrize("options, text", [
    ({"on": "faild"}, r"Alert\(on='faild'\): there is no such state\. Did you mean 'failed'\?"),
    ({"match": "tags:prod"}, r"'tags' is nothing to match\. Did you mean 'tag'\?"),
    ({"match": "tag:"}, "a pattern is empty"),
    ({"match": "tag:a & "}, "a pattern is empty"),
    ({"longer_than": "twice"}, r"write seconds \(90\), a time with its unit \('10m'\) or '2x"),
    ({"longer_than": 0}, "it must be more than 0"),
    ({"longer_than": True}, "write seconds"),
    ({"longer_than": -1}, "write seconds"),
    ({"not_completed_by": "24:00"}, "write a time of day, '06:00'"),
    ({"not_completed_by": "06:00", "timezone": "Mars/Base"}, "there is no such time zone"),
    ({"not_completed_by": "06:00", "timezone": "../etc/passwd"}, "there is no such time zone"),
    ({"not_completed_by": "06:00", "days": "mon-fry"}, "'fry' is no day"),
    ({"not_completed_by": "06:00", "on": "failed"}, "cannot stand beside on"),
    ({"days": "mon"}, "on which days not_completed_by counts"),
    ({"failed_share": 1.5}, "more than 0 and at most 1"),
    ({"failed_share": float("nan")}, "must be a number"),
    ({"late_by_seconds": "5"}, "must be a number"),
    ({"throttle_seconds": -1}, "must be a number of at least 0"),
    ({"resolved": "yes"}, "true or false"),
    ({"title": "{{ run_name"}, r"Alert\(title=\.\.\.\) is no valid template: line 1"),
    ({"text": "a\n{% if x %}"}, r"Alert\(text=\.\.\.\) is no valid template: line 2"),
])
def test_a_bad_option_is_refused_and_named(options: dict[str, object], text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        Alert(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [
    {"channels": 5}, {"channels": [1]}, {"match": [""]}, {"on": {"failed": 1}}, {"name": 7},
])
def test_an_option_of_the_wrong_type_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(DefinitionTypeError, match=next(iter(options))):
        Alert(**options)  # type: ignore[arg-type]


def test_a_key_that_is_no_option_is_refused_with_the_nearest_and_its_place() -> None:
    with pytest.raises(DefinitionError) as caught:
        alert_from_json({"chanels": ["a"]}, "dataflow.toml, [[alerts]] number 2")
    assert str(caught.value).startswith(
        "dataflow.toml, [[alerts]] number 2 sets 'chanels', which is no option of an alert. "
        "Did you mean 'channels'? Known are: on, match, channels,")
    with pytest.raises(DefinitionError, match=r"here: Alert\(on='x'\)"):
        alert_from_json({"on": "x"}, "here")
    with pytest.raises(DefinitionError, match="no valid JSON"):
        alert_from_json("{")
    with pytest.raises(DefinitionTypeError, match="must be an object of options, not a list"):
        alert_from_json("[]")


def test_secrets_of_channels_are_in_no_text_of_an_alert() -> None:
    alert = Alert(channels=["slack://xoxb-s3cret/T/B", "ops", "jsons://u:s3cret@h.example/s3cret",
                            "json://h.example"])
    assert "s3cret" not in repr(alert) + str(alert) + alert.label
    assert alert.secret_channels() == ("slack://…", "jsons://h.example/…")
    assert "s3cret" in alert.to_json()


def test_an_alert_is_called_by_its_name_or_its_conditions() -> None:
    assert FULL.label == "etl"
    assert Alert(match="tag:prod").label == "failed of tag:prod"
    assert Alert(longer_than=90, failed_share=0.05, on="any").label == (
        "any, longer than 90 s, 5 % failed")
    assert Alert(not_completed_by="6:00", match="a").label == "not completed by 6:00 UTC of a"


def test_importing_the_alert_loads_neither_jinja_nor_apprise() -> None:
    code = ("import sys; from dataflow.alerts import Alert; Alert(channels=['json://x']);"
            "sys.exit(bool({'jinja2', 'apprise', 'requests', 'http.client'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_of_the_package_can_be_had() -> None:
    import dataflow
    from dataflow import alerts

    assert [name for name in alerts.__all__ if not hasattr(alerts, name)] == []
    assert dataflow.alerts is alerts
