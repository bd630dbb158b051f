"""Rules for functions, methods, partials, classes and modules that are passed as values.

Lives here: what stands for them. Does not live here: what the code of a function
is (``code_identity/``), when a class is more than its name (``classes.py``).
"""

from __future__ import annotations

import functools
import operator
import sys
import types
from typing import Any

from dataflow.hashing.classes import MadeClass, MethodCode, class_part, function_code, made_class
from dataflow.hashing.contents import Contents, Order, Refused, Rule, by_names, by_position
from dataflow.hashing.encoding import head
from dataflow.hashing.names import function_name
from dataflow.script_name import module_name


def callable_rule(cls: type) -> Rule | None:
    """Return the rule for functions, classes and modules; None: it is something else."""
    rule = _EXACT.get(cls)
    if rule is None:
        for kind, of_kind in _FAMILIES.items():
            if issubclass(cls, kind):
                return of_kind
    return rule


def _builtin(value: Any) -> Contents:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return Contents(head("builtin", 1), [function_name(value)], by_position)
    parts = (value.__name__, owner)
    return Contents(head("builtin method", 2), parts, by_names([".__name__", ".__self__"]))


def _method(value: types.MethodType) -> Contents:
    owner = value.__self__
    code: Any = value.__func__
    if isinstance(code, types.FunctionType):
        code = MethodCode(code, owner if isinstance(owner, type) else type(owner))
    parts = (code, owner)
    return Contents(head("method", 2), parts, by_names([".__func__", ".__self__"]))


def _partial(value: functools.partial[Any]) -> Contents:
    parts = (class_part(type(value)), value.func, value.args, value.keywords)
    return Contents(head("partial", 4), parts, by_names(["", ".func", ".args", ".keywords"]))


def _getter(value: Any) -> Contents:
    """Take apart what the ``operator`` module makes: its class and what it was made with."""
    _, *made_with = value.__reduce__()
    parts = [type(value).__name__, made_with]
    return Contents(head("operator", 2), parts, by_position)


def _class(value: type) -> Contents:
    return Contents(head("class", 1), [class_part(value)], by_position)


def _alias(value: Any) -> Contents:
    parts = (value.__origin__, value.__args__)
    return Contents(head("generic alias", 2), parts, by_names([".__origin__", ".__args__"]))


def _module(value: types.ModuleType) -> Contents:
    from importlib.metadata import PackageNotFoundError, version

    name = module_name(value.__name__)
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        known = "{}.{}".format(*sys.version_info[:2])
    else:
        try:
            known = version(top)
        except PackageNotFoundError:
            known = str(getattr(sys.modules.get(top), "__version__", ""))
    if not known:
        raise Refused("is a module without a version", "pass what you need of it")
    return Contents(head("module", 2), (name, known), by_position)


_EXACT: dict[type, Rule] = {
    types.FunctionType: function_code,
    MethodCode: lambda value: function_code(value.function, value.cls),
    MadeClass: made_class,
    types.BuiltinFunctionType: _builtin,
    types.MethodType: _method,
    types.MethodDescriptorType: lambda value: Contents(
        head("descriptor", 2), (value.__objclass__, value.__name__), by_position),
    types.WrapperDescriptorType: lambda value: Contents(
        head("descriptor", 2), (value.__objclass__, value.__name__), by_position),
    types.GenericAlias: _alias,
    types.UnionType: lambda value: Contents(
        head("union", len(value.__args__)), value.__args__, by_position, Order.SORTED),
    type(functools.lru_cache(lambda: None)): lambda value: Contents(
        head("lru_cache", 2), (value.__wrapped__, value.cache_parameters()),
        by_names([".__wrapped__", ".cache_parameters()"])),
    operator.itemgetter: _getter,
    operator.attrgetter: _getter,
    operator.methodcaller: _getter,
}
_FAMILIES: dict[type, Rule] = {
    functools.partial: _partial,
    type: _class,
    types.ModuleType: _module,
}
