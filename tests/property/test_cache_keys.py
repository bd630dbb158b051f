"""Keys over generated calls: two calls have one key exactly where they pass the same arguments."""

import inspect
import os
import subprocess
import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.cache_keys import RunFacts, TaskFacts, recipe_of
from dataflow.cache_policies import INPUTS
from dataflow.key_maker import KeyMaker


def few(a, b=0, *, c=1):
    """Parameters of all kinds that have a name."""


def many(a, /, b, c=(), *rest, d=None, **more):
    """Parameters of all kinds."""


SIGNATURES = {fn: inspect.signature(fn) for fn in (few, many)}
MAKERS = {
    fn: KeyMaker(recipe_of(INPUTS, TaskFacts(fn.__name__, fn.__name__, bytes, signature),
                           RunFacts("run", {})))
    for fn, signature in SIGNATURES.items()
}
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", b"a", 1.0]),
    lambda inner: st.lists(inner, max_size=2) | st.tuples(inner) | st.dictionaries(
        st.sampled_from("ab"), inner, max_size=2),
    max_leaves=3)


def bound(fn, args, kwargs):
    found = SIGNATURES[fn].bind(*args, **kwargs)
    found.apply_defaults()
    return found.arguments


def told_apart(value):
    """Return what is equal exactly where values are the same: 1, 1.0 and True are not."""
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [told_apart(item) for item in value]
    if isinstance(value, dict):
        return {key: told_apart(item) for key, item in value.items()}
    return type(value).__name__, value


@st.composite
def calls(draw, fn):
    """Draw arguments of a function, each given in one of the ways in which it can be."""
    signature = SIGNATURES[fn]
    args, kwargs, by_position = [], {}, True
    for name, parameter in signature.parameters.items():
        match parameter.kind:
            case parameter.VAR_POSITIONAL:
                args += draw(st.lists(values, max_size=2)) if by_position else []
            case parameter.VAR_KEYWORD:
                kwargs |= draw(st.dictionaries(st.sampled_from("axy"), values, max_size=2))
            case _:
                only = parameter.kind is parameter.POSITIONAL_ONLY
                if not only and parameter.default is not parameter.empty and draw(st.booleans()):
                    by_position = False
                    continue
                by_position = by_position and parameter.kind is not parameter.KEYWORD_ONLY and (
                    only or draw(st.booleans()))
                value = draw(values)
                if by_position:
                    args.append(value)
                else:
                    kwargs[name] = value
    return tuple(args), kwargs


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from([few, many]))
def test_calls_have_one_key_where_they_pass_the_same(data, fn):
    one, two = data.draw(calls(fn)), data.draw(calls(fn))
    same = told_apart(bound(fn, *one)) == told_apart(bound(fn, *two))
    maker = MAKERS[fn]
    assert (maker.key(*one) == maker.key(*two)) is same


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from([few, many]))
def test_a_call_has_one_key_however_its_arguments_are_given(data, fn):
    args, kwargs = data.draw(calls(fn))
    found = SIGNATURES[fn].bind(*args, **kwargs)
    found.apply_defaults()
    names = [name for name in SIGNATURES[fn].parameters if name in ("a", "b", "c", "d")]
    maker = KeyMaker(MAKERS[fn].recipe)
    for name in names:
        if data.draw(st.booleans()):
            maker.constant(name, found.arguments[name])
    expected = MAKERS[fn].key(args, kwargs)
    assert maker.key(args, kwargs) == expected
    assert maker.key(found.args, found.kwargs) == expected


def test_a_key_is_the_same_in_every_interpreter():
    code = (
        "import inspect\n"
        "from dataflow.cache_keys import *\n"
        "from dataflow.cache_policies import *\n"
        "from dataflow.key_maker import KeyMaker\n"
        "def f(a, b={'x': {1, 2, 'three'}}, **more): pass\n"
        "task = TaskFacts('f', 'f-1', lambda: b'c' * 16, inspect.signature(f))\n"
        "recipe = recipe_of(DEFAULT - 'log' - 'a b' + FLOW_PARAMETERS, task,"
        " RunFacts('run', {'d': {'p', 'q', 'r'}}))\n"
        "print(KeyMaker(recipe).key((1,), {'log': 1, 'z': 2, 'y': 3}).hex())\n"
    )
    found = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                       env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("0", "1", "12345")
    }
    assert len(found) == 1
