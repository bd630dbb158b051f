"""The words of messages: what they say, what templates may do, what is never in them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.alerts import Alert, ErrorGroup, Groups, Message, RunEvent, fold, matches, text_of
from dataflow.alerts.cleaning import LINE, WHOLE, cleaned, cleaned_line

RUN = RunEvent(
    flow_run_id="0c1e", flow_run_name="swift-heron", flow_name="etl", deployment_name="nightly",
    tags=("prod",), state_type="FAILED", state_name="Failed", message="2,991 elements failed",
    occurred_s=1_770_000_000.0, started_s=1_769_999_400.0, ended_s=1_770_000_000.0,
    counts={"FAILED": 2_991, "COMPLETED": 7_009}, link="https://flows.example/runs/0c1e",
    errors=(
        ErrorGroup(error_type="ValueError", message="bad row 17", count=2_990, task_name="load",
                   indexes=((0, 16), (18, 18), (20, 2_991))),
        ErrorGroup(error_type="KeyError", message="'id'", task_name="load", indexes=((17, 17),))))


def messages(*events: RunEvent, **options: Any) -> list[Message]:
    alert = Alert(match="*", channels=["a"], group_seconds=0, **options)
    found = [notice for event in events if (notice := matches(alert, event))]
    return fold(Groups(), found, 1_770_000_000.0)[1]


def test_the_default_text_says_what_why_how_many_where_to_look_and_what_is_done() -> None:
    text = text_of(messages(replace(RUN, next_retry_s=1_770_000_060.0))[0])
    assert text.title == "[failed] etl/nightly: swift-heron"
    assert text.severity == "failure"
    assert text.body.splitlines() == [
        "Flow run swift-heron of etl/nightly failed, at 2026-02-02 02:40:00 UTC after 10 min.",
        "2,991 elements failed",
        "2,991 of 10,000 elements failed.",
        "",
        "First error: ValueError: bad row 17 (2,990 alike)",
        "Also: KeyError: 'id'",
        "Elements: load[0-16, 18, 20-2991], load[17]",
        "",
        "What is done: the next try begins at 2026-02-02 02:41:00 UTC.",
        "Look: dataflow flow-run inspect 0c1e",
        "Page: https://flows.example/runs/0c1e",
        "Alert: failed of *",
    ]


def test_the_data_of_a_message_says_the_same_to_programs() -> None:
    (message,) = messages(RUN)
    data = text_of(message).data
    assert (data["id"], data["state_type"], data["failed_elements"], data["elements"]) == (
        message.id, "FAILED", 2_991, 10_000)
    assert data["occurred_at"] == "2026-02-02T02:40:00+00:00"
    assert data["errors"][0] == {"type": "ValueError", "message": "bad row 17", "count": 2_990,
                                 "task": "load", "elements": "0-16, 18, 20-2991"}


def test_many_runs_are_named_and_counted() -> None:
    runs = [replace(RUN, flow_run_id=str(number), flow_run_name=f"run-{number}", errors=())
            for number in range(22)]
    text = text_of(messages(*runs)[0])
    assert text.title == "[failed] etl/nightly: 22 runs"
    assert "22 runs of etl/nightly: failed." in text.body
    assert "run-0, run-1," in text.body and "run-19 and 2 more." in text.body


def test_task_runs_are_told_as_such() -> None:
    elements = [replace(RUN, task_name="load", map_index=index, message=f"no file {index}",
                        errors=(), counts={}) for index in range(3)]
    alert = Alert(match="task:load", channels=["a"], group_seconds=0)
    found = [notice for each in elements if (notice := matches(alert, each))]
    body = text_of(fold(Groups(), found, 0.0)[1][0]).body
    assert "3 task runs of flow run swift-heron (etl/nightly): failed" in body
    assert "First error: Failed: no file 0 (3 alike)" in body and "Elements: load[0-2]" in body


def test_a_template_of_the_alert_is_used() -> None:
    (message,) = messages(RUN, title="{{ flow }}: {{ errors[0].type }}",
                          text="{% for run in runs %}{{ run.name }}!{% endfor %} {{ 2 * 21 }}")
    text = text_of(message)
    assert (text.title, text.body) == ("etl: ValueError", "swift-heron! 42")


@pytest.mark.parametrize("template, said", [
    ("{{ runn_name }}", "UndefinedError: 'runn_name' is undefined"),
    ("{{ run_name.__class__.__mro__ }}", "SecurityError: access to attribute '__class__'"),
    ("{{ ''.__class__.__base__.__subclasses__() }}", "SecurityError"),
    ("{{ runs.append(1) }}", "SecurityError"),
    ("{{ '{0.__class__}'.format(run_name) }}", "SecurityError"),
    ("{{ 'a' * 1000000000 }}", r"SecurityError: \* is not allowed"),
    ("{{ 9 ** 9 ** 9 }}", r"SecurityError: \*\* is not allowed"),
    ("{{ '%999999999d' % 1 }}", "SecurityError: % is not allowed"),
    ("{% for i in range(10 ** 9) %}x{% endfor %}", "SecurityError"),
    ("{% for i in range(99999) %}{{ run_name }}{% endfor %}", "it writes more than 100,000"),
    ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ("{% include '/etc/passwd' %}", "TypeError: no loader"),
])
def test_a_template_that_fails_gives_the_default_text_and_says_why(
    template: str, said: str
) -> None:
    (message,) = messages(RUN, text=template)
    body = text_of(message).body
    assert body.startswith("Flow run swift-heron of etl/nightly failed")
    last = body.splitlines()[-1]
    assert last.startswith("(This is the default text: the alert's own template failed: ")
    assert re.search(said, last)


@pytest.mark.parametrize("secret", [
    "password=hunter2", "PGPASSWORD: 'hunter2'", '{"api_key": "hunter2"}', "db.token = hunter2",
    "connect to postgres://me:hunter2@db.example/x", "Authorization: Bearer hunter2hunter2",
    "https://hunter2@example.com/", "aws_secret_access_key=hunter2&x=1",
])
def test_secrets_in_texts_of_runs_are_masked(secret: str) -> None:
    event = replace(RUN, message=secret, flow_run_name=secret, errors=(
        ErrorGroup(error_type="E", message=secret),))
    text = text_of(messages(event)[0])
    assert "hunter2" not in text.title + text.body + repr(text.data)
    assert "***" in text.body


@pytest.mark.parametrize("hostile, clean", [
    ("\x1b[31mred\x1b[0m", "red"), ("\x1b]0;title\x07x", "x"), ("a\x00b\x08c", "a\ufffdb\ufffdc"),
    ("a\u202eb\u2066c", "abc"), ("a\r\nb\rc", "a\nb\nc"), ("tab\there", "tab here"),
    ("\ud800lone", "\ufffdlone"), ("@everyone", "@\u200beveryone"), ("<!here>", "<\u200b!here>"),
    ("a\u2028b", "a\nb"), ("ok äöü 日本 🎉", "ok äöü 日本 🎉"),
    ("me@example.com", "me@example.com"),
    ("key: value, tokenizer=bert", "key: value, tokenizer=bert"),
])
def test_what_is_hostile_in_texts_is_taken_out(hostile: str, clean: str) -> None:
    assert cleaned(hostile) == clean


def test_huge_lines_and_texts_are_cut_and_say_so() -> None:
    assert cleaned("x" * (LINE + 5)) == "x" * LINE + "… (5 more characters)"
    assert cleaned("y\n" * 100).endswith("… and 40 more lines")
    assert len(cleaned("z" * 10_000_000)) < LINE + 50
    assert cleaned_line("one\ntwo\x1b[2J  three") == "one two three"
    huge = replace(RUN, flow_run_name="n" * 10**6, errors=tuple(
        ErrorGroup(error_type="E" * 10**5, message="m" * 10**5) for _ in range(200)))
    text = text_of(messages(huge)[0])
    assert len(text.title) < 300 and len(text.body) < WHOLE + 100


@given(st.text(st.characters(), max_size=300))
def test_a_clean_text_is_printable_and_can_be_encoded(text: str) -> None:
    found = cleaned(text)
    found.encode("utf-8")
    bad = {one for one in found if unicodedata.category(one) in ("Cc", "Cs", "Co")} - {"\n"}
    assert bad == set()
