"""Code and constants behind annotations: aliases, validators, literals, type variables."""

import sys

import pytest

from dataflow.code_identity import code_identity
from tests.unit.code_identity.user_code import define

CLASSES = """
from __future__ import annotations
import collections.abc, typing
from typing import *
class Q:
    def go(self): return 1
{before}
def load(q{note}):
    {body}
    return q.go()
"""


def identity_of(source, name="load"):
    return code_identity(getattr(define(source), name))


@pytest.mark.parametrize(("before", "note", "body"), [
    ("", "Q", "pass"), ("", "'Q | None'", "pass"), ("", "list[Q]", "pass"),
    ("A = Q", "A", "pass"), ("A = Q | None", "A", "pass"), ("A = Optional[Q]", "A", "pass"),
    ("A = list[Q]", "A", "pass"), ("A = Annotated[Q, 1]", "A", "pass"),
    ("A = Annotated[Q, __import__('threading').Lock()]", "A", "pass"),
    ("A = Callable[[Q], int]", "A", "pass"), ("A = dict[str, list[Q | None]]", "list[A]", "pass"),
    ("A = Q | None\nB = list[A]", "B", "pass"),
    ("T = TypeVar('T', bound=Q)", "T", "pass"), ("T = TypeVar('T', int, Q)", "list[T]", "pass"),
    ("T = TypeVar('T', bound='Q')\nA = list[Q]", "A", "pass"),
    ("N = NewType('N', Q)", "N", "pass"), ("N = NewType('N', Q)", "dict[str, N]", "pass"),
    ("", "", "x: Q = q"), ("", "", "x: Q | None\n    x = q"), ("A = Q | None", "", "x: A = q"),
    ("", "", "if q:\n        x: list[Q] = [q]"), ("", "", "x: 'Q' = q"),
    ("", "", "def inner(x: Q): return x.go()\n    return inner(q)"),
])
def test_class_is_followed_that_an_annotation_names(before, note, body):
    source = CLASSES.format(before=before, note=note and f": {note}", body=body)
    for text in (source, source.replace("from __future__ import annotations\n", "")):
        first = identity_of(text).digest
        assert identity_of(text).digest == first
        assert identity_of(text.replace("return 1", "return 2")).digest != first


@pytest.mark.parametrize(("before", "note", "old", "new"), [
    ("A = Literal['a', 'b']", "A", "'b'", "'c'"), ("A = Literal[1]", "A | None", "[1]", "[2]"),
    ("A = Optional[int]", "A", "[int]", "[str]"), ("A = int | str", "A", "str", "bytes"),
    ("A = Annotated[int, 5]", "A", "5", "6"), ("K = 5", "Annotated[int, K]", "5", "6"),
    ("T = TypeVar('T', int, str)", "T", "str", "bytes"), ("A = Optional['X']", "A", "X", "Y"),
    ("A = NewType('A', int)", "A", "int", "str"),
    ("T = TypeVar('T', bound=int)", "T", "=int", "=str"),
])
def test_alias_of_an_annotation_counts_by_its_content(before, note, old, new):
    source = CLASSES.format(before=before, note=f": {note}", body="pass")
    assert identity_of(source).digest != identity_of(source.replace(old, new)).digest


def test_literal_is_no_name_and_a_local_annotation_alone_is_no_code():
    source = """
        from typing import Annotated, Literal
        load_mode = 1
        def load(mode: Literal["load_mode"], n: Annotated[int, "load_mode"]):
            return mode
    """
    first = identity_of(source).digest
    assert identity_of(source.replace("load_mode = 1", "load_mode = 2")).digest == first
    plain = "def load(x):\n    y = x\n    return y\n"
    noted = plain.replace("y =", "y: Unknown[int, str] =")
    assert identity_of(plain).digest == identity_of(noted).digest


def test_class_that_is_imported_for_type_checkers_is_followed_where_it_is_loaded(
        monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    source = """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from module_of_q import Q as P
        def load(q: "P | None"): return q.go()
    """
    module = define(source)
    without = code_identity(module.load).digest
    digests = []
    for number in (1, 1, 2):
        (tmp_path / "module_of_q.py").write_text(
            f"def inner(): return {number}\nclass Q:\n    def go(self): return inner()\n")
        sys.modules.pop("module_of_q", None)
        assert code_identity(module.load).digest == without
        __import__("module_of_q")
        digests.append(code_identity(module.load).digest)
        assert identity_of(source).digest == digests[-1]
    sys.modules.pop("module_of_q")
    assert digests[0] == digests[1] != digests[2]
    assert without not in digests


MODELS = """
from typing import Annotated, Literal
import dataclasses, pydantic
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
K = 3
def helper(n): return n
def check(n): return helper(n)
{before}
class Order(BaseModel):
    n: {note}
def load(n): return Order(n=n).n
"""


@pytest.mark.parametrize(("before", "note"), [
    ("", "Annotated[int, AfterValidator(check)]"), ("", "Annotated[int, Field(gt=K)]"),
    ("", "Annotated[list[Annotated[int, AfterValidator(check)]], Field(min_length=1)]"),
    ("I = Annotated[int, AfterValidator(check)]", "I"),
    ("I = Annotated[int, AfterValidator(check)]", "list[I] | None"),
    ("I = Annotated[int, Field(gt=K)]", "I"),
    ("I = Annotated[int, BeforeValidator(lambda n: check(n))]", "I"),
    ("L = Literal['a', 3]", "L"), ("", "int = K"), ("", "int = Field(default_factory=check)"),
])
def test_field_of_a_model_counts_with_what_its_annotation_says(before, note):
    source = MODELS.format(before=before, note=note)
    first = identity_of(source).digest
    assert identity_of(source).digest == first
    changed = source.replace("K = 3", "K = 4").replace("'a', 3", "'a', 4").replace(
        "return n\n", "return -n\n")
    assert identity_of(changed).digest != first
    if "check" in before + note:
        assert identity_of(source.replace("return helper(n)", "return helper(2)")).digest != first


@pytest.mark.parametrize(("made", "old", "new"), [
    ("pydantic.create_model('P', a=(int, 2))", "2", "3"),
    ("pydantic.create_model('P', a=(int, 2))", "int", "str"),
    ("pydantic.create_model('P', a=(Annotated[int, AfterValidator(check)], 2))", "n + 1", "n + 2"),
    ("pydantic.create_model('P', a=(int, Field(gt=5)))", "5", "6"),
    ("pydantic.create_model('P', a=(int, Field(default_factory=lambda: check(1))))",
     "n + 1", "n + 2"),
    ("dataclasses.make_dataclass('P', [('a', int, dataclasses.field(default_factory=check))])",
     "n + 1", "n + 2"),
    ("pydantic.create_model('P', a=(Annotated[int, Locked(check)], 2))", "n + 1", "n + 2"),
    ("dataclasses.make_dataclass('P', [('a', int, 2)])", "2", "3"),
    ("dataclasses.make_dataclass('P', [('a', int, 2)], order=True)", "=True", "=False"),
])
def test_model_that_a_call_made_counts_with_its_fields(made, old, new):
    source = f"""
        from typing import Annotated
        import dataclasses, pydantic
        from pydantic import AfterValidator, Field
        import threading
        class Locked:
            def __init__(self, fn): self.fn, self.lock = fn, threading.Lock()
        def check(n=0): return n + 1
        P = {made}
        def load(): return P()
    """
    first = identity_of(source).digest
    assert identity_of(source).digest == first
    assert identity_of(source.replace(old, new)).digest != first
