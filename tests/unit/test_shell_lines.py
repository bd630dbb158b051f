"""Bytes into lines: ends of three kinds, cut anywhere, bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataflow.shell.lines import LINE_LIMIT, LineSplitter, Tail


def split(*chunks: bytes) -> list[str]:
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + splitter.feed(b"", last=True)


def test_lines_end_with_newline_return_and_both() -> None:
    assert split(b"a\nb\r\nc\rd\n\ne") == ["a", "b", "c", "d", "", "e"]


def test_return_ends_a_line_at_once_and_a_newline_behind_it_is_no_line() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"50%\r") == ["50%"]
    assert splitter.feed(b"") == []
    assert splitter.feed(b"\n100%\r") == ["100%"]
    assert splitter.feed(b"", last=True) == []


def test_only_line_ends_split_not_what_str_splitlines_knows() -> None:
    assert split("a\x0bb\u2028c\x1dd".encode()) == ["a\x0bb\u2028c\x1dd"]


def test_what_is_not_utf8_is_replaced_and_a_character_cut_in_two_is_not() -> None:
    assert split(b"caf\xc3", b"\xa9\xff\n", b"\xe2\x82") == ["café\ufffd", "\ufffd"]


def test_line_without_end_is_given_out_in_pieces() -> None:
    splitter = LineSplitter()
    pieces = [line for _ in range(10) for line in splitter.feed(b"x" * LINE_LIMIT)]
    assert len(pieces) == 9 and {len(p) for p in pieces} == {LINE_LIMIT}
    assert splitter.feed(b"y\n") == ["x" * LINE_LIMIT, "y"]


@given(st.lists(st.text(alphabet="aé\r\n", max_size=6), max_size=6), st.integers(1, 3))
def test_lines_do_not_depend_on_where_the_stream_was_cut(parts: list[str], size: int) -> None:
    data = "".join(parts).encode()
    pieces = [data[at:at + size] for at in range(0, len(data), size)]
    text = data.decode().replace("\r\n", "\n").replace("\r", "\n")
    expected = text.split("\n")
    if expected[-1] == "":
        expected.pop()
    assert split(*pieces) == split(data) == expected


def test_tail_keeps_the_last_and_counts_all() -> None:
    tail = Tail(2)
    for line in "abc":
        tail.add(line)
    assert (tail.last(), tail.last(1), tail.last(9), tail.count) == (
        ["b", "c"], ["c"], ["b", "c"], 3)
