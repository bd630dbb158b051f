"""``code_identity``: from a function to everything it reaches.

Lives here: the order of the work, and what is kept of it. Does not live here:
what one part is (``functions.py``, ``classes.py``, ``values.py``).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

from dataflow.code_identity.classes import fill_class
from dataflow.code_identity.constants import fill_value
from dataflow.code_identity.functions import describe_callable, fill_function
from dataflow.code_identity.graph import Graph, Node
from dataflow.code_identity.kinds import is_task
from dataflow.code_identity.names import fill_module
from dataflow.code_identity.ownership import importable, origin_of
from dataflow.code_identity.parts import CodeIdentity
from dataflow.code_identity.watching import Watch
from dataflow.exceptions import NotCacheable

_Kept = tuple[CodeIdentity, tuple[Watch, ...]]
_kept: weakref.WeakKeyDictionary[FunctionType, _Kept] = weakref.WeakKeyDictionary()
_kept_as_made: weakref.WeakKeyDictionary[
    FunctionType | type, weakref.WeakKeyDictionary[type, _Kept]] = weakref.WeakKeyDictionary()
_one_at_a_time = threading.RLock()


def code_identity(fn: Callable[..., Any]) -> CodeIdentity:
    """Return what the code of a function is, with everything of the user's own that it reaches.

    Parameters
    ----------
    fn
        A function, method, partial, class or callable object; a task or flow
        stands for its function.

    Returns
    -------
    CodeIdentity
        The same in each process and on each version of Python for the same
        source. It is kept, and made again when a global name that was read
        stands for another object; a constant that changed in place is not
        looked at again.

    Raises
    ------
    NotCacheable
        Something that it reaches has no digest (a lock, a file, a client) or
        cannot be found; the text names the way there.

    Notes
    -----
    Some milliseconds for the first call, some microseconds after.
    """
    target: Any = fn
    if is_task(target):
        target = target.fn
    if not callable(target):
        raise NotCacheable.because(f"{target!r}"[:60], "is no function", "give a callable")
    with _one_at_a_time:
        if not isinstance(target, FunctionType):
            return _made(target)[0]
        kept = _kept.get(target)
        if kept is None or not all(watch.holds() for watch in kept[1]):
            kept = _kept[target] = _made(target)
        return kept[0]


def identity_as_made(code: FunctionType | type, of: type = object) -> CodeIdentity:
    """Return what code is that is an argument: the same where it came by value.

    Parameters
    ----------
    code
        A function or a class. Classes count by their members, annotations by their
        values: of names in a module, those that functions read come with them alone.
    of
        The class that a method is called on.

    Raises
    ------
    NotCacheable
        As :func:`code_identity`.
    """
    with _one_at_a_time:
        of_code = _kept_as_made.setdefault(code, weakref.WeakKeyDictionary())
        kept = of_code.get(of)
        if kept is None or not all(watch.holds() for watch in kept[1]):
            kept = of_code[of] = _made(code, as_made=True, of=of)
        return kept[0]


def _made(fn: Any, *, as_made: bool = False, of: type = object) -> _Kept:
    name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    name = name.rpartition("<locals>.")[2]
    graph = Graph(name, _own_top(fn), as_made=as_made)
    if of is not object:
        graph.methods[id(fn)] = of
    space = getattr(fn, "__globals__", {})
    graph.home = str(space.get("__name__") or getattr(fn, "__module__", None) or "")
    plain = isinstance(fn, FunctionType) and graph.origin(graph.home) == "own"
    graph.reach(None, "", fill="function", subject=fn, key=id(fn) if plain else "itself",
                kind="function", name=name)
    graph.digest_alone = partial(_digest_alone, graph)
    _fill_all(graph, plain)
    # a counter is another number after each call, and no other code
    watches = [watch for key, watch in graph.watches.items() if key not in graph.written]
    return graph.identity(), tuple(watches)


def _digest_alone(graph: Graph, node: Node, value: Any) -> bytes:
    """Return the digest of a value in a graph, by itself, with all that it reaches."""
    inner = Graph(node.where, graph.own_top, as_made=graph.as_made)
    inner.home, inner.written = graph.home, graph.written
    inner.reach(None, "", fill="value", subject=(value, "itself"), key="itself", kind="constant",
                name=node.where)
    _fill_all(inner, plain=True)
    return inner.identity().digest


def _fill_all(graph: Graph, plain: bool) -> None:
    while (node := graph.next()) is not None:
        try:
            _fill(graph, node, plain)
        except NotCacheable:
            if not node.soft:
                raise
            node.links.clear()
            node.content, node.text = b"left out", f"(left out: {node.text})"


def _fill(graph: Graph, node: Node, plain: bool) -> None:
    if node is graph.nodes[0] and node.fill == "function" and not plain:
        describe_callable(graph, node, node.subject)
    elif node.fill == "function":
        fill_function(graph, node)
    elif node.fill == "class":
        fill_class(graph, node)
    elif node.fill == "value":
        fill_value(graph, node)
    elif node.fill == "module":
        fill_module(graph, node)
    else:
        node.content, node.text = f"{node.name} {node.subject}".encode(), node.subject


def _own_top(fn: Any) -> str | None:
    """Return the installed package that is the user's own: that of a function made a task in it."""
    if not isinstance(fn, FunctionType):
        return None
    module = str(fn.__module__)
    if origin_of(module) != "library" or importable(fn, fn.__module__, fn.__qualname__):
        return None
    return module.partition(".")[0]
