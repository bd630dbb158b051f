"""The command that a pool begins a run with: words with placeholders, filled for each run.

Lives here: reading a template, what it may not say, filling it. Does not live here:
running the command (``commands.py``), where a template is kept (the pool's row), which words
are scripts (``script_words.py``).

A template is split into words before anything is put in, and a value stays within its
word: no name or parameter can become another word, let alone reach a shell.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataflow.exceptions import WorkPoolError
from dataflow.service.script_words import read_as_scripts

FACTS = (
    "flow_run_id", "name", "attempt", "priority", "flow", "deployment", "version",
    "pool", "queue", "worker", "store", "home", "python", "order", "order_file", "manifest",
    "environment",
)
"""What may stand in braces, beside the pool's own variables."""

_PLAIN = frozenset({"flow_run_id", "name", "attempt", "priority", "order"})
"""Those that are letters, digits, ``-``, ``_`` and ``=`` alone."""

_PLACE = re.compile(r"(?<![{$])\{([A-Za-z_][A-Za-z0-9_]*)\}(?!\})")
_KEYS = ("command", "cancel", "manifest", "variables")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandTemplate:
    """What a pool of type ``command`` runs.

    Attributes
    ----------
    command
        Its words; the command lasts as long as the run.
    cancel
        Words of a command that ends it; None: it is interrupted as by Ctrl-C.
    manifest
        JSON value in whose texts placeholders are filled; ``{manifest}`` is the file with it.
    variables
        Placeholders of the pool's own, such as ``image``.
    """

    command: tuple[str, ...]
    cancel: tuple[str, ...] | None = None
    manifest: Any = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def made(cls, command: str | Sequence[str], cancel: str | Sequence[str] | None = None,
             manifest: Any = None, variables: Mapping[str, str] | None = None) -> CommandTemplate:
        """Return the template that is meant.

        Parameters
        ----------
        command, cancel
            A text as a shell would split it, or its words.

        Raises
        ------
        WorkPoolError
            It cannot be used; the text says which part.
        """
        own = dict(variables or {})
        for name, value in own.items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name in FACTS:
                raise WorkPoolError(
                    f"{name!r} is no name of a variable of a pool: letters, digits and _, and none "
                    f"of {', '.join(FACTS)}.")
            _check_value(name, value)
        words = _words(command, "command")
        ends = None if cancel is None else _words(cancel, "cancel")
        for what, each in (("command", words), ("cancel", ends or ())):
            _check_words(what, each, {*FACTS, *own})
        _check_manifest(words, manifest, {*FACTS, *own})
        return cls(command=words, cancel=ends, manifest=manifest, variables=own)

    @classmethod
    def of_json(cls, facts: Mapping[str, Any]) -> CommandTemplate:
        """Return what :meth:`to_json` gave. Raises WorkPoolError."""
        unknown = sorted(set(facts) - set(_KEYS))
        if unknown or "command" not in facts:
            raise WorkPoolError(
                "A template is a mapping with command, and perhaps cancel, manifest, variables"
                + (f"; {unknown[0]!r} is none of them." if unknown else "."))
        return cls.made(facts["command"], facts.get("cancel"), facts.get("manifest"),
                        facts.get("variables"))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        facts: dict[str, Any] = {"command": list(self.command)}
        if self.cancel is not None:
            facts["cancel"] = list(self.cancel)
        if self.manifest is not None:
            facts["manifest"] = self.manifest
        if self.variables:
            facts["variables"] = dict(self.variables)
        return facts

    def uses(self, name: str) -> bool:
        """Tell whether a placeholder stands in one of the commands."""
        return any(name in _places(word) for word in (*self.command, *(self.cancel or ())))


