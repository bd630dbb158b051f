"""Globs of paths: ``*`` within a name, ``**`` over folders. Pure.

Lives here: the part before the first special character, and a regex. Does not live here:
looking at files (``looking.py``).
"""

from __future__ import annotations

import re
from functools import lru_cache

SPECIAL = re.compile(r"[*?\[]")


def base_of(path: str) -> str:
    """Return the folder that all names of a glob begin with, with its last slash.

    A path without special characters is returned whole.
    """
    found = SPECIAL.search(path)
    return path if found is None else path[:path.rfind("/", 0, found.start()) + 1]


@lru_cache(maxsize=1024)
def regex_of(path: str) -> re.Pattern[str]:
    """Return what fits the whole of a path."""
    made, at = [], 0
    while at < len(path):
        char = path[at]
        if path.startswith("**/", at):
            made.append("(?:[^/]+/)*")
            at += 3
            continue
        if path.startswith("**", at):
            made.append(".*")
            at += 2
            continue
        end = path.find("]", at + 2) if char == "[" else -1
        if end != -1:
            inner = path[at + 1:end].replace("\\", "\\\\")
            made.append(f"[^/{inner[1:]}]" if inner[0] in "!^" else f"(?!/)[{inner}]")
            at = end + 1
            continue
        made.append({"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char)))
        at += 1
    return re.compile("".join(made), re.DOTALL)
