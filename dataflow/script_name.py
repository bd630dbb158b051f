"""What the running script is called where it is imported.

Lives here: the one name for all ways to run a file. Does not live here: names
of what is in it (``hashing/names.py``, ``partitions.py``). Loaded with every
task that a script defines: it imports nothing of ours.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path


def main_name() -> str | None:
    """Return the name under which this process's ``__main__`` would be imported.

    ``python package/module.py``, ``python -m package.module`` and an import give one name.
    """
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:  # python -m package.module
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return _module_at(file) if file and not file.startswith("<") else None


@lru_cache(maxsize=8)
def _module_at(file: str) -> str:
    """Return the name of the module in a file: with those of the packages it stands in."""
    path = Path(file).resolve()
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts).removesuffix(".__main__")
