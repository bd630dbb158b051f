"""Alerts: who is told what, when a run did not go as it should.

The names that users write; each is imported from its module on first use::

    from dataflow.alerts import Alert

    @flow(alerts=[Alert(on="failed", channels=["slack-ops"])])
    def nightly(): ...

The way of one alert: an event of a run and its history come in (``events.py``);
``rules.py`` says whether somebody is to be told (a notice); ``grouping.py``
makes one message of many notices; ``text.py`` writes it; an outbox holds it
until ``delivery.py`` has given it to its channel (``channels.py``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME_OF = {
    "Alert": "dataflow.alerts.alert",
    "alert_from_json": "dataflow.alerts.alert",
    "RunEvent": "dataflow.alerts.events",
    "ErrorGroup": "dataflow.alerts.events",
    "History": "dataflow.alerts.events",
    "Notice": "dataflow.alerts.notices",
    "matches": "dataflow.alerts.rules",
    "judge": "dataflow.alerts.rules",
    "missed": "dataflow.alerts.deadlines",
    "Groups": "dataflow.alerts.grouping",
    "fold": "dataflow.alerts.grouping",
    "Message": "dataflow.alerts.messages",
    "Text": "dataflow.alerts.text",
    "text_of": "dataflow.alerts.text",
    "Channel": "dataflow.alerts.channels",
    "open_channel": "dataflow.alerts.channels",
    "Configured": "dataflow.alerts.alert_files",
    "configured": "dataflow.alerts.alert_files",
    "Outbox": "dataflow.alerts.outbox",
    "MemoryOutbox": "dataflow.alerts.outbox",
    "Parcel": "dataflow.alerts.outbox",
    "parcels": "dataflow.alerts.outbox",
    "Delivery": "dataflow.alerts.delivery",
    "deliver": "dataflow.alerts.delivery",
    "shown": "dataflow.alerts.channel_urls",
}

__all__ = [
    "Alert",
    "Channel",
    "Configured",
    "Delivery",
    "ErrorGroup",
    "Groups",
    "History",
    "MemoryOutbox",
    "Message",
    "Notice",
    "Outbox",
    "Parcel",
    "RunEvent",
    "Text",
    "alert_from_json",
    "configured",
    "deliver",
    "fold",
    "judge",
    "matches",
    "missed",
    "open_channel",
    "parcels",
    "shown",
    "text_of",
]

if TYPE_CHECKING:
    from dataflow.alerts.alert import Alert, alert_from_json
    from dataflow.alerts.alert_files import Configured, configured
    from dataflow.alerts.channel_urls import shown
    from dataflow.alerts.channels import Channel, open_channel
    from dataflow.alerts.deadlines import missed
    from dataflow.alerts.delivery import Delivery, deliver
    from dataflow.alerts.events import ErrorGroup, History, RunEvent
    from dataflow.alerts.grouping import Groups, fold
    from dataflow.alerts.messages import Message
    from dataflow.alerts.notices import Notice
    from dataflow.alerts.outbox import MemoryOutbox, Outbox, Parcel, parcels
    from dataflow.alerts.rules import judge, matches
    from dataflow.alerts.text import Text, text_of


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'dataflow.alerts' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
