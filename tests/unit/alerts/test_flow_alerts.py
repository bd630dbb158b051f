"""Alerts that flows bring: checked where they are written, and where they go from there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataflow import flow
from dataflow.alerts import Alert
from dataflow.alerts.alert_lists import tables, to_text
from dataflow.deployments import DeploymentSpec
from dataflow.exceptions import DefinitionError, DefinitionTypeError
from dataflow.stores import open_store
from dataflow.testing import harness

OPS = Alert(on="failed", channels=["ops"])
LATE = Alert(on="late", channels=["ops"])


@flow(alerts=[OPS])
def nightly() -> None: ...


@flow
def plain() -> None: ...


def test_flow_says_who_is_told() -> None:
    assert nightly.alerts == (OPS,)
    assert plain.alerts == ()
    assert nightly.with_options(alerts=[LATE, LATE]).alerts == (LATE,)
    assert nightly.with_options(alerts=None).alerts == ()
    assert nightly.with_options(name="other").alerts == (OPS,)


@pytest.mark.parametrize("alerts, kind, said", [
    (OPS, DefinitionTypeError, "alerts of flow 'f' must be a list of alerts, got Alert"),
    ("failed", DefinitionTypeError, "must be a list of alerts, got str"),
    ([OPS, "failed"], DefinitionTypeError, r"alerts\[1\] of flow 'f' must be an Alert, got str"),
    ([Alert(on="failed")], DefinitionError, "would tell nobody"),
    ([Alert(channels=["ops", "slack://TokenA/TokenB/TokenC"])], DefinitionError,
     r"alerts\[0\] of flow 'f' names the channel slack://…, a URL with a secret"),
    ([Alert(channels=["json://user:Passw0rd@host:80"])], DefinitionError, "json://host:80/…"),
])
def test_alerts_that_cannot_be_meant_are_refused(alerts: Any, kind: type[Exception],
                                                 said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        flow(lambda: None, name="f", alerts=alerts)
    assert "Token" not in str(caught.value) and "Passw0rd" not in str(caught.value)
    with pytest.raises(kind):
        plain.with_options(alerts=alerts)


def test_deployment_has_the_alerts_of_its_flow_each_once() -> None:
    spec = nightly.to_deployment("d", alerts=[LATE, OPS])
    assert spec.alerts == tuple(tables([LATE, OPS]))
    assert nightly.to_deployment("d").alerts == tuple(tables([OPS]))
    assert plain.to_deployment("d").alerts == ()
    assert DeploymentSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    with pytest.raises(DefinitionError, match=r"alerts: alerts\[0\] names the channel json://h/…"):
        plain.to_deployment("d", alerts=[Alert(channels=["json://h/secret"])])


def test_run_is_written_with_the_alerts_of_its_flow_and_so_are_flows_called_in_it() -> None:
    @flow(name="outer")
    def outer() -> None:
        nightly()

    with harness():
        outer()
        store = open_store()
        (inner,) = store.flow_runs(flow="nightly")
        (around,) = store.flow_runs(flow="outer")
        store.close()
    assert inner.alerts == to_text([OPS]) == '[{"channels": ["ops"], "on": ["failed"]}]'
    assert around.alerts is None
