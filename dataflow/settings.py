"""What the environment says: ``DATAFLOW_*`` variables and the files that stand for them.

Lives here: :func:`get_settings`. Does not live here: which settings there are
(``settings_value.py``), reading and validating the sources
(``settings_sources.py``, imported on first use: pydantic-settings takes
80 ms), or what anything does with a setting.

A value is taken from the first of these that has it:

1. the environment, e.g. ``DATAFLOW_LOG_LEVEL=DEBUG``;
2. ``.env`` in the current folder, with the same names;
3. ``dataflow.toml`` in the current folder: ``log_level = "DEBUG"``, or in tables
   (``[tasks]`` with ``default_retries = 2``);
4. ``[tool.dataflow]`` in ``pyproject.toml`` in the current folder, likewise;
5. the default.
"""

from __future__ import annotations

import os

from dataflow.settings_value import NAMES, PREFIX, Settings, variable

__all__ = ["NAMES", "Settings", "get_settings", "variable"]

FILES = (".env", "dataflow.toml", "pyproject.toml")


_Stamp = tuple[object, ...]
_cached: tuple[_Stamp, Settings] | None = None


def get_settings() -> Settings:
    """Return the settings of this moment.

    Raises
    ------
    SettingsError
        A value cannot be used, or a file cannot be read; the text names the
        variable, where its value came from, and the value.

    Notes
    -----
    Some 30 µs while neither the environment nor a file has changed; the first
    call in a process reads all sources (100 ms, most of it imports).
    """
    global _cached
    stamp = _stamp()
    if _cached is not None and _cached[0] == stamp:
        return _cached[1]
    from dataflow.settings_sources import load

    settings = load()
    _cached = (stamp, settings)
    return settings


def _stamp() -> _Stamp:
    """Return what changes whenever a source may have changed."""
    variables = [
        (name, value) for name, value in os.environ.items() if name[:9].upper() == PREFIX
    ]
    return os.environ.get("HOME"), os.getcwd(), variables, *map(_file_stamp, FILES)


def _file_stamp(name: str) -> tuple[int, int, int] | None:
    try:
        seen = os.stat(name)
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
