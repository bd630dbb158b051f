"""Options of tasks and flows, read one by one and checked.

Lives here: what can be wrong with a value of each kind, and the text of the error.
Does not live here: which options there are (``options.py``, ``flow_options.py``,
``caching_options.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from dataflow.annotations import NotSet
from dataflow.exceptions import DefinitionError, DefinitionTypeError


class Check:
    """Reads options one by one; each error names the option and its owner."""

    def __init__(self, owner: str, given: Mapping[str, Any]) -> None:
        self._owner = owner
        self._given = given

    def get(self, option: str) -> Any:
        """Return what was given, None where nothing was."""
        value = self._given.get(option)
        return None if value is NotSet else value

    def wrong(self, option: str, rule: str) -> NoReturn:
        """Raise for a value that is out of bounds."""
        raise DefinitionError(
            f"{option} of {self._owner} must be {rule}, got {self.get(option)!r}", option=option)

    def wrong_type(self, option: str, rule: str) -> NoReturn:
        """Raise for a value of the wrong type."""
        raise DefinitionTypeError(
            f"{option} of {self._owner} must be {rule}, got "
            f"{type(self.get(option)).__name__} {self.get(option)!r}", option=option)

    def text(self, option: str) -> str | None:
        """Return a str or None."""
        value = self.get(option)
        if value is not None and not isinstance(value, str):
            self.wrong_type(option, "a str")
        return value

    def flag(self, option: str) -> bool | None:
        """Return a bool or None."""
        value = self.get(option)
        if value is not None and not isinstance(value, bool):
            self.wrong_type(option, "a bool")
        return value

    def function(self, option: str) -> Callable[..., Any] | None:
        """Return a callable or None."""
        value = self.get(option)
        if value is not None and not callable(value):
            self.wrong_type(option, "callable")
        return value  # type: ignore[no-any-return]  # callable, as just checked

    def names(self, option: str) -> tuple[str, ...]:
        """Return several texts."""
        value = self.get(option)
        if value is None:
            return ()
        if isinstance(value, str) or not isinstance(value, Iterable):
            self.wrong_type(option, "an iterable of str")
        found = tuple(value)
        if not all(isinstance(name, str) for name in found):
            self.wrong_type(option, "an iterable of str")
        return found

    def hooks(self, option: str) -> tuple[Callable[..., Any], ...]:
        """Return several callables."""
        value = self.get(option)
        if value is None:
            return ()
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            self.wrong_type(option, "an iterable of callables, e.g. [notify]")
        found = tuple(value)
        for hook in found:
            if not callable(hook):
                raise DefinitionTypeError(
                    f"{option} of {self._owner} must hold callables only, got "
                    f"{type(hook).__name__} {hook!r}", option=option)
        return found

    def number(self, option: str, value: Any, *, above_zero: bool = False) -> float:
        """Return a finite number >= 0 (> 0)."""
        if isinstance(value, bool) or not hasattr(value, "__float__") or isinstance(value, str):
            self.wrong_type(option, "a number")
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond all bounds
            number = math.inf
        if not math.isfinite(number) or number < 0 or (above_zero and number == 0):
            self.wrong(option, "a finite number " + ("> 0" if above_zero else ">= 0"))
        return number

    def whole(self, option: str, least: int | None) -> int | None:
        """Return an int that is at least ``least``, or None."""
        value = self.get(option)
        if value is None:
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.wrong(option, "a finite int")
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            self.wrong_type(option, "an int")
        if least is not None and value < least:
            self.wrong(option, f"at least {least}")
        return int(value)
