"""What delivers messages in a process that lives on: a thread over the outbox of the store.

Lives here: the loop, and which URL the name of a channel means there. Does not live here:
one delivery (``alerts/delivery.py``), what is to be delivered (``alerting.py``).

Any number of processes may deliver from one store: a message is leased to one of them,
and goes out again where that one died. A channel that hangs holds up nothing but itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dataflow.alerts.alert_files import usable
from dataflow.alerts.channels import Channel, open_channel
from dataflow.alerts.delivery import Delivery, Report
from dataflow.exceptions import ChannelRefused, SettingsError
from dataflow.settings import get_settings
from dataflow.store import Store

POLL_S = 0.5
"""Messages are seen within so long, in seconds."""

DRAIN_S = 2.0
"""So long the end waits for deliveries under way, in seconds; they go out again later else."""


class AlertDelivery:
    """Delivers until it is stopped.

    Parameters
    ----------
    store
        Whose outbox.
    clock
        Gives epoch seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._delivery = Delivery(store.events().outbox(), named_channel,
                                  timeout_s=get_settings().alerts_timeout_seconds)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def step(self) -> Report:
        """Take in what has ended, and begin what is due. Does not wait, and never raises."""
        if not _wanted():
            return Report()
        return self._delivery.step(self._clock())

    def run(self) -> None:
        """Deliver until :meth:`stop`."""
        while not self._stop.is_set():
            self.step()
            if not self._delivery.at_work:
                self._stop.wait(POLL_S)
            else:
                self._delivery.wait(POLL_S)
        self.drain()

    def drain(self) -> None:
        """Begin nothing more, and record what ends within ``DRAIN_S``."""
        end_s = time.monotonic() + DRAIN_S
        while self._delivery.at_work and (left_s := end_s - time.monotonic()) > 0:
            self._delivery.wait(left_s)
            self._delivery.take_in(self._clock())

    def start(self) -> None:
        """Run in a thread."""
        self._thread = threading.Thread(target=self.run, daemon=True,
                                        name="dataflow-alert-delivery")
        self._thread.start()

    def stop(self) -> None:
        """End the loop, and wait for it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()


def named_channel(channel: str) -> Channel:
    """Return the channel of a name or URL, by the files of settings as they are now.

    Raises
    ------
    ChannelRefused
        No file of this process names it, or what it says cannot be used.
    """
    found, _ = usable()
    if channel in found.broken:
        raise ChannelRefused(found.broken[channel], channel=channel, reason="settings")
    known = {**dict.fromkeys(found.broken, ""), **found.named().channels}  # all that is written
    return open_channel(channel, named=known)


def _wanted() -> bool:
    try:
        return get_settings().alerts_send != "off"
    except SettingsError:
        return True
