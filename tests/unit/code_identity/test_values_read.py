"""Constants and other values that code reads: by value, by name, or refused."""

import sys
import threading

import pytest

from dataflow.code_identity import code_identity
from dataflow.exceptions import NotCacheable
from tests.unit.code_identity.user_code import again, define


def identity_of(source, name="load"):
    return code_identity(getattr(define(source), name))


@pytest.mark.parametrize(("made", "other"), [
    ("1", "2"), ("[1, {'a': (2,)}]", "[1, {'a': (3,)}]"), ("{1, 2}", "{1, 3}"),
    ("re.compile('a')", "re.compile('b')"), ("re.compile('a')", "re.compile('a', re.I)"),
    ("typing.Optional[int]", "typing.Optional[str]"), ("list[int]", "list[str]"),
    ("int | None", "str | None"), ("typing.Any", "typing.NoReturn"),
    ("collections.defaultdict(list)", "collections.defaultdict(set)"),
    ("Own(1)", "Own(2)"), ("[Own(1)]", "[Own(2)]"), ("Color.RED", "Color.BLUE"),
    ("Row(1, len)", "Row(1, max)"), ("functools.partial(max, 1)", "functools.partial(max, 2)"),
    ("{len, max}", "{len, min}"), ("operator.itemgetter(1)", "operator.itemgetter(2)"),
    ("datetime.date(2020, 1, 1)", "datetime.date(2020, 1, 2)"),
    ("typing.NewType('Id', int)", "typing.NewType('Id', str)"),
    ("Items([len])", "Items([max])"), ("Slots(1)", "Slots(2)"),
])
def test_constant_counts_by_value(made, other):
    source = """
        import collections, datetime, enum, functools, operator, re, typing
        class Own:
            def __init__(self, x): self.x = x
        class Slots:
            __slots__ = ("x",)
            def __init__(self, x): self.x = x
        class Items(list):
            pass
        class Color(enum.Enum):
            RED = 1
            BLUE = 2
        class Row(typing.NamedTuple):
            a: int
            b: object
        VALUE = {made}
        def load(): return VALUE
    """
    first = identity_of(source.replace("{made}", made)).digest
    assert identity_of(source.replace("{made}", made)).digest == first
    assert identity_of(source.replace("{made}", other)).digest != first


def test_class_of_a_constant_counts_with_its_methods():
    source = """
        class Config:
            def __init__(self, rate): self.rate = rate
            def total(self, x): return self.rate * x
        CONFIG = {"a": [Config(2)]}
        def load(x): return CONFIG["a"][0].total(x)
    """
    first = identity_of(source).digest
    assert identity_of(source.replace("self.rate * x", "self.rate + x")).digest != first


@pytest.mark.parametrize("made", [
    "types.SimpleNamespace(a=Own(1))", "np.array([Own(1), Own(2)], dtype=object)",
    "{Own(1)}", "collections.deque([Own(1)])", "collections.OrderedDict(a=Own(1))",
    "functools.partial(max, Own(1))", "Own(Own(1))",
])
def test_class_of_an_object_counts_wherever_a_constant_holds_it(made):
    source = f"""
        import collections, functools, types
        import numpy as np
        class Own:
            def __init__(self, x): self.x = x
            def go(self): return self.x
        VALUE = {made}
        def load(): return VALUE
    """
    first = code_identity(define(source, "user_code").load).digest
    assert code_identity(define(source, "user_code").load).digest == first
    other = define(source.replace("return self.x", "return -self.x"), "user_code")
    assert code_identity(other.load).digest != first


@pytest.mark.parametrize("made", ["logging.getLogger('a')", "object()",
                                  "logging.LoggerAdapter(logging.getLogger('b'))"])
def test_logger_or_sentinel_counts_for_nothing_but_its_kind(made):
    source = f"import logging\nVALUE = {made}\ndef load(): return VALUE\n"
    assert identity_of(source).digest == identity_of(source.replace("'a'", "'c'")).digest


@pytest.mark.parametrize(("made", "reason"), [
    ("threading.Lock()", r"load → constant `VALUE` is a _thread\.lock"),
    ("{'a': [threading.Lock()]}", r"load → constant `VALUE`\['a'\]\[0\] is a"),
    ("Own(threading.Lock())", r"load → constant `VALUE`.*\.x is a"),
    ("open(__import__('os').devnull)", r"load → constant `VALUE` is a"),
    ("(n for n in ())", r"load → constant `VALUE` is an iterator"),
])
def test_constant_without_a_digest_is_refused_by_its_path(made, reason):
    source = f"""
        import threading
        class Own:
            def __init__(self, x): self.x = x
        VALUE = {made}
        def load(): return VALUE
    """
    with pytest.raises(NotCacheable, match=reason) as caught:
        identity_of(source)
    assert "pass it as an argument" in str(caught.value)
    assert "cache_policy=INPUTS" in str(caught.value)


