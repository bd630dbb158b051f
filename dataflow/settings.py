"""What the environment says: ``DATAFLOW_*`` variables and the files that stand for them.

Lives here: :func:`get_settings` and :func:`temporary_settings`. Does not live
here: which settings there are (``settings_value.py``), reading and validating
the sources (``settings_sources.py``, imported on first use: pydantic-settings
takes 80 ms; ``settings_plain.py`` where nothing is set), writing files
(``settings_files.py``), or what anything does with a setting.

A value is taken from the first of these that has it:

1. :func:`temporary_settings`;
2. the environment, e.g. ``DATAFLOW_LOG_LEVEL=DEBUG``;
3. ``.env`` in the current folder, with the same names;
4. ``dataflow.toml`` in the current folder, or the file that ``DATAFLOW_CONFIG`` names:
   ``log_level = "DEBUG"``, or in tables (``[tasks]`` with ``default_retries = 2``);
5. ``[tool.dataflow]`` in ``pyproject.toml`` in the current folder, likewise;
6. ``dataflow.toml`` in ``DATAFLOW_HOME``, which ``dataflow config set`` writes;
7. the default.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dataflow.settings_value import NAMES, PREFIX, Settings, named, variable

__all__ = ["NAMES", "Settings", "get_settings", "temporary_settings", "variable"]

FILES = (".env", "pyproject.toml")


_Stamp = tuple[object, ...]
_cached: tuple[_Stamp, Settings] | None = None
_temporary: tuple[tuple[int, dict[str, Any]], ...] = ()
"""Of the blocks around, the outermost first: a number of its own, its values."""
_numbers = itertools.count()


def get_settings() -> Settings:
    """Return the settings of this moment.

    Raises
    ------
    SettingsError
        A value cannot be used, or a file cannot be read; the text names the
        variable, where its value came from, and the value.

    Notes
    -----
    Some 40 µs while neither the environment nor a file has changed; the first
    call in a process reads all sources (100 ms, most of it imports; 1 ms where no more is set
    than ``DATAFLOW_HOME`` and ``DATAFLOW_STORE``).
    """
    global _cached
    stamp = _stamp()
    if _cached is not None and _cached[0] == (*stamp, _file_stamp(_cached[1].file)):
        return _cached[1]
    from dataflow.settings_plain import plain

    settings = None if _temporary else plain()
    if settings is None:
        from dataflow.settings_sources import load

        settings = load({name: value for _, block in _temporary for name, value in block.items()})
    _cached = ((*stamp, _file_stamp(settings.file)), settings)
    return settings


@contextmanager
def temporary_settings(
    updates: Mapping[str, Any] | None = None, /, **changes: Any
) -> Iterator[Settings]:
    """Change settings inside of the block, over every other source; blocks nest.

    Parameters
    ----------
    updates, changes
        New values by name: ``log_level="DEBUG"`` or ``{"DATAFLOW_LOG_LEVEL": "DEBUG"}``.

    Raises
    ------
    SettingsError
        There is no such setting, or the value cannot be used. Nothing was changed.

    Notes
    -----
    They hold for the whole process, not only for the thread at hand.
    """
    global _temporary
    values = {named(name): value for name, value in {**(updates or {}), **changes}.items()}
    block = (next(_numbers), values)
    _temporary = (*_temporary, block)
    try:
        yield get_settings()
    finally:
        _temporary = tuple(each for each in _temporary if each is not block)


def _stamp() -> _Stamp:
    """Return what changes whenever a source may have changed."""
    variables = [
        (name, value) for name, value in os.environ.items() if name[:9].upper() == PREFIX
    ]
    blocks = tuple(number for number, _ in _temporary)
    files = (os.environ.get("DATAFLOW_CONFIG") or "dataflow.toml", *FILES)
    return blocks, os.environ.get("HOME"), os.getcwd(), variables, *map(_file_stamp, files)


def _file_stamp(name: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    try:
        seen = os.stat(name)
    except OSError:
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino
