"""Parameters of flows: checked and coerced by their annotations, and written into records.

Lives here: binding, validation by pydantic (imported when first needed), the
JSON text of parameters. Does not live here: arguments of tasks, which are
never coerced.
"""

from __future__ import annotations

import inspect
import json
import math
import reprlib
import typing
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from dataflow.exceptions import ParameterBindError, ParameterTypeError
from dataflow.parameter_schema import ParameterSchema, hint_of, schema_of

_LIMIT = 64 * 1024  # characters of a record's parameters in all
_ITEMS = 1000  # items of a container that are looked at
_DEPTH = 6


class Parameters:
    """The parameters of a flow function.

    Parameters
    ----------
    fn
        The function.
    label
        How it is called in errors.
    """

    def __init__(self, fn: Callable[..., Any], label: str) -> None:
        self._fn = fn
        self._label = label
        self.signature = inspect.signature(fn)
        self._model: Any = None

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        """Return the arguments by name, defaults included.

        Raises
        ------
        ParameterBindError
            They do not fit.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ParameterBindError(f"{self._label} takes {self.signature}: {error}") from None
        bound.apply_defaults()
        return bound

    def spread(self, named: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return (args, kwargs) of a call with these parameters, which are bound by name.

        Raises
        ------
        ParameterBindError
            There is no parameter of a name.
        """
        unknown = [name for name in named if name not in self.signature.parameters]
        if unknown:
            raise ParameterBindError(f"{self._label} has no parameter {unknown[0]!r}")
        bound = inspect.BoundArguments(self.signature, OrderedDict(named))
        return bound.args, bound.kwargs

    def validate(self, bound: inspect.BoundArguments, given: set[str]) -> None:
        """Coerce the given arguments in place; defaults are left as they are.

        Raises
        ------
        ParameterTypeError
            Some do not fit their annotation; the text says which and why.
        """
        if not any(p.annotation is not p.empty for p in self.signature.parameters.values()):
            return
        from pydantic import ValidationError

        fields = {name: value for name, value in bound.arguments.items() if name in given}
        if self._model is None:
            self._model = self._make_model()
        try:
            model = self._model.model_validate(fields)
        except ValidationError as error:
            raise ParameterTypeError(
                "Flow run received invalid parameters:\n" + "\n".join(
                    f" - {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()
                ), flow=self._label) from error
        for position, name in enumerate(self.signature.parameters):
            if name in fields:
                bound.arguments[name] = getattr(model, f"p{position}")

    def check_some(self, named: Mapping[str, Any]) -> None:
        """Check parameters by name; those that are missing may come later.

        Raises
        ------
        ParameterBindError
            There is no parameter of a name.
        ParameterTypeError
            A value does not fit its annotation; the text says which and why.
        """
        try:
            bound = self.signature.bind_partial(**named)
        except TypeError as error:
            raise ParameterBindError(f"{self._label} takes {self.signature}: {error}") from None
        self.validate(bound, set(bound.arguments))

    def schema(self) -> ParameterSchema:
        """Return the parameters as a JSON schema, described by the docstring."""
        return schema_of(self.signature, self._hints(), inspect.getdoc(self._fn))

    def _make_model(self) -> Any:
        """Return a pydantic model with a field per parameter; aliases let any name be used."""
        from pydantic import ConfigDict, Field, create_model

        fields: dict[str, Any] = {}
        hints = self._hints()
        for position, (name, parameter) in enumerate(self.signature.parameters.items()):
            fields[f"p{position}"] = (
                hint_of(parameter, hints), Field(default=None, alias=name))
        config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
        return create_model("Parameters", __config__=config, **fields)

    def _hints(self) -> dict[str, Any]:
        target = inspect.unwrap(self._fn)
        try:
            return typing.get_type_hints(target, include_extras=True)
        except Exception:  # user code: an annotation may be any expression, also one that fails
            return {
                name: p.annotation for name, p in self.signature.parameters.items()
                if p.annotation is not p.empty and not isinstance(p.annotation, str)
            }


def to_json(parameters: Mapping[str, Any]) -> str:
    """Return parameters as JSON for a record: bounded, never raising.

    What is not JSON stands there as its repr; long things are cut, and beyond
    64 KiB in all each value becomes a short text.
    """
    plain = {str(name): _Preview().of(value, _DEPTH) for name, value in parameters.items()}
    text = json.dumps(plain, ensure_ascii=False)
    if len(text) <= _LIMIT:
        return text
    share = max(16, _LIMIT // (len(plain) + 1) - 200)
    short = {name: _shortened(value, min(share, 1000)) for name, value in plain.items()}
    text = json.dumps(short, ensure_ascii=False)
    return text if len(text) <= _LIMIT else json.dumps({"...": f"{len(plain)} parameters"})


class _Preview:
    """JSON of one value, made of no more than the record's limit of characters."""

    def __init__(self) -> None:
        self._left = _LIMIT

    def of(self, value: Any, depth: int) -> Any:
        """Return what json can write."""
        if self._left <= 0:
            return "..."
        self._left -= 8
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, str):
            return self._text(value)
        if depth and type(value) in (list, tuple) and len(value) <= _ITEMS:
            return [self.of(item, depth - 1) for item in value]
        if depth and type(value) is dict and len(value) <= _ITEMS:
            return {self._text(str(key)): self.of(item, depth - 1) for key, item in value.items()}
        return self._text(_repr(value))

    def _text(self, text: str) -> str:
        limit = max(self._left, 16)
        self._left -= len(text)
        return text if len(text) <= limit else text[:limit] + "..."


def _repr(value: Any) -> str:
    try:
        if isinstance(value, (list, tuple, set, frozenset, dict)):
            return f"{type(value).__name__} of {len(value)}: {reprlib.repr(value)}"
        return reprlib.repr(value) if len(text := repr(value)) > 1000 else text
    except Exception as broken:  # user code: __repr__ may raise anything
        return f"<{type(value).__name__} whose repr raises {type(broken).__name__}>"


def _shortened(value: Any, limit: int) -> Any:
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= limit else text[:limit] + "..."
