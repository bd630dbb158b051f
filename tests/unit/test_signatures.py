"""Kinds of functions, told through partials, methods and callable objects."""

from functools import partial

import pytest

from dataflow.exceptions import DefinitionTypeError
from dataflow.signatures import kind_of


def plain(x=0):
    return x


async def coroutine(x=0):
    return x


def generator(x=0):
    yield x


async def async_generator(x=0):
    yield x


class Holder:
    async def method(self):
        return 1

    @classmethod
    def generate(cls):
        yield 1

    @staticmethod
    async def agenerate():
        yield 1


class Callable:
    async def __call__(self):
        return 1


@pytest.mark.parametrize(("fn", "kind"), [
    (plain, "sync"), (coroutine, "async"), (generator, "generator"),
    (async_generator, "async_generator"), (lambda: 1, "sync"), (lambda: (yield 1), "generator"),
    (len, "sync"), (dict, "sync"),
    (partial(coroutine, 1), "async"), (partial(partial(generator), 1), "generator"),
    (Holder().method, "async"), (Holder.generate, "generator"),
    (Holder.agenerate, "async_generator"), (Callable(), "async"), (partial(Callable()), "async"),
    (Callable, "sync"),
])
def test_kind_of_a_function_is_that_of_what_it_calls(fn, kind):
    assert kind_of(fn, "task 'x'") == kind


def test_kind_of_something_not_callable_is_refused_with_the_label():
    with pytest.raises(DefinitionTypeError, match="task 'x': expected a function, got int 3"):
        kind_of(3, "task 'x'")
