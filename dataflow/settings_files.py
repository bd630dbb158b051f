"""Files of settings: where in one a setting stands, and changing one.

Lives here: names in nested tables, line numbers for the texts of errors, edits
of a ``dataflow.toml`` that keep its comments and order. Does not live here:
which files are read (``settings_sources.py``), the types of values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from dataflow.exceptions import SettingsError
from dataflow.settings_value import variable

_TABLE = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*([\w.\-\"' ]+?)\s*=")
_VARIABLE = re.compile(r"\s*(?:export\s+)?(\w+)\s*=")


def flat(table: Mapping[str, Any], front: str = "") -> Iterator[tuple[str, Any]]:
    """Join the names of nested tables: ``[tasks] default_retries`` is tasks_default_retries."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{front}{name}_")
        else:
            yield front + name, value


def line_of(source: str, name: str) -> int | None:
    """Return the line, from 1, where a file sets a setting; None where that cannot be told."""
    path = Path(source.partition(" [")[0])
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None  # the environment, or a file that has gone
    if path.suffix != ".toml":
        return next((at for at, line in enumerate(lines, 1) if (found := _VARIABLE.match(line))
                     and found[1].upper() == variable(name)), None)
    table = ""
    for at, line in enumerate(lines, 1):
        if found := _TABLE.match(line):
            table = _joined(found[1])
        elif (found := _KEY.match(line)) and _joined(f"{table}.{found[1]}") == name:
            return at
    return None


def _joined(key: str) -> str:
    """Return a dotted key as a setting's name; ``tool.dataflow`` in front is left out."""
    parts = [part.strip(" \"'") for part in key.split(".")]
    name = "_".join(part for part in parts if part)
    return name.removeprefix("tool_dataflow").removeprefix("_")


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Set settings in a TOML file; None takes one out. Comments and order are kept.

    The file is replaced as a whole, so that nobody reads half of it.

    Raises
    ------
    SettingsError
        It cannot be read or written; it is as it was.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(path.read_text()) if path.exists() else tomlkit.document()
        for name, value in values.items():
            holder, key = _place(document, name)
            if value is None:
                holder.pop(key, None)
            else:
                holder[key] = _plain(value)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
        fresh.write_text(tomlkit.dumps(document))
        os.replace(fresh, path)
    except TOMLKitError as error:
        raise SettingsError(f"{path} is no valid TOML: {error}. It was not changed.",
                            source=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be changed: {error}", source=str(path)) from error


def names_in(path: Path) -> set[str]:
    """Return the settings that a TOML file sets; none where there is no file."""
    import tomllib

    try:
        return {name for name, _ in flat(tomllib.loads(path.read_text()))}
    except (OSError, ValueError):
        return set()


def _place(table: MutableMapping[str, Any], name: str) -> tuple[MutableMapping[str, Any], str]:
    """Return the table in which a setting stands and its key there; else the table given."""
    if name in table:
        return table, name
    for key, inner in table.items():
        if isinstance(inner, MutableMapping) and name.startswith(f"{key}_"):
            rest = name[len(key) + 1:]
            holder, found = _place(inner, rest)
            if found in holder:
                return holder, found
    return table, name


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, bool | int | float) else str(value)