def test_refusal_names_the_way_to_what_is_at_fault():
    source = """
        import threading
        LOCK = threading.Lock()
        def parse(x):
            with LOCK: return x
        def load(x): return parse(x)
    """
    with pytest.raises(NotCacheable, match="load → helper `parse` → constant `LOCK`"):
        identity_of(source)


def test_closure_and_default_without_a_digest_are_refused():
    lock = threading.Lock()

    def closed():
        return lock

    def defaulted(x=lock):
        return x

    with pytest.raises(NotCacheable, match="closed → closure `closed.lock`"):
        code_identity(closed)
    with pytest.raises(NotCacheable, match=r"defaulted → default `defaulted\(x\)`"):
        code_identity(defaulted)


def test_name_that_the_code_binds_counts_as_the_source_begins_with_it():
    source = """
        count, model = 0, None
        def load(x):
            global count, model
            model = model or bump
            count += 1
            return x
        def bump(): return count
    """
    module = define(source)
    first = code_identity(module.load).digest
    module.load(1)
    assert code_identity(module.load).digest == first
    assert identity_of(source.replace("count, model = 0", "count, model = 9")).digest != first


def test_list_that_a_task_appends_to_makes_it_no_other_task_in_this_process():
    module = define("calls = []\ndef load(x): calls.append(x)\n")
    first = code_identity(module.load)
    module.load(1)
    assert code_identity(module.load) is first


def test_identity_is_made_again_when_a_name_stands_for_another_thing():
    module = define("""
        RATE = 1
        def parse(x): return x
        def load(x): return parse(x) * RATE
    """)
    first = code_identity(module.load)
    assert code_identity(module.load) is first
    module.RATE = 2
    second = code_identity(module.load)
    again(module, "def parse(x): return -x\n")
    third = code_identity(module.load)
    assert len({first.digest, second.digest, third.digest}) == 3
    module.RATE = 1
    again(module, "def parse(x): return x\n")
    assert code_identity(module.load).digest == first.digest


def test_identity_is_made_again_when_a_closure_or_default_is_another():
    def scope():
        rate = 1

        def load(x, k=1):
            return x * rate * k

        def rated(new):
            nonlocal rate
            rate = new

        return load, rated

    load, rated = scope()
    digests = [code_identity(load).digest]
    rated(2)
    digests.append(code_identity(load).digest)
    load.__defaults__ = (2,)
    digests.append(code_identity(load).digest)
    assert len(set(digests)) == 3


def test_identity_keeps_nothing_alive():
    import gc
    import weakref

    def scope():
        def load(n):
            return load(n - 1) if n else len
        return load

    load = scope()
    code_identity(load)
    gone = weakref.ref(load)
    del load
    gc.collect()
    assert gone() is None


def test_name_that_is_not_there_yet_counts_when_it_is():
    module = define("def load(x): return later(x)\n")
    first = code_identity(module.load).digest
    again(module, "def later(x): return x\n")
    assert code_identity(module.load).digest != first


def test_library_counts_by_its_version(monkeypatch):
    from dataflow.code_identity import graph

    source = "import numpy as np\ndef load(x): return np.mean(x)\n"
    first = identity_of(source)
    assert [(part.kind, part.name) for part in first.parts[1:]] == [("library", "numpy")]
    monkeypatch.setattr(graph, "distribution_of", lambda top: (top, "99"))
    assert identity_of(source).digest != first.digest


def test_library_that_is_imported_in_a_body_or_annotated_counts():
    for source in ("def load(x):\n    import numpy\n    return numpy.mean(x)\n",
                   "import numpy as np\ndef load(x: np.ndarray): return x.mean()\n"):
        assert ("library", "numpy") in {(part.kind, part.name)
                                        for part in identity_of(source).parts}


def test_decorator_argument_without_a_digest_counts_as_it_is_written():
    source = """
        import contextlib, threading
        LOCK = OTHER = threading.Lock()
        def of(lock): return contextlib.contextmanager
        @of(LOCK)
        def load(x): yield x
    """
    first = identity_of(source).digest
    assert identity_of(source).digest == first
    assert identity_of(source.replace("of(LOCK)", "of(OTHER)")).digest != first


