"""What is said again and again is said once a minute."""

from __future__ import annotations

from dataflow.said_lately import SaidLately


def test_the_same_is_said_again_after_a_minute_and_others_at_once() -> None:
    now_s = [0.0]
    said = SaidLately(lambda: now_s[0])
    assert said.is_new("away") and not said.is_new("away") and said.is_new("locked")
    now_s[0] = 59.9
    assert not said.is_new("away")
    now_s[0] = 60.0
    assert said.is_new("away") and not said.is_new("away")


def test_it_does_not_grow() -> None:
    said = SaidLately(lambda: 0.0)
    for number in range(1000):
        assert said.is_new(str(number))
    assert len(said._said) <= 20
