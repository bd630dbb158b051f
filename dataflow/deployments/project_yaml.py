"""YAML into plain values, with the line of each.

Lives here: what of YAML a project file may use, and all that is wrong with the
text itself. Does not live here: which keys there are (``project_models.py``).

Values are those of JSON, by the rules of YAML 1.2: ``yes``, ``on`` and ``06:00``
are texts, and so is a date. No tag makes an object; no key comes twice; aliases
are counted as often as they are used, and none may hold itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from dataflow.deployments.json_values import DEPTH, checked_text, json_copy

SIZE = 1 << 20
"""Characters of a project file."""

_VALUES = 50_000
_TAG = "tag:yaml.org,2002:"
_PLAIN: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {None: [
    (f"{_TAG}null", re.compile(r"(?:~|null|Null|NULL|)\Z")),
    (f"{_TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
    (f"{_TAG}int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")),
    (f"{_TAG}float", re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z|"
        r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")),
]}

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a project file.

    Attributes
    ----------
    line
        From 1; None where it is of no line.
    path
        ``deployments[0].schedules[1].cron``; "" for the file as a whole.
    text
        What is wrong.
    """

    line: int | None
    path: str
    text: str


class Document(NamedTuple):
    """What a text says, the lines of all that is in it, and what is wrong with it."""

    value: Any
    lines: dict[Path, int]
    problems: list[Problem]

    def problem(self, path: Path, text: str) -> Problem:
        """Return a mistake at a path, with the line of the nearest thing that is there."""
        at = path
        while at and at not in self.lines:
            at = at[:-1]
        return Problem(self.lines.get(at), dotted(path), text)


def dotted(path: Path) -> str:
    """Return a path as it is written: ``deployments[0].name``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path
                   ).removeprefix(".")


def read_yaml(text: str) -> Document:
    """Return what a text says. Never raises; nothing in it is run."""
    import yaml

    if len(text) > SIZE:
        long = Problem(None, "", f"has {len(text)} characters, at most {SIZE}")
        return Document(None, {}, [long])
    try:
        loader = yaml.SafeLoader(text)
        loader.yaml_implicit_resolvers = _PLAIN
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(filter(None, (error.context, error.problem)))
        return _unreadable(None if mark is None else mark.line + 1, said)
    except yaml.YAMLError as error:
        return _unreadable(None, " ".join(str(error).split()))
    except RecursionError:
        return _unreadable(None, "it is nested too deep")
    except (ValueError, OverflowError) as error:  # of an escape that is no character
        return _unreadable(None, str(error))
    if root is None:
        return Document(None, {}, [])
    reader = _Reader()
    value = reader.read(root, (), frozenset())
    return Document(value, reader.lines, reader.problems)


def _unreadable(line: int | None, said: str) -> Document:
    return Document(None, {}, [Problem(line, "", f"is no YAML that can be read: {said}")])


class _Reader:
    """Walks the nodes of a document; what is wrong is noted and left out."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self._left = _VALUES

    def read(self, node: Any, path: Path, around: frozenset[int]) -> Any:
        self._left -= 1
        if self._left < 0 or len(path) > DEPTH or id(node) in around:
            return self._wrong(node, path, self._too_much(path))
        kind = node.tag.removeprefix(_TAG)
        inside = around | {id(node)}
        if kind == "map" and node.id == "mapping":
            return self._mapping(node, path, inside)
        if kind == "seq" and node.id == "sequence":
            found = []
            for at, item in enumerate(node.value):
                self.lines[*path, at] = item.start_mark.line + 1
                found.append(self.read(item, (*path, at), inside))
            return found
        make = _SCALARS.get(kind) if node.id == "scalar" else None
        if make is None:
            return self._wrong(node, path, f"has the tag {kind!r}, which is refused: a project "
                               "file has texts, numbers, true, false, null, lists and mappings")
        try:
            value = make(node.value)
        except (ValueError, KeyError):
            return self._wrong(node, path, f"{node.value[:60]!r} is no {kind}")
        try:
            return json_copy(value, "")
        except ValueError as error:
            return self._wrong(node, path, str(error).strip())

    def _mapping(self, node: Any, path: Path, inside: frozenset[int]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in found:
                self.problems.append(Problem(
                    line, dotted((*path, key)), f"is there twice: first in line "
                    f"{self.lines[*path, key]}"))
                continue
            self.lines[*path, key] = line
            found[key] = self.read(value_node, (*path, key), inside)
        return found

    def _key(self, node: Any, path: Path) -> str | None:
        if node.id != "scalar" or node.tag != f"{_TAG}str":
            shown = f"the key {node.value[:60]!r}" if node.id == "scalar" else "a list as a key"
            self._wrong(node, path, f"has {shown}: keys are texts; write it in quotes")
            return None
        try:
            return checked_text(_joined(node.value), "a key")
        except ValueError as error:
            self._wrong(node, path, str(error))
            return None

    def _too_much(self, path: Path) -> str:
        if self._left < 0:
            return f"has more than {_VALUES} values, aliases included"
        return f"is nested more than {DEPTH} deep" if len(path) > DEPTH else "holds itself"

    def _wrong(self, node: Any, path: Path, text: str) -> Any:
        """Note a mistake, and return what stands in the place of the value: None."""
        if self._left >= -1:  # one such problem is enough
            self.problems.append(Problem(node.start_mark.line + 1, dotted(path), text))
        return None


def _joined(text: str) -> str:
    """Return a text whose characters are whole: JSON writes those beyond 65535 as two halves."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return text  # refused as it is


def _int(text: str) -> int:
    return int(text, 0) if text.lower().startswith(("0o", "0x")) else int(text)


def _float(text: str) -> float:
    return float(text.replace(".inf", "inf").replace(".nan", "nan").lower())


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": _joined,
    "int": _int,
    "float": _float,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "null": lambda text: None,
}
