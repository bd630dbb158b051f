"""Where in a source the file of a flow stands, which is loaded from elsewhere.

Lives here: the place of a file in a folder, or in a repository or archive of what is here.
Does not live here: sources (``code_sources.py``), places as texts (``dataflow.entrypoints``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from dataflow.deployments.code_sources import Source
from dataflow.entrypoints import Entrypoint, entrypoint_within


def place_in_source(entrypoint: str, source: str | Mapping[str, Any]) -> str:
    """Return an entry point relative to a source.

    In a folder: of a file within it; of one outside, under which the folder has a file with
    the same path as from the current folder, or of the same name, that one. In a repository
    or archive: as from the current folder, which is taken for a copy of its root. Where
    nothing is found the entry point stays as it is.
    """
    parsed = Source.parse(source)
    here = Entrypoint.parse(entrypoint_within(entrypoint, os.getcwd()))
    if parsed.kind != "folder":
        return f"{_below(here.place, parsed.subfolder)}:{here.name}"
    root = Path(os.path.expanduser(parsed.url)).absolute()
    inside = Entrypoint.parse(entrypoint_within(entrypoint, root))
    if inside.is_module or not Path(inside.place).is_absolute():
        return str(inside)
    for place in (here.place, Path(here.place).name):
        if not Path(place).is_absolute() and (root / place).is_file():
            return f"{place}:{here.name}"
    return entrypoint


def _below(place: str, subfolder: str | None) -> str:
    path = PurePosixPath(place)
    if subfolder and path.is_relative_to(subfolder):
        return str(path.relative_to(subfolder))
    return place
