"""Files of settings: which one is the project's, and tables in them that are no settings.

Lives here: where ``dataflow.toml`` is, reading ``[channels]`` and ``[[alerts]]``
whole. Does not live here: settings (``settings_sources.py``), what those tables
mean (``alerts/alert_files.py``).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataflow.exceptions import SettingsError

CONFIG = "DATAFLOW_CONFIG"
"""The variable that says where the project's file is; ``dataflow.toml`` in this folder else."""


def project_path() -> Path:
    """Return where the project's file is, or would be."""
    return Path(os.environ.get(CONFIG) or "dataflow.toml")


def project_file() -> Path | None:
    """Return the project's file; None where there is none.

    Raises
    ------
    SettingsError
        ``DATAFLOW_CONFIG`` names a file that is not there.
    """
    path = project_path()
    if path.is_file():
        return path
    if os.environ.get(CONFIG):
        raise SettingsError(f"{CONFIG} = {str(path)!r} names no file. Point it at a dataflow.toml, "
                            "or unset it.", variable=CONFIG, source="environment", value=str(path))
    return None


def is_whole(name: str, value: Any) -> bool:
    """Tell whether a value in a file is ``[channels]`` or ``[[alerts]]``, which are no settings.

    ``[alerts]`` is not: it holds the settings whose names begin so.
    """
    return (name, type(value)) in (("channels", dict), ("alerts", list))


def whole_tables(home_file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each file and those of its tables that are no settings, strongest first.

    Parameters
    ----------
    home_file
        The file that holds in every folder.

    Raises
    ------
    SettingsError
        A file cannot be read.
    """
    for path in _paths(home_file):
        if path.is_file() and (found := _whole(path)):
            yield str(path.absolute()), found


def _paths(home_file: Path) -> list[Path]:
    """Return where files may be, strongest first."""
    project = project_file()
    paths = [Path("pyproject.toml"), home_file]
    if project is not None:
        paths = [project, *(path for path in paths if path.absolute() != project.absolute())]
    return paths


def has_alerts(home_file: Path) -> bool:
    """Tell whether one of the files has ``[[alerts]]``; files that have not changed are not read.

    Raises
    ------
    SettingsError
        A file cannot be read.
    """
    return any(_has_alerts(path) for path in _paths(home_file))


_seen: dict[Path, tuple[tuple[int, int], bool]] = {}


def _has_alerts(path: Path) -> bool:
    try:
        facts = path.stat()
    except OSError:
        return False
    stamp = facts.st_mtime_ns, facts.st_size
    known = _seen.get(path.absolute())
    if known is None or known[0] != stamp:
        known = _seen[path.absolute()] = stamp, "alerts" in _whole(path)
    return known[1]


def _whole(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no valid TOML: {error}", source=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", source=str(path)) from error
    if path.name == "pyproject.toml":
        table = table.get("tool", {}).get("dataflow", {})
    return {name: value for name, value in table.items() if is_whole(name, value)}
