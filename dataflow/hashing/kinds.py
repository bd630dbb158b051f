"""Which rule a type has: registered, its own hook, or one of ours; looked up once per type.

Lives here: the order in which rules are asked for, registration, refusals. Does not
live here: the rules themselves (``stdlib_types.py``, ``objects.py``, ``callables.py``, and for
foreign types ``arrays.py``, ``pandas_tables.py``, ``polars_tables.py``, ``arrow_tables.py``,
``sparse.py``, which are imported when a value of theirs comes by).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, TypeVar

from dataflow.exceptions import DefinitionTypeError
from dataflow.hashing.callables import callable_rule
from dataflow.hashing.contents import Contents, Refused, Rule, type_name
from dataflow.hashing.encoding import SCALARS, head
from dataflow.hashing.names import class_name
from dataflow.hashing.objects import object_rule, plain
from dataflow.hashing.stdlib_types import EXACT, builtin_rule, family_rule
from dataflow.hashing.strings import Strings

T = TypeVar("T")

FOREIGN: Final = {
    "numpy": "dataflow.hashing.arrays",
    "pandas": "dataflow.hashing.pandas_tables",
    "polars": "dataflow.hashing.polars_tables",
    "pyarrow": "dataflow.hashing.arrow_tables",
    "scipy": "dataflow.hashing.sparse",
}
"""Top-level module of a class, and who has ``rule_of(cls)`` for it. Libraries are not imported."""

_MOST_REMEMBERED: Final = 10_000
_registered: dict[type, Callable[[Any], Any]] = {}
_rules: dict[type, Rule] = {}


def register(cls: type[T]) -> Callable[[Callable[[T], Any]], Callable[[T], Any]]:
    """Say what the content of a type is, for values of it and of its subclasses.

    Parameters
    ----------
    cls
        A type of your own or of a library's.

    Returns
    -------
    Callable
        A decorator for a function that takes a value of that type and returns what stands for
        it: anything that has a digest. Name and module of the value's class are added.

    Raises
    ------
    DefinitionTypeError
        It is no class, or one of the builtin types that are hashed without a look at rules.

    Notes
    -----
    Register where the class is defined or imported, so that workers do it as well.

    Examples
    --------
    >>> @register(Model)
    ... def content(model):
    ...     return model.name, model.weights
    """
    if not isinstance(cls, type):
        raise DefinitionTypeError(f"register takes a class, not {cls!r}")
    if cls in SCALARS or cls in (list, tuple, dict, set, frozenset, object):
        raise DefinitionTypeError(f"{cls.__name__} is hashed as it is; register a class of yours")

    def keep(function: Callable[[T], Any]) -> Callable[[T], Any]:
        _registered[cls] = function
        _rules.clear()
        return function

    return keep


def has_hook(cls: type) -> bool:
    """Say whether something of the user's own says what the content of the type is."""
    return hasattr(cls, "__dataflow_hash__") or not _registered.keys().isdisjoint(cls.__mro__)


def rule_of(cls: type) -> Rule:
    """Return the rule for values of exactly that type."""
    rule = _rules.get(cls)
    if rule is None:
        rule = _find(cls)
        if len(_rules) >= _MOST_REMEMBERED:
            _rules.clear()
        _rules[cls] = rule
    return rule


def _find(cls: type) -> Rule:
    for parent in cls.__mro__:
        if parent in _registered:
            return _by_hook(cls, _registered[parent], "what is registered for it")
    hook = getattr(cls, "__dataflow_hash__", None)
    if hook is not None:
        return _by_hook(cls, hook, ".__dataflow_hash__()")
    if cls is Strings:
        return Strings.encoding
    return EXACT.get(cls) or _by_family(cls) or plain(cls)


def _by_family(cls: type) -> Rule | None:
    rule = callable_rule(cls) or object_rule(cls)
    if rule is not None:
        return rule
    for parent in cls.__mro__:
        home = FOREIGN.get(parent.__module__.partition(".")[0])
        if home is not None:
            found: Rule | None = import_module(home).rule_of(cls)
            if found is not None:
                return found
    return family_rule(cls) or builtin_rule(cls)


def _by_hook(cls: type, hook: Callable[[Any], Any], what: str) -> Rule:
    start = head("registered", 2)
    name = class_name(cls)
    label = what if what.startswith(".") else f" ({what})"

    def rule(value: Any) -> Contents:
        try:
            content = hook(value)
        except Exception as error:  # the user's hook
            reason = f"is a {type_name(cls)}, and {what.lstrip('.')} raised {error!r}"
            raise Refused(reason, "the cause is chained") from error
        return Contents(start, (name, content), lambda n: label)

    return rule
