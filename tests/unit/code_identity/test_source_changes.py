"""What changes the identity of a function's code, and what does not."""

import pytest

from dataflow.code_identity import code_identity
from tests.unit.code_identity.user_code import define

PLAIN = """
    from dataflow import task

    RATE = 2

    def parse(text):
        return clean(text)

    def clean(text):
        return text.strip() * RATE

    class Box:
        limit = 3

        def __init__(self, size):
            self.size = size

        def grow(self, by=1):
            return self.size + min(by, self.limit)

    def made(rate):
        def closed(x, *, more=5):
            return x * rate + more
        return closed

    closed = made(7)

    def load(path, box: Box, times=1):
        def nested(y):
            return parse(y)
        return [nested(path) for _ in range(times)], box.grow(), closed(1)
"""


def identity_of(source, name="load"):
    return code_identity(getattr(define(source), name))


def changed(old, new, source=PLAIN):
    found = source.replace(old, new)
    assert found != source
    return found


@pytest.mark.parametrize(("old", "new"), [
    ("return clean(text)", "# a comment\n        return clean(text)  # another"),
    ("return text.strip() * RATE", "return (text.strip()\n                * RATE)"),
    ("def parse(text):", 'def parse(text):\n        """Parse it."""'),
    ("class Box:", 'class Box:\n        """A box."""\n'),
    ("def load(", "\n\n\n    def load("),
    ("def load(", "@task(retries=3)\n    def load("),
    ("def parse(text):", "@task\n    def parse(text):"),
    ("RATE = 2", "RATE = 1 + 1"),
    ("closed = made(7)", "closed = made(rate=7)\n    UNUSED = 1"),
    ("return clean(text)", "found: str = clean(text)\n        return found"),
], ids=["comment", "format", "docstring", "class docstring", "lines", "task", "helper is a task",
        "the same constant", "what is not read", "-"])
def test_identity_of_code_that_runs_alike_stays(old, new):
    expected = identity_of(PLAIN)
    if "found" in new:  # an annotation of a local variable is no code, the variable is
        expected = identity_of(changed(old, new.replace(": str", "")))
    assert identity_of(changed(old, new)).digest == expected.digest


@pytest.mark.parametrize(("old", "new"), [
    ("[nested(path)", "[nested(path + '')"),
    ("return parse(y)", "return parse(y) + 0"),
    ("text.strip()", "text.rstrip()"),
    ("RATE = 2", "RATE = 2.0"),
    ("RATE = 2", "RATE = True"),
    ("made(7)", "made(8)"),
    ("more=5", "more=6"),
    ("times=1", "times=2"),
    ("limit = 3", "limit = 4"),
    ("self.size + min", "self.size - min"),
    ("by=1", "by=2"),
    ("path, box: Box", "path, box: 'Box | None'"),
], ids=["body", "nested function", "helper two calls deep", "type of a constant", "True for 1",
        "closure", "keyword default", "default", "class attribute", "method", "method's default",
        "annotation of a parameter"])
def test_identity_of_code_that_runs_otherwise_is_another(old, new):
    assert identity_of(changed(old, new)).digest != identity_of(PLAIN).digest


def test_identity_lists_what_went_in_the_function_first():
    parts = [(part.kind, part.name) for part in identity_of(PLAIN).parts]
    assert parts[0] == ("function", "load")
    assert sorted(parts[1:]) == [
        ("class", "Box"), ("closure", "closed.rate"), ("constant", "RATE"),
        ("default", "Box.grow(by)"), ("default", "closed(more)"), ("default", "load(times)"),
        ("helper", "clean"), ("helper", "closed"), ("helper", "parse"),
    ]


def test_text_of_a_part_is_normalised_source():
    identity = identity_of(changed("return clean(text)", "return (  clean(text) ) # so"))
    text = next(part.text for part in identity.parts if part.name == "parse")
    assert text == "def parse(text):\n    return clean(text)"


def test_functions_that_call_each_other_have_an_identity():
    source = """
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
    """
    first = identity_of(source, "even")
    assert [part.name for part in first.parts] == ["even", "odd"]
    assert identity_of(source.replace("n != 0", "n > 0"), "even").digest != first.digest


