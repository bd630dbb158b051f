"""Routes on the service itself: health, ready, version, its document, metrics.

Lives here: what can be asked of a service before anything else. Does not live here: how
the document (``openapi.py``) and the metrics (``metrics.py``) are made.
"""

from __future__ import annotations

import json
import logging
from typing import Literal

from dataflow import __version__
from dataflow.exceptions import RequestRefused, StoreError
from dataflow.server.routes import PREFIX, Call, Guard, Route, Text
from dataflow.server.shapes.pages import Shape

METRICS_MEDIA = "text/plain; version=0.0.4; charset=utf-8"
logger = logging.getLogger("dataflow.server")


class Health(Shape):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Ready(Shape):
    """Requests can be answered."""

    status: Literal["ready"] = "ready"


class Version(Shape):
    """Which service this is."""

    version: str
    api: Literal["v1"] = "v1"


def health(call: Call) -> Health:
    """Say that the process lives."""
    return Health()


def ready(call: Call) -> Ready:
    """Say whether the store can be read; nothing of it is told to who brings no token."""
    try:
        call.store.flow_runs(limit=1)
    except StoreError as error:
        logger.warning("Not ready: %s", error)
        raise RequestRefused(
            "The run store cannot be read at the moment.", status=503,
            what_to_do="Look into the log of the service.", headers={"Retry-After": "2"}) from None
    return Ready()


def version(call: Call) -> Version:
    """Say which version this is."""
    return Version(version=__version__)


def document(call: Call) -> Text:
    """Give the OpenAPI document."""
    return Text(json.dumps(call.site.document).encode(), "application/json")


def metrics(call: Call) -> Text:
    """Give the metrics."""
    return Text(call.site.metrics.text(call.store, call.now_s), METRICS_MEDIA)


ROUTES = (
    Route(method="GET", path=f"{PREFIX}/health", name="health", view=health, gives=Health,
          about="Whether the process lives.", guard=Guard.NOBODY, quick=True),
    Route(method="GET", path=f"{PREFIX}/ready", name="ready", view=ready, gives=Ready,
          about="Whether the run store can be read.", guard=Guard.NOBODY),
    Route(method="GET", path=f"{PREFIX}/version", name="version", view=version, gives=Version,
          about="Which version this is.", quick=True),
    Route(method="GET", path=f"{PREFIX}/openapi.json", name="document", view=document,
          about="This document.", quick=True),
    Route(method="GET", path="/metrics", name="metrics", view=metrics, media=METRICS_MEDIA,
          about="Metrics in the text format of Prometheus."),
)
