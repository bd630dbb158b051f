"""Orders as one word."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.service.orders import WORD_LIMIT, Order, facts_of


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_an_order_in_a_word_is_the_order_and_no_shell_reads_more_in_it(
        parameters: dict[str, object]) -> None:
    order = Order(flow_run_id="r", entrypoint="f.py:f", parameters=parameters, attempt=2)
    word = order.text()
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", word)
    assert Order(**facts_of(word)) == order


def test_an_order_that_is_too_long_says_only_which_run_is_meant() -> None:
    order = Order(flow_run_id="r", entrypoint="f.py:f", parameters={"x": "x" * WORD_LIMIT},
                  attempt=3)
    assert facts_of(order.text()) == {"flow_run_id": "r", "attempt": 3}


@pytest.mark.parametrize("word", ["", "!", "W10=", "e30="])
def test_what_is_no_order_is_refused(word: str) -> None:
    with pytest.raises(ValueError):
        facts_of(word)


@pytest.mark.parametrize("word", ["garbage", "é", "AAAA", "x" * 99])
def test_what_is_no_order_is_named(word: str) -> None:
    with pytest.raises(ValueError, match=f"'{word[:50]}.*{{order}} stands for"):
        facts_of(word)
