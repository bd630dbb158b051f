"""What a value with parts consists of, as the rules of its type say.

Lives here: the answer of a rule. Does not live here: the rules (``stdlib_types.py``,
``objects.py``, ``arrays.py`` …) and who follows them (``walk.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any


class Order(Enum):
    """Which order of the parts counts."""

    GIVEN = 1
    SORTED = 2
    """None: they are sorted by their encodings."""
    PAIRS = 3
    """Keys and values in turn; the pairs are sorted by the encodings of the keys."""


@dataclass(slots=True, eq=False)
class Contents:
    """A value taken apart.

    Parameters
    ----------
    head
        How its encoding begins: says the kind, and how many parts follow.
    parts
        What it consists of; a list or tuple.
    label
        Says of the n-th part how it is reached (``[3]``, ``.rate``); for messages.
    order
        Which order of the parts counts.
    """

    head: bytes
    parts: Sequence[Any]
    label: Callable[[int], str]
    order: Order = Order.GIVEN


class Refused(Exception):
    """A rule has no contents for a value. Becomes a NotCacheable with the path, in the walk.

    Parameters
    ----------
    reason
        What the value is: ``is a generator``.
    what_to_do
        The way out, where it is another than the usual ones.
    """

    def __init__(self, reason: str, what_to_do: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.what_to_do = what_to_do


Rule = Callable[[Any], "Contents | bytes"]
"""Takes a value apart, or encodes it. May raise Refused."""


def by_position(n: int) -> str:
    """Label the parts of a sequence."""
    return f"[{n}]"


def as_item(n: int) -> str:
    """Label the parts of something that has no order."""
    return "{…}"


def by_names(names: Sequence[str]) -> Callable[[int], str]:
    """Label parts that are attributes."""
    return lambda n: names[n]


def pairs_of(mapping: Any, items: Any = dict.items) -> tuple[list[Any], Callable[[int], str]]:
    """Return the keys and values of a dict in turn, and their labels."""
    parts = list(chain.from_iterable(items(mapping)))

    def label(n: int) -> str:
        key = cut(safe_repr(parts[n - n % 2]))
        return f"[{key}]" if n % 2 else f" (its key {key})"

    return parts, label


def safe_repr(value: Any) -> str:
    """Return the repr of a value, or the name of its type where that raises."""
    try:
        return repr(value)
    except Exception:  # a user's __repr__
        return f"<{type(value).__name__}>"


def cut(text: str, length: int = 60) -> str:
    """Shorten a text, in the middle of which the least is lost."""
    if len(text) <= length:
        return text
    return text[: length - 1] + "…"


def type_name(kind: type) -> str:
    """Return how a user reads a type: ``_thread.lock``, ``int``."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
