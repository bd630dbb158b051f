"""Templates of messages: the default ones, and those of users in a sandbox.

Lives here: Jinja, imported when the first text is written. Does not live here:
what a template can name (``text.py``). A user's template gets plain values,
never objects of ours; it cannot reach attributes that begin with an underscore,
and what it writes is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from dataflow.exceptions import DefinitionError

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

LONGEST = 100_000
"""So many characters a template may write before it is given up."""

DEFAULT_TITLE = """\
{%- if resolved %}[resolved] {{ subject }}{% else %}[{{ state }}] {{ subject }}
{%- if run_count > 1 %}: {{ run_count }} runs{% elif run_name %}: {{ run_name }}{% endif %}
{%- if number %} (message {{ number + 1 }}){% endif %}{% endif %}"""

DEFAULT_TEXT = """\
{% if resolved -%}
It is over: {{ subject }} {{ why }}{% if over %} at {{ over }}{% endif %}.
First told of at {{ since }}.
{% elif run_count > 1 -%}
{{ run_count }} runs of {{ subject }}: {{ why }}.
Between {{ since }} and {{ until }}: {{ runs | map(attribute="name") | join(", ") }}
{%- if run_count > runs | length %} and {{ run_count - runs | length }} more{% endif %}.
{% elif task_runs -%}
{{ "{:,}".format(task_runs) }} task run{{ "s" if task_runs > 1 }} of flow run {{ run_name }} \
({{ subject }}): {{ why }}, first at {{ occurred }}.
{% elif run_id -%}
Flow run {{ run_name }} of {{ subject }} {{ why }}, at {{ occurred }}
{%- if duration %} after {{ duration }}{% endif %}.
{% else -%}
{{ subject }} {{ why }}.
{% endif -%}
{% if message and not resolved %}{{ message }}
{% endif -%}
{% if failed and elements and run_count <= 1 %}{{ "{:,}".format(failed) }} \
of {{ "{:,}".format(elements) }} elements failed.
{% endif -%}
{% if errors and not resolved %}
First error: {{ errors[0].type }}: {{ errors[0].message }}
{%- if errors[0].count > 1 %} ({{ "{:,}".format(errors[0].count) }} alike){% endif %}
{% for error in errors[1:5] -%}
Also: {{ error.type }}: {{ error.message }}
{%- if error.count > 1 %} ({{ "{:,}".format(error.count) }} alike){% endif %}
{% endfor -%}
{% if errors | length > 5 %}and {{ errors | length - 5 }} more kinds of errors
{% endif -%}
{% for error in errors if error.elements %}{% if loop.first %}Elements: {% else %}, {% endif -%}
{{ error.task }}[{{ error.elements }}]{% if loop.last %}
{% endif %}{% endfor -%}
{% endif %}
{% if over and not resolved %}It is over since {{ over }}.
{% elif next_retry and not resolved %}What is done: the next try begins at {{ next_retry }}.
{% elif ended and not resolved %}What is done: nothing more, unless somebody runs it again.
{% endif -%}
{% if command %}Look: {{ command }}
{% endif -%}
{% if link %}Page: {{ link }}
{% endif -%}
Alert: {{ alert }}"""


class TemplateFailed(Exception):
    """A template cannot be used; its text says why."""


def check(option: str, source: str) -> None:
    """Refuse a template that is no valid Jinja.

    Raises
    ------
    DefinitionError
        Names the option and the line.
    """
    from jinja2 import TemplateSyntaxError

    try:
        sandbox().from_string(source)
    except TemplateSyntaxError as error:
        raise DefinitionError(
            f"Alert({option}=...) is no valid template: line {error.lineno}: {error.message}. "
            "It is written in Jinja: {{ run_name }} failed.", option=option, line=error.lineno,
        ) from error


def filled(source: str, values: Mapping[str, Any]) -> str:
    """Return what a template writes with values.

    Raises
    ------
    TemplateFailed
        It has a slip, names what is not there, or writes too much.
    """
    try:
        parts, length = [], 0
        for part in sandbox().from_string(source).generate(values):
            parts.append(part)
            length += len(part)
            if length > LONGEST:
                raise TemplateFailed(f"it writes more than {LONGEST:,} characters")
    except TemplateFailed:
        raise
    except Exception as error:  # a user's template: whatever it does, the message goes out
        raise TemplateFailed(f"{type(error).__name__}: {error}") from error
    return "".join(parts)


@cache
def sandbox() -> SandboxedEnvironment:
    """Return what templates of users are read and filled in by."""
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        """A sandbox in which no operator makes a value of any size out of small ones."""

        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            numbers = isinstance(left, int | float) and isinstance(right, int | float)
            if not numbers or operator == "**":
                raise SecurityError(f"{operator} is not allowed here, but between numbers * and %")
            return super().call_binop(context, operator, left, right)

    found = Bounded(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False)
    for name in ("center", "format", "indent", "batch", "slice", "xmlattr", "urlize"):
        found.filters.pop(name, None)  # they fill up to a width that is asked for
    return found