def test_options_of_a_task_do_not_count_wherever_it_is_defined():
    source = """
        import contextlib
        from dataflow import task
        RETRIES = 2
        class Loader:
            @task(retries=RETRIES)
            def load(self, x): return x
        @task(retries=RETRIES)
        @contextlib.contextmanager
        def managed(x): yield x
        def load(x):
            @task(retries=RETRIES)
            def inner(y): return y
            return Loader().load(x), managed(x)
    """
    first = identity_of(source)
    names = {part.name for part in first.parts}
    assert identity_of(source.replace("RETRIES = 2", "RETRIES = 3")).digest != first.digest
    assert "RETRIES" in names  # the inner task reads it each time that load runs
    outer = source.replace("@task(retries=RETRIES)\n            def", "@task\n            def")
    assert outer != source
    assert identity_of(outer).digest == identity_of(
        outer.replace("RETRIES = 2", "RETRIES = 3")).digest


def test_class_of_an_annotation_that_reaches_something_without_a_digest_is_no_refusal():
    source = """
        import threading
        LOCK = threading.Lock()
        class Store:
            def get(self):
                with LOCK: return 1
        def load(store: Store): return store.get()
        def make(): return Store()
    """
    first = identity_of(source)
    texts = {part.name: part.text for part in first.parts}
    assert texts["LOCK"].startswith("(left out")
    assert identity_of(source.replace("return 1", "return 2")).digest != first.digest
    with pytest.raises(NotCacheable, match="make → class `Store` → constant `LOCK`"):
        identity_of(source, "make")


def test_constant_that_holds_itself_has_an_identity():
    source = """
        VALUE = [len]
        VALUE.append(VALUE)
        def load(): return VALUE
    """
    assert identity_of(source).digest == identity_of(source).digest


def test_more_than_two_thousand_parts_are_refused():
    lines = [f"def f{n}(x): return f{n + 1}(x)" for n in range(2100)]
    with pytest.raises(NotCacheable, match="reaches more than 2,000"):
        identity_of("\n".join(lines), "f0")


def test_chain_of_a_thousand_helpers_is_followed():
    lines = [f"def f{n}(x): return f{n + 1}(x)" for n in range(1000)]
    first = identity_of("\n".join([*lines, "def f1000(x): return x"]), "f0")
    other = identity_of("\n".join([*lines, "def f1000(x): return -x"]), "f0")
    assert len(first.parts) == 1001
    assert first.digest != other.digest


def test_value_of_an_argument_of_pydantic_counts_its_class():
    source = """
        import pydantic
        class Config(pydantic.BaseModel):
            rate: int = 2
            @pydantic.field_validator("rate")
            @classmethod
            def positive(cls, value): return abs(value)
            def total(self, x): return self.rate * x
        CONFIG = Config()
        def load(x, config: Config): return config.total(x) + CONFIG.rate
    """
    first = identity_of(source)
    assert ("class", "Config") in {(part.kind, part.name) for part in first.parts}
    for old, new in [("rate: int = 2", "rate: int = 3"), ("abs(value)", "value"),
                     ("self.rate * x", "self.rate + x")]:
        assert identity_of(source.replace(old, new)).digest != first.digest, (old, new)
    assert sys.modules["pydantic"]


@pytest.mark.parametrize("made", [
    "{lambda x: x + 1, lambda x: x + 2, lambda x: x + 3, lambda x: x + 4}",
    "{partial(max, n) for n in range(5)}", "{Own(n).go for n in range(5)}",
    "{closed(n) for n in range(5)}", "{Own(n) for n in range(5)}",
    "frozenset(frozenset({closed(n), len}) for n in range(5))",
    "{lambda: VALUE, lambda: [VALUE]}",
])
def test_set_of_code_has_one_digest_in_whatever_order_its_members_come(made):
    source = f"""
        from functools import partial
        class Own:
            def __init__(self, x): self.x = x
            def go(self): return self.x
        def closed(n): return lambda: n
        VALUE = {made}
        def load(): return VALUE
    """
    kept, digests = [], set()  # other addresses, so other orders
    for _ in range(12):
        kept.append(module := define(source))
        digests.add(code_identity(module.load).digest)
        kept += [object() for _ in range(7)]
    assert len(digests) == 1
    changed = source.replace("x + 4", "x + 5").replace("range(5)", "(0, 1, 2, 3, 5)")
    assert (identity_of(changed).digest in digests) == (changed == source)
