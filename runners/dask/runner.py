"""The task runner on Dask, as a user writes it.

Lives here: its settings, which of them contradict each other, starting and
closing. Does not live here: the cluster (``cluster.py``), sending batches
(``session.py``). Dask is imported at the start, not before.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from dataflow.batch import RunInfo
from dataflow.runner import RunnerSession, Sink, TaskRunner

if TYPE_CHECKING:
    from distributed import Client

    from runners.dask.link import Link

logger = logging.getLogger("dataflow.runners.dask")


class DaskTaskRunner(TaskRunner):
    """Run tasks on a Dask cluster.

    With no argument, the Dask client that is active in this process is used;
    where there is none, a local cluster on loopback is started, and closed at
    the end of the flow run.

    Parameters
    ----------
    cluster
        A running cluster object. It stays open.
    address
        Address of a running scheduler, ``tcp://host:port``.
    cluster_class
        What to start a cluster with: a callable, or its import path as a
        string. Default: ``distributed.LocalCluster`` on loopback.
    cluster_kwargs
        Keywords for ``cluster_class``.
    adapt_kwargs
        Keywords for the cluster's ``adapt``: it grows and shrinks by itself.
    client_kwargs
        Keywords for the ``distributed.Client`` of the runner.
    performance_report_path
        Where to write Dask's performance report (a page of HTML) at the end.
    client
        A running client, whose cluster is used. It stays open and as it is:
        the runner talks to the scheduler through a client of its own.

    reconnect_timeout_seconds
        How long a flow waits for a lost scheduler to answer again at its address, before
        what is open is CRASHED. A cluster that the runner started itself is started anew.

    Raises
    ------
    ValueError
        Two settings contradict each other. Nothing was started.
    """

    name = "dask"

    def __init__(
        self,
        cluster: Any = None,
        address: str | None = None,
        cluster_class: str | Callable[..., Any] | None = None,
        cluster_kwargs: dict[str, Any] | None = None,
        adapt_kwargs: dict[str, Any] | None = None,
        client_kwargs: dict[str, Any] | None = None,
        performance_report_path: str | None = None,
        client: Client | None = None,
        reconnect_timeout_seconds: float = 30.0,
    ) -> None:
        self.cluster = cluster
        self.address = address
        self.cluster_class = cluster_class
        self.cluster_kwargs = _keywords("cluster_kwargs", cluster_kwargs)
        self.adapt_kwargs = _keywords("adapt_kwargs", adapt_kwargs)
        self.client_kwargs = _keywords("client_kwargs", client_kwargs)
        self.performance_report_path = performance_report_path
        self.client = client
        self.reconnect_timeout_seconds = _seconds(reconnect_timeout_seconds)
        self._check()
        self._guard = threading.Lock()
        self._link: Link | None = None
        self._finalizer: Callable[[], Any] | None = None
        self._reports = ExitStack()

    def duplicate(self) -> DaskTaskRunner:
        """Return an unstarted runner with the same settings, live objects included."""
        return type(self)(
            **self._settings(), reconnect_timeout_seconds=self.reconnect_timeout_seconds)

    def start(self) -> None:
        """Find, join or start the cluster."""
        with self._guard:
            if self._link is not None:
                return
            from runners.dask import cluster

            self._link = self._connect()
            self._finalizer = cluster.end_with_process(self, self._link)
        if self.dashboard_link:
            logger.info("The Dask dashboard is at %s", self.dashboard_link)
        self._start_report()

    def session(self, run: RunInfo, sink: Sink) -> RunnerSession:
        """Open a session for one flow run."""
        self.start()
        from runners.dask.session import DaskSession

        assert self._link is not None
        return DaskSession(self._link, run, sink)

    def restart(self, session: RunnerSession, give_up: Callable[[], bool]) -> bool:
        """Wait for the scheduler at its address, or start a cluster anew that was ours."""
        from runners.dask import cluster
        from runners.dask.session import DaskSession

        assert isinstance(session, DaskSession)
        with self._guard:
            lost = self._link
            if lost is None or lost is not session.link:
                return lost is not None
            address = lost.address
            cluster.give_back(lost, cancelled=True)
            if self._finalizer is not None:
                self._finalizer.detach()  # type: ignore[attr-defined]  # a weakref.finalize
            self._link = self._finalizer = None
            if lost.owned:
                made: Link | None = self._connect()
            else:
                made = cluster.rejoin(address, lost.client.security, self.client_kwargs,
                                      self.reconnect_timeout_seconds, give_up)
            if made is None:
                return False
            self._link = made
            self._finalizer = cluster.end_with_process(self, made)
        return True

    def close(self, *, cancelled: bool = False) -> None:
        """Close our client, and the cluster where it is ours.

        Notes
        -----
        Takes at most some 5 s: worker processes of our own that do not end by
        themselves are killed; with ``cancelled`` at once.
        """
        with self._guard:
            link, self._link = self._link, None
            finalizer, self._finalizer = self._finalizer, None
        if link is None:
            return
        if not cancelled and link.lost is None:
            self._write_report(link)
        from runners.dask import cluster

        try:
            cluster.give_back(link, cancelled=cancelled)
        finally:
            if finalizer is not None:
                finalizer.detach()  # type: ignore[attr-defined]  # a weakref.finalize

    @property
    def dashboard_link(self) -> str | None:
        """Address of the Dask dashboard, None before the start."""
        if self._link is None:
            return None
        link: str | None = self._link.client.dashboard_link
        return link or None

    @property
    def scheduler_address(self) -> str | None:
        """Address of the scheduler, None before the start."""
        return None if self._link is None else self._link.address

    @property
    def security(self) -> Any:
        """What secures the connections to the cluster; None before the start."""
        return None if self._link is None else self._link.client.security

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._settings() == other._settings()

    __hash__ = None  # type: ignore[assignment]  # equal by settings, which are dicts

    def __repr__(self) -> str:
        said = ", ".join(f"{k}={v!r}" for k, v in self._settings().items() if v)
        return f"DaskTaskRunner({said})"

    def _settings(self) -> dict[str, Any]:
        return {
            "cluster": self.cluster, "address": self.address, "cluster_class": self.cluster_class,
            "cluster_kwargs": self.cluster_kwargs, "adapt_kwargs": self.adapt_kwargs,
            "client_kwargs": self.client_kwargs,
            "performance_report_path": self.performance_report_path, "client": self.client,
        }

    def _check(self) -> None:
        given = {name for name, value in self._settings().items() if value}
        for one, others, why in _CONTRADICTIONS:
            both = sorted(given & others)
            if one in given and both:
                raise ValueError(
                    f"DaskTaskRunner: {one}= and {' and '.join(f'{b}=' for b in both)} contradict "
                    f"each other: {why}")
        for kwargs in ("cluster_kwargs", "client_kwargs"):
            if "asynchronous" in getattr(self, kwargs):
                raise ValueError(
                    f"DaskTaskRunner: 'asynchronous' in {kwargs}= cannot be set: the runner needs "
                    "a client and a cluster that are not asynchronous")
        if "address" in self.client_kwargs:
            raise ValueError("DaskTaskRunner: 'address' in client_kwargs= cannot be set: "
                             "use address=")

    def _connect(self) -> Link:
        from runners.dask import cluster

        if self.client is not None:
            return cluster.join_client(self.client)
        if self.cluster is not None:
            if self.adapt_kwargs:
                self.cluster.adapt(**self.adapt_kwargs)
            return cluster.join(self.cluster, self.client_kwargs)
        if self.address is not None:
            return cluster.join(self.address, self.client_kwargs)
        if not any(self._settings().values()):
            active = cluster.current_client()
            if active is not None:
                logger.info("Using the Dask client that is active in this process: %s "
                            "(DaskTaskRunner() was given nothing else)", cluster.address_of(active))
                return cluster.join_client(active)
        return cluster.start_own(self.cluster_class, self.cluster_kwargs, self.adapt_kwargs,
                                 self.client_kwargs)

    def _start_report(self) -> None:
        if self.performance_report_path is None or self._link is None:
            return
        from distributed import performance_report

        with self._link.client.as_current():
            self._reports.enter_context(performance_report(filename=self.performance_report_path))

    def _write_report(self, link: Link) -> None:
        with link.client.as_current():
            self._reports.close()


def _seconds(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0:
        raise ValueError(f"DaskTaskRunner: reconnect_timeout_seconds= must be a number of seconds, "
                         f"0 or more, got {given!r:.80}")
    return float(given)


def _keywords(option: str, given: Any) -> dict[str, Any]:
    """Return a copy of keywords that are passed on, {} for None."""
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"DaskTaskRunner: {option}= must be a dict of keywords, got "
                        f"{type(given).__name__} {given!r:.80}")
    return dict(given or {})


_CONTRADICTIONS: tuple[tuple[str, frozenset[str], str], ...] = (
    ("client", frozenset({"cluster", "address", "cluster_class", "cluster_kwargs", "adapt_kwargs",
                          "client_kwargs"}),
     "a running client has its cluster and its settings."),
    ("address", frozenset({"cluster", "cluster_class", "cluster_kwargs", "adapt_kwargs"}),
     "what runs at an address is not started or scaled from here."),
    ("cluster", frozenset({"cluster_class", "cluster_kwargs"}),
     "a running cluster is not started from here."),
)
