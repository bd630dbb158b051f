"""Each kind of callable has the right identity, or is refused."""

import contextlib
import functools
import operator

import numpy as np
import pytest

from dataflow import task
from dataflow.code_identity import code_identity
from dataflow.exceptions import NotCacheable
from tests.unit.code_identity.user_code import define

SOURCE = """
    import contextlib, functools, operator
    RATE = 2

    def plain(x, k=1): return x + RATE + k
    async def coroutine(x): return x + RATE
    def generator(x): yield x + RATE
    async def async_generator(x): yield x + RATE
    short = lambda x: x + RATE

    class Loader:
        def __init__(self, size): self.size = size
        def method(self, x): return x + RATE + self.size
        @classmethod
        def of(cls, x): return cls(x + RATE)
        @staticmethod
        def alone(x): return x + RATE
        @property
        def shown(self): return self.size + RATE
        def __call__(self, x): return x + RATE
        again = functools.partialmethod(method, 1)
        @functools.cached_property
        def late(self): return RATE

    bound = Loader(3).method
    of_class = Loader.of
    unbound = Loader.method
    alone = Loader.alone
    instance = Loader(3)
    again = Loader(3).again
    part = functools.partial(plain, k=5)
    nested = functools.partial(functools.partial(Loader(1).method), 2)
    cached = functools.lru_cache(maxsize=3)(plain)
    @functools.singledispatch
    def single(x): return x
    @single.register
    def _(x: int): return x + RATE
    @contextlib.contextmanager
    def managed(x): yield x + RATE
"""
KINDS = ["plain", "coroutine", "generator", "async_generator", "short", "Loader", "bound",
         "of_class", "unbound", "alone", "instance", "again", "part", "nested", "cached", "single",
         "managed"]


@pytest.mark.parametrize("kind", KINDS)
def test_identity_of_each_kind_follows_what_it_calls(kind):
    def digest_of(source):
        return code_identity(getattr(define(source), kind)).digest

    first = digest_of(SOURCE)
    assert digest_of(SOURCE.replace("RATE = 2", "RATE = 2  # a comment")) == first
    assert digest_of(SOURCE.replace("RATE = 2", "RATE = 3")) != first
    assert digest_of(SOURCE.replace("+ RATE", "- RATE")) != first


def test_identities_of_the_kinds_all_differ():
    module = define(SOURCE)
    assert len({code_identity(getattr(module, kind)).digest for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize(("old", "new", "kind"), [
    ("bound = Loader(3)", "bound = Loader(4)", "bound"),
    ("instance = Loader(3)", "instance = Loader(4)", "instance"),
    ("k=5", "k=6", "part"), ("Loader(1).method), 2", "Loader(1).method), 3", "nested"),
    ("(method, 1)", "(method, 2)", "again"),
])
def test_identity_depends_on_the_state_that_a_callable_carries(old, new, kind):
    digests = {code_identity(getattr(define(source), kind)).digest
               for source in (SOURCE, SOURCE.replace(old, new))}
    assert len(digests) == 2


def test_task_stands_for_its_function():
    def load(x):
        return x

    assert code_identity(task(load, retries=3)) == code_identity(load)


def test_bound_task_counts_its_class_and_instance():
    source = """
        from dataflow import task
        class Loader:
            def __init__(self, size): self.size = size
            @task(retries=1)
            def load(self, x): return self.other(x)
            def other(self, x): return x
        three, four = Loader(3).load, Loader(4).load
        free = Loader.load
    """
    module, other = define(source), define(source.replace("return x\n", "return -x\n"))
    same = define(source.replace("retries=1", "retries=2"))
    assert code_identity(module.three).digest != code_identity(module.four).digest
    for name in ("three", "free"):
        first = code_identity(getattr(module, name)).digest
        assert code_identity(getattr(same, name)).digest == first
        assert code_identity(getattr(other, name)).digest != first


def test_task_of_a_callable_object_is_followed_where_it_is_read():
    source = """
        import functools
        from dataflow import task
        class Adder:
            def __init__(self, n): self.n = n
            def __call__(self, x): return x + self.n
        add = task(Adder(1))
        kept = functools.lru_cache(Adder(2))
        def load(x): return add(x), [kept], {"a": add}
    """
    first = code_identity(define(source, "user_code").load).digest
    assert code_identity(define(source, "user_code").load).digest == first
    for old, new in [("Adder(1)", "Adder(3)"), ("Adder(2)", "Adder(3)"), ("x + self", "x - self")]:
        other = define(source.replace(old, new), "user_code").load
        assert code_identity(other).digest != first


@pytest.mark.parametrize(("fn", "library"), [
    (np.sin, "numpy"), (np.mean, "numpy"), (np.ndarray.sum, "numpy"),
    (np.random.default_rng, "numpy"), (pytest.raises, "pytest"),
])
def test_function_of_a_library_counts_by_name_and_version(fn, library):
    parts = code_identity(fn).parts
    assert [part.name for part in parts[1:]] == [library]
    assert parts[1].kind == "library"


@pytest.mark.parametrize("fn", [len, dict, str.upper, "".join, operator.itemgetter(1),
                                operator.add, dict.fromkeys, contextlib.suppress,
                                functools.reduce])
def test_function_of_python_counts_by_name(fn):
    assert len(code_identity(fn).parts) == 1


def test_functions_of_python_are_told_apart():
    fns = [len, dict, list, str.upper, str.lower, bytes.lower, "a".join, "b".join,
           operator.itemgetter(1), operator.itemgetter(2), operator.attrgetter("a"),
           dict.fromkeys, operator.add, functools.partial(operator.add, 1)]
    assert len({code_identity(fn).digest for fn in fns}) == len(fns)


def test_function_without_source_counts_by_its_code_object():
    def made(source):
        space = {}
        exec(source, space)
        return code_identity(space["f"])

    first = made("def f(x):\n    'doc'\n    return [x + 1 for _ in ()]")
    assert "no source" in first.parts[0].text
    assert made("\n\ndef f(x):\n    'other'\n    # hm\n    return [ x+1 for _ in () ]"
                ).digest == first.digest
    assert made("def f(x):\n    'doc'\n    return [x + 2 for _ in ()]").digest != first.digest


def test_source_that_does_not_give_the_code_is_not_believed():
    module = define("def f(x): return x + 1\n")
    import linecache
    filename = module.f.__code__.co_filename
    text = "def f(x): return x + 2\n"  # the file was edited while the program runs
    linecache.cache[filename] = (len(text), None, [text], filename)
    identity = code_identity(module.f)
    assert "no source" in identity.parts[0].text
    assert identity.digest != code_identity(define(text).f).digest


def test_method_of_a_class_that_cannot_be_found_is_refused():
    def scope():
        class Local:
            def method(self):
                return 1
        return Local

    local = scope()
    with pytest.raises(NotCacheable, match="class `Local` that cannot be found"):
        code_identity(local.method)
    assert code_identity(local().method).parts[1].name.endswith("Local.method")


def test_something_not_callable_is_refused():
    with pytest.raises(NotCacheable, match="3 is no function"):
        code_identity(3)


def test_wrapper_of_a_library_counts_by_its_version_and_its_line():
    source = """
        import pytest, numpy
        LIMIT = 2
        @numpy.errstate(over="raise")
        def load(x): return x
        vector = numpy.vectorize(load)
    """
    first = code_identity(define(source).load)
    assert ("library", "numpy") in {(part.kind, part.name) for part in first.parts}
    for old, new in [("return x\n", "return -x\n"), ("raise", "warn")]:
        other = code_identity(define(source.replace(old, new)).load)
        assert other.digest != first.digest
