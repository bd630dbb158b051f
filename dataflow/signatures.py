"""Signatures of user functions: names of arguments, and whether arguments fit.

Lives here: what is asked of a signature at each call, prepared once. Does not
live here: types of parameters (``parameters.py``).
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType
from typing import Any

from dataflow.exceptions import DefinitionTypeError, ParameterBindError, ReservedArgumentError
from dataflow.options import RESERVED


class Arguments:
    """The parameters of a function.

    Parameters
    ----------
    fn
        The function; one without a readable signature takes anything.
    label
        How the function is called in errors, e.g. ``task 'load'``.
    """

    __slots__ = ("_keyword_only", "_least", "_most", "_names", "label", "signature")

    def __init__(self, fn: Callable[..., Any], label: str) -> None:
        self.label = label
        self.signature: inspect.Signature | None = None
        self._names: tuple[str, ...] = ()
        self._least, self._most, self._keyword_only = 0, 0, False
        try:
            self.signature = inspect.signature(fn)
        except (ValueError, TypeError):  # some builtins have none
            self._most = 1 << 30
            return
        self._read(self.signature)

    def _read(self, signature: inspect.Signature) -> None:
        names = []
        for name, parameter in signature.parameters.items():
            needed = parameter.default is parameter.empty
            match parameter.kind:
                case parameter.POSITIONAL_ONLY | parameter.POSITIONAL_OR_KEYWORD:
                    names.append(name)
                    self._least += needed
                    self._most += 1
                case parameter.VAR_POSITIONAL:
                    self._most = 1 << 30
                case parameter.KEYWORD_ONLY:
                    self._keyword_only |= needed
        self._names = tuple(names)

    def refuse_reserved(self) -> None:
        """Raise where a parameter has a name that belongs to the framework.

        Raises
        ------
        ReservedArgumentError
            The text names the parameter.
        """
        for name in RESERVED:
            if self.signature is not None and name in self.signature.parameters:
                raise ReservedArgumentError(
                    f"{self.label} has a parameter {name!r}: that name is taken by the framework, "
                    "choose another", parameter=name)

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise where the arguments do not fit.

        Raises
        ------
        ParameterBindError
            As the call itself would raise a TypeError.
        """
        if not kwargs and not self._keyword_only and self._least <= len(args) <= self._most:
            return
        if self.signature is None:
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ParameterBindError(
                f"{self.label} takes {self.signature}: {error}") from None

    def names(self, count: int) -> tuple[str, ...]:
        """Return the names of the first positional arguments; ``*args`` counted on."""
        if count <= len(self._names):
            return self._names[:count]
        extra = tuple(f"args[{n}]" for n in range(count - len(self._names)))
        return self._names + extra


def parts_of(fn: Callable[..., Any]) -> Iterator[Any]:
    """Yield a callable and what it wraps or calls, the plain function last."""
    while True:
        yield fn
        if isinstance(fn, partial):
            fn = fn.func
        elif not inspect.isroutine(fn) and not isinstance(fn, type):
            yield getattr(type(fn), "__call__", None)  # noqa: B004  # the method itself is wanted
            return
        else:
            return


def kind_of(fn: Callable[..., Any], label: str) -> str:
    """Return ``"sync"``, ``"async"``, ``"generator"`` or ``"async_generator"``.

    Partials, methods and callable objects are of the kind of the function they call.

    Raises
    ------
    DefinitionTypeError
        Not callable at all; the text begins with ``label``.
    """
    if not callable(fn):
        raise DefinitionTypeError(f"{label}: expected a function, got {type(fn).__name__} {fn!r}")
    for part in parts_of(fn):
        if inspect.iscoroutinefunction(part):
            return "async"
        if inspect.isasyncgenfunction(part):
            return "async_generator"
        if inspect.isgeneratorfunction(part):
            return "generator"
    return "sync"


def doc_of(fn: Callable[..., Any]) -> str | None:
    """Return the docstring of a function, of a partial's function, or of a callable's class."""
    while isinstance(fn, partial):
        fn = fn.func
    return fn.__doc__


def name_of(fn: Callable[..., Any]) -> str:
    """Return the name of a function, of a partial's function, or of a callable's class."""
    while isinstance(fn, partial):
        fn = fn.func
    return getattr(fn, "__name__", None) or type(fn).__name__


def key_of(fn: Callable[..., Any]) -> str:
    """Return ``"{name}-{8 hex digits}"``, the same in every process and interpreter.

    The digits are those of the function's qualified name and source. Where
    there is no source (a prompt), and for lambdas, of which several may stand
    on a line, they are those of its code.
    """
    *_, plain = (part for part in parts_of(fn) if part is not None)
    plain = getattr(plain, "__func__", plain)
    qualified = getattr(plain, "__qualname__", None) or name_of(fn)
    code = getattr(plain, "__code__", None)
    text = None
    try:
        text = inspect.getsource(plain)
    except (OSError, TypeError):  # typed at a prompt, a builtin
        pass
    parts = [qualified, text or ""]
    if code is not None and (text is None or code.co_name == "<lambda>"):
        parts.append(_code_text(code))
    if isinstance(fn, partial):
        parts.append(_plain_text((fn.args, sorted(fn.keywords.items()))))
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=4).hexdigest()
    return f"{name_of(fn)}-{digest}"


def _code_text(code: CodeType) -> str:
    """Return what a code does, without the places it stands at."""
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars,
                 _plain_text(code.co_consts)))


def _plain_text(value: Any) -> str:
    """Return a text that is the same in every process; of what has none such, its type's name."""
    if isinstance(value, CodeType):
        return _code_text(value)
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_plain_text, value))})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_plain_text, value)))}}}"
    if value is None or value is ... or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    return type(value).__qualname__
