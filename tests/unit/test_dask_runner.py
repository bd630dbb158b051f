"""The settings of the Dask runner: what contradicts what, what is equal, what is imported."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from runners.dask import DaskTaskRunner


@pytest.mark.parametrize("settings, named", [
    ({"address": "tcp://h:1", "cluster": object()}, ["address=", "cluster="]),
    ({"address": "tcp://h:1", "cluster_class": object}, ["address=", "cluster_class="]),
    ({"address": "tcp://h:1", "cluster_kwargs": {"n_workers": 1}}, ["address=", "cluster_kwargs="]),
    ({"address": "tcp://h:1", "adapt_kwargs": {"maximum": 1}}, ["address=", "adapt_kwargs="]),
    ({"cluster": object(), "cluster_class": "a.B"}, ["cluster=", "cluster_class="]),
    ({"cluster": object(), "cluster_kwargs": {"n_workers": 1}}, ["cluster=", "cluster_kwargs="]),
    ({"client": object(), "address": "tcp://h:1"}, ["client=", "address="]),
    ({"client": object(), "cluster": object()}, ["client=", "cluster="]),
    ({"client": object(), "client_kwargs": {"timeout": 1}}, ["client=", "client_kwargs="]),
    ({"cluster_kwargs": {"asynchronous": True}}, ["'asynchronous'", "cluster_kwargs="]),
    ({"client_kwargs": {"asynchronous": False}}, ["'asynchronous'", "client_kwargs="]),
    ({"client_kwargs": {"address": "tcp://h:1"}}, ["'address'", "address="]),
])
def test_settings_that_contradict_each_other_are_refused_by_name(
    settings: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(ValueError) as refusal:
        DaskTaskRunner(**settings)
    for name in named:
        assert name in str(refusal.value)


def test_cluster_with_adapt_is_allowed() -> None:
    assert DaskTaskRunner(cluster=object(), adapt_kwargs={"maximum": 2}).adapt_kwargs == {
        "maximum": 2}


def test_duplicate_keeps_settings_and_live_objects() -> None:
    cluster = object()
    runner = DaskTaskRunner(cluster=cluster, client_kwargs={"timeout": 3})
    again = runner.duplicate()
    assert again is not runner
    assert again == runner
    assert again.cluster is cluster
    assert runner != DaskTaskRunner(cluster=cluster)


def test_cluster_class_that_does_not_exist_is_named() -> None:
    for path in ("nowhere.at.all.Cluster", "collections.NoSuchCluster", "Cluster"):
        with pytest.raises(ValueError, match=path):
            DaskTaskRunner(cluster_class=path).start()


@pytest.mark.parametrize("option", ["cluster_kwargs", "adapt_kwargs", "client_kwargs"])
def test_keywords_that_are_no_dict_are_refused_by_name(option: str) -> None:
    with pytest.raises(TypeError, match=f"{option}= must be a dict of keywords, got int 3"):
        DaskTaskRunner(**{option: 3})  # type: ignore[arg-type]


def test_a_cluster_that_does_not_start_tells_its_keywords_and_the_first_reason() -> None:
    def cluster(n_workers: int) -> None: ...

    told = r"cluster_kwargs= of \['n_wrkers'\]: TypeError.*n_wrkers"
    with pytest.raises(RuntimeError, match=told):
        DaskTaskRunner(cluster_class=cluster, cluster_kwargs={"n_wrkers": 1}).start()


def test_closing_an_unstarted_runner_does_nothing() -> None:
    runner = DaskTaskRunner()
    runner.close()
    assert runner.dashboard_link is None


def test_runners_are_imported_without_distributed() -> None:
    code = ("import sys, runners; from runners import DaskTaskRunner; DaskTaskRunner(); "
            "sys.exit('distributed' in sys.modules or 'dask' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
