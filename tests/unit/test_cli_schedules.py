"""``dataflow schedule preview``: words, times with offsets, and how bad input is refused."""

from __future__ import annotations

import json

import pytest

from dataflow.cli import main

BERLIN = ("--timezone", "Europe/Berlin")


def preview(*arguments: str) -> int:
    return main(("schedule", "preview", *arguments))


def test_preview_tells_words_and_times_with_offsets(capsys: pytest.CaptureFixture[str]) -> None:
    assert preview("0 9 * * mon-fri", *BERLIN, "--from", "2026-03-27T12:00", "--count", "2") == 0
    assert capsys.readouterr().out.splitlines() == [
        "at 09:00 on Monday to Friday, Europe/Berlin",
        "",
        "TIME                       DAY  CLOCK",
        "2026-03-30 09:00:00+02:00  Mon",
        "2026-03-31 09:00:00+02:00  Tue",
    ]


def test_preview_marks_what_is_odd_about_the_clock(capsys: pytest.CaptureFixture[str]) -> None:
    assert preview("30 2 * * *", *BERLIN, "--from", "2026-03-28T12:00", "-n", "1") == 0
    assert "02:30 does not exist: runs right after the change" in capsys.readouterr().out
    assert preview("30 2 * * *", *BERLIN, "--from", "2026-10-24T12:00", "-n", "1") == 0
    assert "02:30 exists twice: this is the first" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, expected", [
    (("30 2 * * *", *BERLIN, "--from", "2026-10-24T12:00"),
     ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
    (("--interval", "900", "--from", "2026-01-01"),
     ["2026-01-01T00:15:00+00:00", "2026-01-01T00:30:00+00:00"]),
    (("--interval", "15m", "--from", "2026-01-01T00:00:00+02:00"),
     ["2025-12-31T22:15:00+00:00", "2025-12-31T22:30:00+00:00"]),
    (("--interval", "1d", "--anchor", "2020-01-01T06:00", *BERLIN, "--from", "2026-03-28"),
     ["2026-03-28T06:00:00+01:00", "2026-03-29T06:00:00+02:00"]),
    (("--rrule", "FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=17", "--from", "2026-01-01"),
     ["2026-01-30T17:00:00+00:00", "2026-02-27T17:00:00+00:00"]),
    (("--at", "2026-05-01T08:00", "--at", "2026-04-01T08:00+00:00", *BERLIN,
      "--from", "2026-01-01"),
     ["2026-04-01T10:00:00+02:00", "2026-05-01T08:00:00+02:00"]),
    (("0 0 13 * fri", "--day-and", "--from", "2026-01-01"),
     ["2026-02-13T00:00:00+00:00", "2026-03-13T00:00:00+00:00"]),
    (("--at", "2020-01-01", "--from", "2026-01-01"), []),
])
def test_json_is_a_list_of_times_with_offset_and_nothing_else(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: list[str]
) -> None:
    assert preview(*arguments, "--count", "2", "--output", "json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == expected and shown.err == ""


def test_times_begin_now_where_nothing_else_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert preview("* * * * *", "--output", "json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 10


def test_schedule_without_a_next_time_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert preview("--at", "2020-01-01", "--from", "2026-01-01") == 0
    assert "No time after 2026-01-01 00:00:00+00:00." in capsys.readouterr().out


@pytest.mark.parametrize("arguments, words", [
    (("61 * * * *",), "minute field '61': 61 is out of range"),
    (("0 9 * * *", "--timezone", "Europe/Berln"), "did you mean Europe/Berlin"),
    (("--interval", "-5"), "interval -5.0 is out of range"),
    (("--interval", "often"), "'often' is no length of time. Write 900 (seconds), 15m, 12h or 1d."),
    (("--rrule", "FREQ=OFTEN"), "has FREQ=OFTEN; allowed are YEARLY"),
    (("--at", "soon"), "when 'soon' is no moment in ISO 8601"),
    (("0 9 * * *", "--from", "soon"), "--from 'soon' is no moment in ISO 8601"),
    (("0 9 * * *", "--count", "0"), "--count"),
    ((), "Give one of CRON (in quotes), --interval, --rrule and --at."),
    (("0 9 * * *", "--interval", "5"), "not CRON and --interval."),
    (("0", "9", "*", "*", "*"), "unexpected extra argument"),
    (("0 9 * * *", "--anchor", "2026-01-01"), "--anchor goes with --interval, not with CRON."),
    (("--interval", "5", "--day-and"), "--day-and goes with CRON, not with --interval."),
])
def test_bad_input_is_wrong_usage_with_the_error(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert preview(*arguments) == 2
    shown = capsys.readouterr()
    assert words in shown.err and shown.out == ""
