"""Parameters of a run, filled in from the event that makes it.

Lives here: templates in values of JSON. Does not live here: the sandbox
(``alerts/templates.py``), whether parameters fit the flow (``service/deploying.py``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from dataflow.alerts.templates import LONGEST, TemplateFailed, filled
from dataflow.triggers.definition import refuse

_ALONE = re.compile(r"\s*\{\{(?P<inner>(?:(?!\}\}|\{\{|\{%).)*)\}\}\s*", re.DOTALL)
_OPENINGS = ("{{", "{%", "{#")


class NotFilled(Exception):
    """A parameter cannot be made of the event; the text says which, and why."""


def check_templates(parameters: Mapping[str, Any]) -> None:
    """Refuse templates that cannot be read. Raises TriggerError, which names the parameter."""
    for path, text in _templates(parameters, "parameters"):
        from jinja2 import TemplateError

        from dataflow.alerts.templates import sandbox

        try:
            sandbox().from_string(text)
        except TemplateError as error:
            refuse(path, text, f"is no valid template: {error} "
                               "Write '{{ event.payload.path }}'")


def has_template(value: Any) -> bool:
    """Tell whether some part of a value is a template."""
    return next(_templates(value, ""), None) is not None


def _templates(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and any(each in value for each in _OPENINGS):
        yield path, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _templates(each, f"{path}.{name}")
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from _templates(each, f"{path}[{at}]")


def filled_in(parameters: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with what their templates give for an event.

    Raises
    ------
    NotFilled
        A template names what the event has not, or gives what JSON cannot hold.
    """
    seen = Seen(event)
    return {name: _filled(value, name, seen) for name, value in parameters.items()}


def _filled(value: Any, path: str, event: Seen) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(each, f"{path}.{name}", event) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, f"{path}[{at}]", event) for at, each in enumerate(value)]
    if not isinstance(value, str) or not any(each in value for each in _OPENINGS):
        return value
    try:
        alone = _ALONE.fullmatch(value)
        return _plain(_expression(alone["inner"])(event=event)) if alone else filled(
            value, {"event": event})
    except TemplateFailed as error:
        raise NotFilled(f"{path}: {value!r:.200}: {error}") from error
    except Exception as error:  # a user's template: whatever it does, others go on
        said = str(error).replace(f"'{Seen.__module__}.{Seen.__name__} object'", "the event")
        raise NotFilled(f"{path}: {value!r:.200}: {type(error).__name__}: {said}") from error


@lru_cache(maxsize=1024)
def _expression(text: str) -> Callable[..., Any]:
    """Return an expression that gives its value, not the text of it."""
    from dataflow.alerts.templates import sandbox

    return sandbox().compile_expression(text, undefined_to_none=False)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; what is undefined raises by being looked at."""
    from jinja2 import Undefined

    from dataflow.deployments.json_values import json_copy

    if isinstance(value, Undefined):
        str(value)  # raises, and says what is not there
    if isinstance(value, Seen):
        value = value.facts
    if isinstance(value, str) and len(value) > LONGEST:
        raise TemplateFailed(f"it writes more than {LONGEST:,} characters")
    return json_copy(value, "the value")


class Resource(str):
    """Name of a resource; ``event.resource.id`` is the same, as templates of Prefect have it."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """Return the name."""
        return str(self)


class Seen(Mapping[str, Any]):
    """An event as templates see it: its facts by name, and ``resource.id``."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts = dict(facts)

    def __getitem__(self, name: str) -> Any:
        value = self.facts[name]
        return Resource(value) if name == "resource" and isinstance(value, str) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self.facts)

    def __len__(self) -> int:
        return len(self.facts)
