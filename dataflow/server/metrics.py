"""What the service counts, in the text format of Prometheus.

Lives here: counters of this process, and what is read from the store at each scrape.
Does not live here: the route (``views/process.py``).
"""

from __future__ import annotations

import threading
from collections import Counter as Counts
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dataflow.store import Store

FRESH_S = 30.0
"""Runs are counted again after so many seconds: of a million it takes some 2 s."""


class Metrics:
    """The counters of one process. Safe from several threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "dataflow_requests", "Requests answered.", ("route", "method", "status"),
            registry=self._registry)
        self.request_seconds = Histogram(
            "dataflow_request_seconds", "Time from the end of a request to its answer.",
            ("route",), registry=self._registry)
        self.streams = Gauge(
            "dataflow_streams", "Streams of events that are open.", registry=self._registry)
        self.turn_seconds = Histogram(
            "dataflow_scheduler_turn_seconds", "Time that a turn of the scheduler took.",
            registry=self._registry)
        self._runs: tuple[float, dict[str, int]] | None = None
        self._turn = threading.Lock()

    def text(self, store: Store, now_s: float) -> bytes:
        """Return all metrics as text; what is in the store is read for it."""
        read = CollectorRegistry()
        read.register(_Read(list(self._families(store, now_s))))
        return generate_latest(self._registry) + generate_latest(read)

    def _families(self, store: Store, now_s: float) -> Iterator[GaugeMetricFamily]:
        agenda = store.agenda()
        runs = GaugeMetricFamily("dataflow_flow_runs", "Flow runs by type of state.",
                                 labels=("state",))
        for state, count in self._counted(store, now_s).items():
            runs.add_metric((state,), count)
        yield runs
        queue = GaugeMetricFamily("dataflow_queue_runs", "Runs in the queue.",
                                  labels=("pool", "queue", "phase"))
        for each in agenda.queue_lengths(now_s):
            for phase, count in (("waiting", each.waiting - each.due), ("due", each.due),
                                 ("taken", each.taken)):
                queue.add_metric((each.pool, each.queue, phase), count)
        yield queue
        workers = GaugeMetricFamily("dataflow_workers", "Workers.", labels=("pool", "status"))
        counts = Counts((row.pool, row.status) for row in agenda.workers())
        for labels, count in sorted(counts.items()):
            workers.add_metric(labels, count)
        yield workers

    def _counted(self, store: Store, now_s: float) -> dict[str, int]:
        with self._turn:  # a second one that asks meanwhile waits for the same count
            if self._runs is None or not 0 <= now_s - self._runs[0] < FRESH_S:
                found: Counts[str] = Counts()
                for flow in store.flows(limit=None):
                    found.update(flow.counts)
                self._runs = now_s, dict(sorted(found.items()))
            return self._runs[1]


class _Read(Collector):
    """Metrics that were read a moment ago."""

    def __init__(self, families: list[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> Iterator[Any]:
        """Yield them."""
        yield from self._families
