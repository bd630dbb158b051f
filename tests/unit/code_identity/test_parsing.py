"""Syntax trees while other threads make syntax trees."""

import ast
import gc
import sys
import threading
from collections.abc import Iterator

import pytest

from dataflow.code_identity.parsing import parsed, parsed_expression

TEXT = "\n".join(f"def f{n}(x): return [(x + {n}) * (x - {n})]" for n in range(300))


@pytest.fixture
def parsing_elsewhere() -> Iterator[None]:
    """Keep another thread making trees at another depth of its stack.

    Python code that runs when garbage is collected, as Dask's does, lets threads
    take turns in the midst of a tree.
    """
    over = threading.Event()
    switch, thresholds = sys.getswitchinterval(), gc.get_threshold()

    def collected(*_: object) -> None:
        sum(range(20))

    def deep(depth: int) -> None:
        if depth:
            return deep(depth - 1)
        while not over.is_set():
            try:
                ast.parse(TEXT)
            except SystemError:  # what the main thread is to be spared
                continue

    thread = threading.Thread(target=deep, args=(50,))
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    gc.callbacks.append(collected)
    thread.start()
    yield
    over.set()
    thread.join()
    gc.callbacks.remove(collected)
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(switch)


@pytest.mark.usefixtures("parsing_elsewhere")
def test_trees_are_made_while_another_thread_makes_some():
    expected = ast.dump(parsed(TEXT))
    for _ in range(30):
        assert ast.dump(parsed(TEXT)) == expected


def test_what_is_no_python_is_refused_at_once():
    with pytest.raises(SyntaxError):
        parsed("def")
    assert isinstance(parsed_expression("a + b"), ast.Expression)


def test_system_errors_that_stay_are_raised(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise SystemError("for good")

    monkeypatch.setattr(ast, "parse", refuse)
    with pytest.raises(SystemError, match="for good"):
        parsed("x")