def filled(words: Sequence[str], facts: Mapping[str, str],
           environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the words of a command with the values of a run in their places.

    Parameters
    ----------
    facts
        Values by placeholder.
    environment
        A word with ``{environment}`` is there once for each of these, as ``NAME=VALUE``.

    Raises
    ------
    WorkPoolError
        A value cannot stand there: it would begin a word with ``-``, as options do, or no
        command can be given it.
    """
    done: list[str] = []
    for word in words:
        if "environment" in _places(word):
            done += [_filled(word, {**facts, "environment": f"{name}={value}"})
                     for name, value in (environment or {}).items()]
        else:
            done.append(_filled(word, facts))
    return done


def filled_value(value: Any, facts: Mapping[str, str]) -> Any:
    """Return a JSON value with the values of a run in its texts."""
    if isinstance(value, str):
        return _put(value, facts)
    if isinstance(value, Mapping):
        return {name: filled_value(each, facts) for name, each in value.items()}
    if isinstance(value, list):
        return [filled_value(each, facts) for each in value]
    return value


def _filled(word: str, facts: Mapping[str, str]) -> str:
    done = _put(word, facts)
    if done.startswith("-") and not word.startswith("-"):
        raise WorkPoolError(
            f"{word} would be {done!r}, which a command takes for an option: write it into the "
            "template behind an option (--name={name}), or name it otherwise.")
    return done


def _put(text: str, facts: Mapping[str, str]) -> str:
    """Put values in, once: what stands in a value is never looked at."""
    def value(found: re.Match[str]) -> str:
        put = facts[found[1]]
        _check_value(found[1], put)
        return put

    return _PLACE.sub(value, text)


def _check_value(name: str, value: Any) -> None:
    if not isinstance(value, str) or "\0" in value:
        raise WorkPoolError(f"{name} is {value!r:.200}, which cannot stand in a command.")


def _places(text: str) -> list[str]:
    return _PLACE.findall(text)


def _words(given: str | Sequence[str], what: str) -> tuple[str, ...]:
    if isinstance(given, str):
        try:
            given = shlex.split(given)
        except ValueError as error:
            raise WorkPoolError(f"{what}: {error}. Quotes must be closed.") from None
    if not isinstance(given, (list, tuple)) or not all(isinstance(each, str) for each in given):
        raise WorkPoolError(f"{what} is a text or a list of words, not {given!r:.200}.")
    words = tuple(given)
    if not words or not words[0]:
        raise WorkPoolError(f"{what} is empty: its first word is the program.")
    for word in words:
        _check_value(what, word)
    return words


def _check_words(what: str, words: Sequence[str], known: set[str]) -> None:
    for word in words:
        for name in _places(word):
            _check_known(what, name, known)
    if words and set(_places(words[0])) - {"python"}:
        raise WorkPoolError(f"{what}: the program, {words[0]!r}, may hold no placeholder.")
    for word, shell in read_as_scripts(words):
        for name in _places(word):
            if name not in _PLAIN:
                raise WorkPoolError(
                    f"{what}: {{{name}}} stands where {shell} reads a script, which would read "
                    f"the value as one too. Write \"$1\" there, and {{{name}}} as a word of its "
                    f"own behind: sh -c 'run \"$1\"' sh {{{name}}}. (Allowed there: "
                    f"{', '.join(sorted(_PLAIN))}.)")


def _check_known(what: str, name: str, known: set[str]) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, 1)
    hint = f" Is {{{near[0]}}} meant?" if near else ""
    raise WorkPoolError(
        f"{what}: there is no placeholder {{{name}}}.{hint} There are: "
        f"{', '.join(sorted(known))}. A variable of the pool's own: --variable {name}=…")


def _check_manifest(words: Sequence[str], manifest: Any, known: set[str]) -> None:
    for text in _texts(manifest):
        for name in _places(text):
            if name in ("manifest", "environment"):
                raise WorkPoolError(f"manifest: {{{name}}} cannot stand in it.")
            _check_known("manifest", name, known)
    used = any("manifest" in _places(word) for word in words)
    if used != (manifest is not None):
        raise WorkPoolError("{manifest} in the command and --manifest go together.")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
