"""Giving parcels to their channels: at least once, without waiting for any of them.

Lives here: :class:`Delivery`, whose ``step`` a loop calls, and :func:`deliver`,
one round of it. Does not live here: what waits (``outbox.py``), when a failed
one is tried again (``backoff.py``), channels.

Each try has a thread of its own, of which there are few, and a channel has one
at most: what hangs holds up only itself. A thread that is over its time is left
behind (Python cannot stop it): the parcel counts as failed, the place of the
thread is free, and its channel gets no other before it has ended. Threads do not
keep the process alive.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from dataflow.alerts.backoff import Backoff, next_attempt
from dataflow.alerts.channel_urls import without
from dataflow.alerts.channels import Channel, open_channel
from dataflow.alerts.cleaning import cleaned_line
from dataflow.alerts.outbox import Outbox, Parcel
from dataflow.exceptions import AlertError, ChannelError, ChannelRefused
from dataflow.said_lately import SaidLately

LATE_S = 5.0
"""So much longer than its time a try may take before its thread is left behind."""
_logger = logging.getLogger("dataflow.alerts")


@dataclass(slots=True)
class _Try:
    """A thread at work on a parcel; ``ended`` is set last, by the thread."""

    parcel: Parcel
    began_s: float
    given_up_on: bool = False
    error: Exception | None = None
    ended: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Report:
    """How many parcels were delivered, and how many tries failed."""

    sent: int = 0
    failed: int = 0


class Delivery:
    """Delivers what is in an outbox; for one thread, which calls :meth:`step`.

    Parameters
    ----------
    outbox
        What waits.
    opened
        Gives the channel of a name or URL; called in the thread of a try. By default
        :func:`.open_channel` with the settings of that moment.
    timeout_s
        Of one try.
    slots
        How many tries at once.
    backoff, rng
        When failed ones are tried again.
    """

    def __init__(self, outbox: Outbox, opened: Callable[[str], Channel] = open_channel, *,
                 timeout_s: float = 15.0, slots: int = 8, backoff: Backoff | None = None,
                 rng: random.Random | None = None) -> None:
        self._outbox, self._opened = outbox, opened
        self._timeout_s, self._slots = timeout_s, slots
        self._backoff = backoff or Backoff()
        self._rng = rng or random.Random()
        self._tries: dict[str, _Try] = {}
        self._unsaid: deque[tuple[_Try, float | None, str | None]] = deque()
        self._said = SaidLately()
        self._news = threading.Event()

    @property
    def at_work(self) -> int:
        """Return how many tries go on, without those that were left behind."""
        return sum(not each.given_up_on for each in self._tries.values())

    def step(self, now_s: float) -> Report:
        """Take in what has ended, start what is due. Does not wait, and never raises.

        Parameters
        ----------
        now_s
            The time, epoch seconds.
        """
        report = self.take_in(now_s)
        self._start(now_s)
        return report

    def take_in(self, now_s: float) -> Report:
        """Take in what has ended, and start nothing. Does not wait, and never raises."""
        self._news.clear()
        ended = [each for each in self._tries.values() if each.ended.is_set()]
        for one in ended:
            del self._tries[one.parcel.channel]
            self._judge(one, now_s)
        for one in self._tries.values():
            if not one.given_up_on and now_s - one.began_s > self._timeout_s + LATE_S:
                one.error = ChannelError(
                    f"{one.parcel.shown_channel} did not end within {self._timeout_s:g} s.",
                    channel=one.parcel.shown_channel, reason="timeout")
                self._judge(one, now_s)
                one.given_up_on = True
        return self._say(now_s)

    def wait(self, timeout_s: float) -> bool:
        """Wait until a try has ended since the last step. False where none has by then."""
        return self._news.wait(timeout_s)

    def _judge(self, one: _Try, now_s: float) -> None:
        """Put down what is to be recorded of a try that has ended, or is over its time."""
        if one.given_up_on:
            if one.error is None:
                self._unsaid.append((one, None, None))  # late, but it arrived
            return
        if one.error is None:
            self._unsaid.append((one, None, None))
            return
        error = one.error
        said = cleaned_line(without(str(error), one.parcel.channel))
        if not isinstance(error, AlertError):  # its text may hold anything, a token too
            said = f"{one.parcel.shown_channel} failed with a {type(error).__name__}"
        due_s = next_attempt(one.parcel, now_s, self._rng, self._backoff,
                             wait_s=error.__dict__.get("retry_after_s"),
                             hopeless=_is_hopeless(error))
        after = "given up" if due_s is None else f"again in {due_s - now_s:,.0f} s"
        _logger.warning("Alert %r was not delivered (%s): %s",
                        cleaned_line(one.parcel.alert), after, said)
        self._unsaid.append((one, due_s, said))

    def _say(self, now_s: float) -> Report:
        """Tell the outbox what has not been told yet; what it does not take is kept."""
        sent = failed = 0
        while self._unsaid:
            one, due_s, error = self._unsaid[0]
            try:
                if error is None:
                    self._outbox.done(one.parcel.id, now_s)
                else:
                    self._outbox.failed(one.parcel.id, now_s, error, due_s)
            except Exception as problem:  # a store that is away must not end the loop
                self._warn(f"The outbox of alerts cannot be written: {cleaned_line(str(problem))}")
                break
            self._unsaid.popleft()
            sent, failed = sent + (error is None), failed + (error is not None)
        return Report(sent, failed)

    def _warn(self, text: str) -> None:
        if self._said.is_new(text):
            _logger.warning("%s", text)

    def _start(self, now_s: float) -> None:
        free = self._slots - self.at_work
        if free <= 0 or self._unsaid:
            return
        try:
            lease_s = 2 * (self._timeout_s + LATE_S)
            taken = self._outbox.take(now_s, lease_s, frozenset(self._tries), free)
        except Exception as problem:  # as above
            self._warn(f"The outbox of alerts cannot be read: {cleaned_line(str(problem))}")
            return
        for parcel in taken:
            if parcel.channel in self._tries:
                continue  # its lease ends, and it is due again
            one = self._tries[parcel.channel] = _Try(parcel, now_s)
            threading.Thread(target=self._attempt, args=(one,), daemon=True,
                             name=f"dataflow-alert-{parcel.id}").start()

    def _attempt(self, one: _Try) -> None:
        error: Exception | None = None
        try:
            self._opened(one.parcel.channel).send(one.parcel.text, self._timeout_s)
        except Exception as problem:  # channels of others: whatever they raise is a failed try
            error = problem.with_traceback(None)
        one.error = error
        one.ended.set()
        self._news.set()


def _is_hopeless(error: Exception) -> bool:
    """Tell whether nothing but other settings can help; a name that this process does not know
    another one may know."""
    return isinstance(error, ChannelRefused) and error.__dict__.get("reason") != "unknown name"


def deliver(outbox: Outbox, opened: Callable[[str], Channel], now_s: float, *,
            timeout_s: float = 15.0, slots: int = 8, backoff: Backoff | None = None,
            rng: random.Random | None = None,
            clock: Callable[[], float] = time.monotonic) -> Report:
    """Deliver what is due now, and wait for it: as long as the tries may take.

    Parameters
    ----------
    outbox, opened, timeout_s, slots, backoff, rng
        As of :class:`Delivery`, which a loop uses: this one waits for the slowest.
    now_s
        The time, epoch seconds.

    Returns
    -------
    Report
        Nothing is raised.
    """
    delivery = Delivery(outbox, opened, timeout_s=timeout_s, slots=slots, backoff=backoff, rng=rng)
    began = clock()
    report = delivery.step(now_s)
    while delivery.at_work:
        delivery.wait(0.5)
        step = delivery.step(now_s + clock() - began)
        report = Report(report.sent + step.sent, report.failed + step.failed)
    return report
