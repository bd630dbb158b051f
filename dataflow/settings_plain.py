"""The settings where next to nothing is set, which is most often: without a check of types.

Lives here: telling that it is so. Does not live here: all other cases
(``settings_sources.py``, whose imports take 100 ms: commands that show a table would wait
for them).
"""

from __future__ import annotations

import os
from pathlib import Path

from dataflow.exceptions import SettingsError
from dataflow.settings_tables import project_file
from dataflow.settings_value import NAMES, PREFIX, Settings

_TEXTS = ("home", "store")
"""Settings that are any text that is not empty."""


def plain() -> Settings | None:
    """Return the settings where only ``home`` and ``store`` are set, in the environment.

    None where a file or a variable may say more.

    Raises
    ------
    SettingsError
        No home directory can be found, or ``DATAFLOW_CONFIG`` names a file that is not there.
    """
    given: dict[str, str] = {}
    for variable, value in os.environ.items():
        name = variable[len(PREFIX):].lower()
        if variable[:len(PREFIX)].upper() == PREFIX and name in NAMES and value:
            if name not in _TEXTS or variable != variable.upper():
                return None
            given[name] = value
    if os.path.exists(".env") or project_file() is not None or _may_say("pyproject.toml"):
        return None
    home = absolute(Path(given.get("home", "~/.dataflow")))
    if (home / "dataflow.toml").exists():
        return None
    return Settings(home=home, store=given.get("store"), sources={
        name: "environment" if name in given else "default" for name in NAMES})


def _may_say(file: str) -> bool:
    """Tell whether a file of other people may have a table of ours."""
    try:
        return b"dataflow" in Path(file).read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True


def absolute(path: Path) -> Path:
    """Return a home as an absolute path. Raises SettingsError."""
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # no home directory can be found
        raise SettingsError(
            f"DATAFLOW_HOME = {str(path)!r} cannot be used: {error}. Give an absolute path.",
            variable="DATAFLOW_HOME", source="default", value=str(path),
        ) from error
