"""What a user writes around an argument to say how it is to be taken.

Lives here: small wrappers that survive pickle. Does not live here: what they
lead to (``arguments.py``, ``mapping.py``).
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

from dataflow.resolve import Marker

T = TypeVar("T")


class _NotSetType:
    """The type of :data:`NotSet`; there is one instance."""

    _one: _NotSetType | None = None

    def __new__(cls) -> _NotSetType:
        if cls._one is None:
            cls._one = super().__new__(cls)
        return cls._one

    def __repr__(self) -> str:
        return "NotSet"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "NotSet"


NotSet: Final[Any] = _NotSetType()
"""Stands for an option that was not given, where None is a value of its own."""


class Annotation(Marker, Generic[T]):
    """Base of the annotations.

    Parameters
    ----------
    value
        What is annotated: data, a future, or a container with futures inside.
    """

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def unwrap(self) -> T:
        """Return what is annotated."""
        return self.value

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash((type(self), self.value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class unmapped(Annotation[T]):
    """Pass the value to every element of a map as it is, also where it is iterable."""

    __slots__ = ()


class allow_failure(Annotation[T]):
    """Run downstream even where the input failed.

    A failed input arrives as its exception, one that did not run as None.
    """

    __slots__ = ()


class quote(Annotation[T]):
    """Pass the value untouched: nothing inside of it is looked for or resolved."""

    __slots__ = ()

    def unquote(self) -> T:
        """Return what is quoted."""
        return self.value


class opaque(Annotation[T]):
    """Resolve the value itself where it is a future, but do not look inside of it."""

    __slots__ = ()


class flatten(Annotation[T]):
    """Map over the items of the items: one level of nesting is taken away, without a gather."""

    __slots__ = ()