def test_decorator_with_its_wrapper_and_its_arguments_counts():
    source = """
        import functools

        def repeated(times):
            def wrap(fn):
                @functools.wraps(fn)
                def inner(*args):
                    return [fn(*args) for _ in range(times)]
                return inner
            return wrap

        @repeated(3)
        def load(x):
            return x
    """
    first = identity_of(source).digest
    assert identity_of(source.replace("repeated(3)", "repeated(4)")).digest != first
    assert identity_of(source.replace("return x\n", "return -x\n")).digest != first
    assert identity_of(source.replace("fn(*args) for", "fn(*args) or 1 for")).digest != first


def test_dispatch_table_is_followed():
    source = """
        def a(x): return x + 1
        def b(x): return x + 2
        TABLE = {"a": a, "more": [b, (len, lambda x: x * 3)]}
        def load(key, x): return TABLE[key](x)
    """
    first = identity_of(source).digest
    assert identity_of(source).digest == first
    for old, new in [("x + 1", "x + 4"), ("x + 2", "x + 4"), ("x * 3", "x * 4"),
                     ("len", "max"), ('"more"', '"less"')]:
        assert identity_of(source.replace(old, new)).digest != first, (old, new)


def test_two_closures_of_one_factory_are_told_apart():
    source = """
        def made(n):
            return lambda x: x + n
        one, two = made(1), made(2)
        def load(x): return one(x) - two(x)
    """
    first = identity_of(source)
    swapped = identity_of(source.replace("one, two = made(1), made(2)",
                                         "one, two = made(2), made(1)"))
    assert first.digest != swapped.digest
    assert [part.name for part in first.parts] == [
        "load", "made.<locals>.<lambda>".rpartition("<locals>.")[2], "<lambda> (2)",
        "<lambda>.n", "<lambda>.n (2)"]


def test_the_right_one_of_several_lambdas_on_a_line_is_found():
    source = "PAIR = [lambda x: x + 1, lambda x, k=2: x * k]; ONE = (lambda: (lambda: 5))()\n"
    first, second = define(source).PAIR
    assert code_identity(first).parts[0].text == "lambda x: x + 1"
    assert code_identity(second).parts[0].text == "lambda x, k=2: x * k"
    assert code_identity(define(source).ONE).parts[0].text == "lambda: 5"
    longer = "PAIR = [lambda x: x + 1,   # one\n        lambda x, k=2: (x * k)]\n"
    assert [code_identity(fn).digest for fn in define(longer).PAIR] == [
        code_identity(fn).digest for fn in (first, second)]


def test_subclass_is_followed_to_its_bases_and_their_helpers():
    source = """
        def low(): return 1
        class Base:
            def go(self): return low()
        class Derived(Base):
            def more(self): return super().go()
        def load(): return Derived().more()
    """
    first = identity_of(source).digest
    assert identity_of(source.replace("return 1", "return 2")).digest != first


def test_helper_that_is_another_task_counts_by_its_code_not_its_options():
    source = """
        from dataflow import task
        @task
        def parse(x): return x + 1
        @task(retries=2)
        def load(x): return parse.submit(x)
    """
    first = identity_of(source).digest
    assert identity_of(source.replace("@task\n", "@task(name='p', retries=9)\n")).digest == first
    assert identity_of(source.replace("x + 1", "x + 2")).digest != first


def test_names_that_are_attributes_only_are_not_followed():
    source = """
        import threading
        lock = threading.Lock()
        def load(x): return x.lock
    """
    assert [part.name for part in identity_of(source).parts] == ["load"]


def test_class_that_dataclass_made_counts_with_its_options():
    source = """
        from dataclasses import dataclass, field
        @dataclass(frozen=True, order=True)
        class Row:
            a: int
            b: list = field(default_factory=list)
            def total(self): return self.a
        def load(rows: "list[Row]"): return rows[0].total()
    """
    first = identity_of(source).digest
    assert identity_of(source).digest == first
    for old, new in [("order=True", "order=False"), ("a: int", "a: float"), ("=list)", "=tuple)"),
                     ("return self.a", "return -self.a")]:
        assert identity_of(source.replace(old, new)).digest != first, (old, new)
