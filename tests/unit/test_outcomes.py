"""Codes, legal moves, and the picture that is made from them."""

from pathlib import Path

from dataflow.outcomes import FIRST_FINAL, MOVES, STATE_OF, Code, diagram

ROOT = Path(__file__).parents[2]


def test_moves_from_a_final_code_lead_nowhere_but_to_rolled_back() -> None:
    assert {code for code, to in MOVES.items() if to <= {Code.ROLLED_BACK}} == {
        code for code in Code if code >= FIRST_FINAL
    }
    assert [code for code, to in MOVES.items() if Code.ROLLED_BACK in to] == [Code.COMPLETED]


def test_moves_know_every_code_that_an_element_can_have() -> None:
    assert set(MOVES) == set(Code) - {Code.LEFT}


def test_state_names_are_one_per_code() -> None:
    names = [name for code, (_, name) in STATE_OF.items() if code != Code.LEFT]
    assert len(names) == len(set(names))


def test_architecture_shows_the_diagram_made_from_the_table() -> None:
    assert diagram() in (ROOT / "ARCHITECTURE.md").read_text()
