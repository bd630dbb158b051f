"""Records made small and read back: spans, tracebacks, texts."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.outcomes import FIRST_FINAL, SHARED_CPU, Code, ErrorRecord, Span
from dataflow.stores.packing import (
    clean,
    codes_of,
    digest,
    pack_span,
    restore_traceback,
    shorten_traceback,
)


def span(indexes: list[int] | range, codes: list[int]) -> Span:
    times = array("f", [position / 4 for position in range(len(codes))])
    return Span(0, indexes, bytearray(codes), times, times)


@given(
    st.lists(st.integers(0, 2**36 - 1), unique=True, max_size=20),
    st.lists(st.sampled_from(list(Code)), min_size=20, max_size=20),
    st.booleans(), st.sets(st.integers(0, 19)), st.sets(st.integers(0, 9)),
)
def test_any_span_gives_back_its_elements_that_have_an_outcome(
    indexes: list[int], codes: list[Code], neighbours: bool, keyed: set[int],
    measured: set[int],
) -> None:
    if neighbours:
        indexes = list(range(7, 7 + len(indexes)))
    written = span(indexes, [int(code) for code in codes[: len(indexes)]])
    each_key = [bytes([at + 1]) * 16 if at in keyed else None for at in range(len(indexes))]
    if keyed:
        written.keys = b"".join(key or bytes(16) for key in each_key)
    written.cpu_s = 6.0
    written.own_cpu = array("f", [0.5 if at in measured else SHARED_CPU
                                  for at in range(len(indexes))])
    packed = pack_span(written, started_s=100.0)
    expected = sorted(
        (index, code, 100.0 + start, 100.0 + start + took, key)
        for index, code, start, took, key in zip(
            indexes, written.codes, written.started, written.elapsed, each_key, strict=True
        )
        if code >= FIRST_FINAL
    )
    read = [] if packed is None else list(packed.elements())
    assert [(e.index, e.code, e.started_s, e.ended_s, e.key) for e in read] == expected
    shares = {index: written.cpu_column()(at) for at, index in enumerate(indexes)}
    assert [(e.index, pytest.approx(e.cpu_s), e.cpu_estimated) for e in read] == [
        (index, *shares[index]) for index, *_ in expected]
    if packed is not None:
        assert packed.cpu_s is not None
        assert packed.cpu_s == pytest.approx(sum(e.cpu_s or 0.0 for e in read), abs=1e-4) or not (
            written.shared_elapsed_s())
        assert (packed.first, packed.last, packed.count) == (
            expected[0][0], expected[-1][0], len(expected)
        )
        for element in read:
            assert packed.element(element.index) == element
        only = packed.codes()[0]
        assert list(packed.elements({only})) == [e for e in read if e.code == only]


def test_an_element_of_a_map_that_completed_takes_8_bytes() -> None:
    packed = pack_span(span(range(1_000), [8] * 1_000), 0.0)
    assert packed is not None and (len(packed.packed), packed.keys) == (8_000, None)
    mixed = pack_span(span(range(1_000), [8] * 999 + [10]), 0.0)
    assert mixed is not None and len(mixed.packed) == 9_000
    scattered = pack_span(span(list(range(0, 2_000, 2)), [8] * 1_000), 0.0)
    assert scattered is not None and len(scattered.packed) == 12_000


def test_a_span_without_an_outcome_is_nothing() -> None:
    assert pack_span(span(range(3), [Code.LEFT, Code.AWAITING_RETRY, Code.RUNNING]), 0.0) is None
    assert pack_span(span(range(2), [Code.LEFT, Code.LEFT]), 0.0) is None
    assert pack_span(span(range(0), []), 0.0) is None


def test_an_element_outside_of_a_span_is_none() -> None:
    packed = pack_span(span([3, 5, 9], [8, 8, 8]), 0.0)
    assert packed is not None
    assert [packed.element(index) for index in (2, 4, 10)] == [None] * 3


@given(st.text(), st.text(), st.text())
def test_a_traceback_comes_back_whole(head: str, message: str, tail: str) -> None:
    text = f"{head}ValueError: {message}{tail}"
    stored = shorten_traceback(ErrorRecord("ValueError", message, text))
    marked = "\x1a" in text or "\x1a" in message
    assert marked or restore_traceback(stored, message) == text


def test_tracebacks_that_differ_in_their_message_only_are_one_text() -> None:
    texts = {
        shorten_traceback(ErrorRecord("E", f"flight {n}", f"Traceback\nE: flight {n}\n"))
        for n in range(9)
    }
    assert len(texts) == 1


def test_a_traceback_with_the_mark_in_it_is_kept_as_it_is() -> None:
    error = ErrorRecord("E", "m", "Traceback \x1a\nE: m\n")
    assert shorten_traceback(error) == error.traceback


def test_a_text_that_is_no_utf_8_is_escaped_and_others_stay() -> None:
    assert clean("a\ud800é") == "a\\ud800é"
    assert clean("plain") == "plain"


def test_a_digest_is_the_same_in_every_process_and_fits_64_signed_bits() -> None:
    assert digest("tcp://127.0.0.1:40001") == digest("tcp://127.0.0.1:40001")
    assert all(-(2**63) <= digest(str(n)) < 2**63 for n in range(100))


@pytest.mark.parametrize(
    ("state", "codes"),
    [("COMPLETED", {8, 9, 15}), ("timed_out", {11}), ("Timed Out", {11}), ("AwaitingRetry", {2}),
     ("crashed", {12}), ("what", set())],
)
def test_a_state_means_its_codes_by_type_or_name(state: str, codes: set[int]) -> None:
    assert codes_of(state) == codes
