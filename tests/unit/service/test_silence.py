"""Whether who has a run still says so, whatever the clocks of other hosts show."""

from __future__ import annotations

from dataclasses import replace

from dataflow.agenda import RunClaim
from dataflow.service.silence import Silence

CLAIM = RunClaim(flow_run_id="a", worker="w", until_s=1_000.0, tries=1, owner=None,
                 lease_until_s=None)
OTHER = replace(CLAIM, flow_run_id="b")


def test_a_claim_that_stands_unchanged_for_too_long_is_lost_and_stays_so() -> None:
    silence = Silence(30.0)
    assert [silence.lost([CLAIM], now) for now in (5.0, 20.0, 34.9)] == [[], [], []]
    assert silence.lost([CLAIM, OTHER], 35.0) == ["a"]
    assert silence.lost([CLAIM, OTHER], 65.0) == ["a", "b"]


def test_any_word_of_worker_or_process_counts_whatever_time_it_names() -> None:
    words = [
        replace(CLAIM, until_s=-500.0), replace(CLAIM, until_s=9e9),
        replace(CLAIM, owner="there:1:2", lease_until_s=3.0),
        replace(CLAIM, owner="there:1:2", lease_until_s=2.0), replace(CLAIM, worker="v"),
        replace(CLAIM, tries=2),
    ]
    silence = Silence(30.0)
    assert [silence.lost([word], 29.0 * at) for at, word in enumerate(words)] == [[]] * len(words)
    assert silence.lost([words[-1]], 29.0 * len(words) + 1) == ["a"]


def test_a_run_that_is_taken_again_is_looked_at_anew() -> None:
    silence = Silence(30.0)
    silence.lost([CLAIM], 0.0)
    silence.lost([], 20.0)
    assert silence.lost([CLAIM], 40.0) == []


def test_after_a_time_in_which_nobody_could_speak_all_begin_anew() -> None:
    silence = Silence(30.0)
    silence.lost([CLAIM], 0.0)
    silence.forget()
    assert silence.lost([CLAIM], 31.0) == []
    assert silence.lost([CLAIM], 61.0) == ["a"]
