"""Delivery: back-off, at least once, channels that hang or die, an outbox that is away."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dataflow.alerts import (
    Alert,
    Delivery,
    Groups,
    MemoryOutbox,
    Parcel,
    RunEvent,
    Text,
    deliver,
    fold,
    matches,
    parcels,
)
from dataflow.alerts.backoff import Backoff, next_attempt
from dataflow.alerts.channels import Channel
from dataflow.alerts.outbox import parcel_of
from dataflow.exceptions import ChannelError, ChannelRefused

HELLO = Text(title="t", body="b", severity="failure", data={"a": 1})
PLAIN = Backoff(jitter=0.0)


def parcel(number: int, channel: str = "a", **changes: Any) -> Parcel:
    return Parcel(id=f"p{number}", channel=channel, text=HELLO, created_s=0.0,
                  due_s=float(changes.pop("due_s", number)), **changes)


class Recorder:
    """A channel that keeps what it is given, or does what it is told first."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.shown, self.act = "test://…", act
        self.texts: list[Text] = []

    def send(self, text: Text, timeout_s: float) -> None:
        self.act()
        self.texts.append(text)


def raising(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def opener(**channels: Channel) -> Callable[[str], Channel]:
    return channels.__getitem__


def settled(delivery: Delivery, now_s: float) -> None:
    """Step until nothing is at work."""
    delivery.step(now_s)
    while delivery.at_work:
        assert delivery.wait(10)
        delivery.step(now_s)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Return what a hanging channel waits for; it is opened at the end."""
    opened = threading.Event()
    yield opened
    opened.set()


def test_delays_double_up_to_the_longest_and_the_parcel_is_given_up_at_the_end() -> None:
    one, rng = parcel(0), random.Random(0)
    due = [next_attempt(replace(one, attempts=n), 100.0, rng, PLAIN) for n in (0, 1, 2, 8, 99)]
    assert due == [105.0, 110.0, 120.0, 1_380.0, 1_900.0]
    assert next_attempt(replace(one, attempts=20), 86_000.0, rng, PLAIN) == 86_400.0
    assert next_attempt(one, 86_400.0, rng, PLAIN) is None
    assert next_attempt(one, 0.0, rng, PLAIN, wait_s=60.0) == 60.0
    assert next_attempt(one, 0.0, rng, PLAIN, wait_s=1e9) == 1_800.0
    assert next_attempt(one, 0.0, rng, PLAIN, hopeless=True) == 1_800.0


def test_jitter_only_makes_a_delay_longer_and_by_its_share() -> None:
    rng = random.Random(3)
    delays = [next_attempt(parcel(0), 0.0, rng, Backoff(jitter=0.5)) or 0 for _ in range(500)]
    assert min(delays) >= 5.0 and max(delays) <= 7.5 and max(delays) - min(delays) > 2.0


def test_a_message_is_a_parcel_for_each_channel_once_and_goes_to_json_and_back() -> None:
    event = RunEvent(flow_run_id="r", flow_run_name="n", flow_name="f", state_type="FAILED",
                     state_name="Failed", occurred_s=1.0)
    notice = matches(Alert(channels=["a", "b", "a"], group_seconds=0), event)
    assert notice is not None
    (message,) = fold(Groups(), [notice], 5.0)[1]
    made = parcels(message, 5.0)
    assert [each.channel for each in made] == ["a", "b"]
    assert made == parcels(message, 5.0) and len({each.id for each in made}) == 2
    assert [parcel_of(each.to_dict()) for each in made] == list(made)
    outbox = MemoryOutbox(made)
    outbox.put(made[0])
    assert len(outbox.waiting) == 2


def test_parcels_are_delivered_in_the_order_in_which_they_are_due() -> None:
    channel = Recorder()
    texts = [replace(HELLO, title=str(number)) for number in range(5)]
    outbox = MemoryOutbox([replace(parcel(number), text=texts[number]) for number in (3, 1, 4, 2)])
    report = deliver(outbox, opener(a=channel), 3.0)
    assert (report.sent, report.failed) == (3, 0)
    assert channel.texts == texts[1:4]
    assert (list(outbox.delivered), list(outbox.waiting)) == (["p1", "p2", "p3"], ["p4"])


def test_a_failed_try_is_recorded_with_its_error_and_tried_again_when_due(
    caplog: pytest.LogCaptureFixture
) -> None:
    errors = [ChannelError("a… answered 503", channel="a", retry_after_s=60.0),
              ChannelError("a… answered 500", channel="a"), None]

    def act() -> None:
        if (error := errors.pop(0)) is not None:
            raise error

    channel = Recorder(act)
    outbox = MemoryOutbox([parcel(0)])
    delivery = Delivery(outbox, opener(a=channel), backoff=PLAIN)
    settled(delivery, 0.0)
    (waiting,) = outbox.waiting.values()
    assert (waiting.attempts, waiting.error, waiting.due_s) == (1, "a… answered 503", 60.0)
    settled(delivery, 59.0)
    assert len(errors) == 2
    settled(delivery, 60.0)
    assert outbox.waiting["p0"].due_s == 70.0
    settled(delivery, 70.0)
    assert (channel.texts, outbox.delivered, outbox.waiting) == ([HELLO], {"p0": 70.0}, {})
    assert "was not delivered (again in 60 s): a… answered 503" in caplog.text


def test_a_parcel_that_cannot_be_delivered_is_given_up_and_kept_with_its_error() -> None:
    outbox = MemoryOutbox([parcel(0)])
    delivery = Delivery(outbox, opener(a=Recorder(raising(ChannelError("no")))), backoff=PLAIN)
    settled(delivery, 86_400.0)
    assert outbox.waiting == {} and outbox.given_up["p0"].error == "no"


def test_a_refused_channel_is_tried_seldom_since_only_settings_help() -> None:
    outbox = MemoryOutbox([parcel(0)])
    settled(Delivery(outbox, opener(a=Recorder(raising(ChannelRefused("private")))),
                     backoff=PLAIN), 0.0)
    assert outbox.waiting["p0"].due_s == 1_800.0


@pytest.mark.parametrize("error", [RuntimeError("s3cret"), KeyError("s3cret"), TimeoutError()])
def test_whatever_a_channel_raises_delays_and_stops_no_other_and_tells_no_secret(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    good = Recorder()
    outbox = MemoryOutbox([parcel(0, "bad"), parcel(1, "good"), parcel(2, "unknown")])
    delivery = Delivery(outbox, opener(bad=Recorder(raising(error)), good=good), backoff=PLAIN)
    settled(delivery, 5.0)
    assert good.texts == [HELLO] and set(outbox.waiting) == {"p0", "p2"}
    assert outbox.waiting["p0"].error == f"bad failed with a {type(error).__name__}"
    assert "s3cret" not in caplog.text


def test_a_channel_that_hangs_holds_up_only_itself(gate: threading.Event) -> None:
    slow, good = Recorder(lambda: gate.wait(60) and None), Recorder()  # type: ignore[func-returns-value]
    outbox = MemoryOutbox([parcel(0, "slow"), parcel(1, "slow"), parcel(2, "good")])
    delivery = Delivery(outbox, opener(slow=slow, good=good), timeout_s=30.0, slots=1 + 1,
                        backoff=PLAIN)
    delivery.step(2.0)
    assert delivery.wait(10)
    assert delivery.step(3.0).sent == 1
    assert (good.texts, delivery.at_work) == ([HELLO], 1)
    assert delivery.step(36.0).failed == 0
    assert delivery.step(37.5).failed == 1  # left behind; its place is free
    assert delivery.at_work == 0
    assert outbox.waiting["p0"].error == "slow did not end within 30 s."
    outbox.put(parcel(3, "good", due_s=40))
    settled(delivery, 100.0)
    assert "p3" in outbox.delivered and "p1" in outbox.waiting  # its channel is still busy


def test_slots_taken_by_hanging_channels_are_given_to_others(gate: threading.Event) -> None:
    hung = {f"hung{number}": Recorder(lambda: gate.wait(60) and None)  # type: ignore[func-returns-value]
            for number in range(4)}
    good = Recorder()
    outbox = MemoryOutbox([parcel(number, name) for number, name in enumerate(hung)])
    outbox.put(parcel(9, "good"))
    delivery = Delivery(outbox, opener(good=good, **hung), timeout_s=30.0, slots=4, backoff=PLAIN)
    delivery.step(10.0)
    assert (delivery.at_work, good.texts) == (4, [])
    delivery.step(46.0)
    assert delivery.wait(10)
    delivery.step(46.0)
    assert good.texts == [HELLO]


def test_what_arrives_after_its_time_counts_as_delivered(gate: threading.Event) -> None:
    slow = Recorder(lambda: gate.wait(60) and None)  # type: ignore[func-returns-value]
    outbox = MemoryOutbox([parcel(0, "slow")])
    delivery = Delivery(outbox, opener(slow=slow), timeout_s=30.0, backoff=PLAIN)
    delivery.step(0.0)
    delivery.step(36.0)
    assert outbox.waiting["p0"].attempts == 1
    gate.set()
    assert delivery.wait(10)
    delivery.step(36.5)
    assert list(outbox.delivered) == ["p0"] and outbox.waiting == {}


class Away(MemoryOutbox):
    """An outbox whose store is away now and then."""

    away = False

    def take(self, *arguments: Any) -> Any:
        self._check()
        return super().take(*arguments)

    def done(self, parcel_id: str, now_s: float) -> None:
        self._check()
        super().done(parcel_id, now_s)

    def _check(self) -> None:
        if self.away:
            raise OSError("the store is away")


def test_an_outbox_that_is_away_stops_nothing_and_is_told_later() -> None:
    channel = Recorder()
    outbox = Away([parcel(0)])
    delivery = Delivery(outbox, opener(a=channel))
    outbox.away = True
    assert delivery.step(0.0).sent == 0 and channel.texts == []
    outbox.away = False
    delivery.step(0.0)
    assert delivery.wait(10)
    outbox.away = True
    assert delivery.step(1.0).sent == 0
    outbox.away = False
    assert delivery.step(2.0).sent == 1
    assert (channel.texts, list(outbox.delivered)) == ([HELLO], ["p0"])


def test_who_dies_before_saying_that_it_was_delivered_delivers_it_again() -> None:
    channel = Recorder()
    outbox = Away([parcel(0)])
    first = Delivery(outbox, opener(a=channel), timeout_s=10.0)
    first.step(0.0)
    assert first.wait(10)
    del first  # killed
    second = Delivery(outbox, opener(a=channel), timeout_s=10.0)
    settled(second, 1.0)
    assert len(channel.texts) == 1  # still leased to the first
    settled(second, 30.0)
    assert len(channel.texts) == 2 and list(outbox.delivered) == ["p0"]
