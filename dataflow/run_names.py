"""Names of runs by template or callable.

Lives here: checking a template at definition, making a name of the parameters
of a run. Does not live here: names of runs that nobody named (``names.py``).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from string import Formatter
from typing import Any

from dataflow.exceptions import DefinitionError, DefinitionTypeError
from dataflow.failures import text_of
from dataflow.hooks import finished

RunName = str | Callable[..., str]


def fields_of(template: str) -> set[str]:
    """Return the names of the parameters that a template asks for.

    Raises
    ------
    ValueError
        It is no template that ``str.format`` can read.
    """
    found: set[str] = set()
    for _, field, spec, _ in Formatter().parse(template):
        if field is not None:
            found.add(re.split(r"[.\[]", field, maxsplit=1)[0])
            found |= fields_of(spec or "")
    return found


def check_template(template: str, signature: inspect.Signature | None, option: str,
                   label: str) -> None:
    """Refuse a template that no call could fill.

    Parameters
    ----------
    template
        As given for ``option``.
    signature
        Of the function; None where it cannot be read.
    label
        The function as errors name it, e.g. ``task 'load'``.

    Raises
    ------
    DefinitionError
        It cannot be read, or it names a parameter that the function does not have.
    """
    try:
        fields = fields_of(template)
    except ValueError as error:
        raise DefinitionError(
            f"{option} {template!r} of {label} is no template that str.format() can read: "
            f"{error}; write parameters as {{name}}, and {{{{ for a brace", option=option) from None
    if signature is None:
        return
    parameters = signature.parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = sorted(field for field in fields if field not in parameters)
    if unknown and (not open_ended or any(not field.isidentifier() for field in unknown)):
        raise DefinitionError(
            f"{option} {template!r} of {label} names {_braced(unknown)}, but {_listed(parameters)}",
            option=option)


def run_name(how: RunName, parameters: Mapping[str, Any], option: str, label: str) -> str:
    """Return a run's name.

    Parameters
    ----------
    how
        A template over the parameters, or a callable with or without a parameter
        ``parameters``.
    parameters
        Of the call, defaults included.
    option, label
        For errors: ``task_run_name``, ``task 'load'``.

    Raises
    ------
    DefinitionError
        The template cannot be filled, or the callable raised; that is chained.
    DefinitionTypeError
        The callable returned no str.
    """
    if isinstance(how, str):
        try:
            return how.format(**parameters)
        except Exception as error:  # user values: a format, an attribute, an item may raise
            why = f"{type(error).__name__}: {text_of(error)}"
            if isinstance(error, KeyError) and error.args[:1] and error.args[0] not in parameters:
                why = f"there is no {_braced([str(error.args[0])])}"
            raise DefinitionError(
                f"{option} {how!r} of {label} cannot be filled: {why}; {_listed(parameters)}",
                option=option) from error
    name = _asked(how, parameters, option, label)
    if not isinstance(name, str):
        raise DefinitionTypeError(
            f"{option} of {label} must return a str, {_name_of(how)} returned "
            f"{type(name).__name__} {name!r:.100}", option=option)
    return name


def _asked(how: Callable[..., Any], parameters: Mapping[str, Any], option: str,
           label: str) -> Any:
    try:
        try:
            takes: Iterable[str] = inspect.signature(how).parameters
        except (ValueError, TypeError):  # some builtins have none
            takes = ()
        return finished(how(parameters=dict(parameters)) if "parameters" in takes else how())
    except Exception as error:  # user code
        raise DefinitionError(
            f"{option} of {label} could not be made: {_name_of(how)} raised "
            f"{type(error).__name__}: {text_of(error)}; {_listed(parameters)}",
            option=option) from error


def _name_of(how: Callable[..., Any]) -> str:
    return getattr(how, "__qualname__", None) or repr(how)


def _braced(fields: Iterable[str]) -> str:
    return ", ".join(f"{{{field}}}" for field in fields)


def _listed(parameters: Iterable[str]) -> str:
    names = ", ".join(map(repr, parameters))
    return f"the parameters are {names}" if names else "there are no parameters"
