"""Every public name of Prefect, and what becomes of it here: writes the tables of from-prefect.md.

    python docs/prefect_names.py            # write the tables
    python docs/prefect_names.py --check    # only say whether they are as they would be written

The names are read from the Prefect that is installed beside this interpreter (an environment of its
own does: this file imports nothing of ours) and kept, with the versions, in prefect_names.json;
where Prefect is not installed they are taken from there. The answers stand in prefect_names.toml.
A name without an answer, or an answer without a name, ends it with exit code 1.

Lives here: reading, holding against each other, writing. Does not live here: any answer.
"""

from __future__ import annotations

import inspect
import json
import sys
import tomllib
import typing
import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES, ANSWERS, GUIDE = (HERE / name for name in (
    "prefect_names.json", "prefect_names.toml", "from-prefect.md"))
BEGIN, END = "<!-- tables: made by prefect_names.py -->", "<!-- end of the tables -->"

PACKAGES = ("prefect", "prefect-dask", "prefect-shell")
MODULES = """
    prefect prefect.tasks prefect.flows prefect.futures prefect.task_runners
    prefect.utilities.annotations prefect.states prefect.exceptions prefect.context prefect.logging
    prefect.runtime.flow_run prefect.runtime.task_run prefect.runtime.deployment prefect.settings
    prefect.testing.utilities prefect.cache_policies prefect.results prefect.serializers
    prefect.filesystems prefect.locking.memory prefect.locking.filesystem prefect.locking.protocol
    prefect.transactions prefect.concurrency.sync prefect.concurrency.asyncio prefect.artifacts
    prefect.assets prefect.variables prefect.blocks.core prefect.blocks.system
    prefect.blocks.notifications prefect.blocks.abstract prefect.blocks.webhook
    prefect.blocks.redis prefect.flow_runs prefect.input prefect.schedules prefect.deployments
    prefect.deployments.runner prefect.docker prefect.runner prefect.workers.base
    prefect.task_worker prefect.events prefect.automations prefect.client.orchestration
    prefect.client.schemas.objects prefect_dask prefect_shell
""".split()
KEYWORDS = {"@task(...)": "prefect.Task", "@flow(...)": "prefect.Flow",
            "DaskTaskRunner(...)": "prefect_dask.DaskTaskRunner"}
METHODS = {"Task": "prefect.Task", "Flow": "prefect.Flow"}
KEYS = ("module", "answer", "names", "note", "ours")
KINDS = ("same", "better", "not yet", "never")


def public_names(module: str) -> list[str]:
    """Return a module's ``__all__``, else what it defines or its own submodules define."""
    found = import_module(module)
    if hasattr(found, "__all__"):
        return sorted(found.__all__)
    return sorted(name for name, value in vars(found).items() if _is_own(module, name, value))


def _is_own(module: str, name: str, value: Any) -> bool:
    if name.startswith("_") or isinstance(value, typing.TypeVar | typing.ParamSpec):
        return False
    home = str(getattr(value, "__module__", ""))
    return name.isidentifier() and (home == module or home.startswith(f"{module}."))


def _class_at(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def keywords_and_methods() -> dict[str, list[str]]:
    """Return the keywords of what people call most, and the methods of what they hold most."""
    found = {}
    for title, path in KEYWORDS.items():
        parameters = inspect.signature(_class_at(path).__init__).parameters
        found[title] = sorted(set(parameters) - {"self", "fn"})
    for title, path in METHODS.items():
        found[title] = [name for name in dir(_class_at(path)) if not name.startswith("_")]
    return found


def installed() -> dict[str, Any] | None:
    """Return versions and names of the Prefect that is installed, None where there is none."""
    if find_spec("prefect") is None:
        return None
    warnings.simplefilter("ignore")
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            sys.exit(f"{package} is not installed beside prefect: all of {', '.join(PACKAGES)} "
                     "are needed to read the names")
    names = keywords_and_methods() | {module: public_names(module) for module in MODULES}
    return {"versions": versions, "names": names}


def known() -> dict[str, Any]:
    """Return versions and names as they were read last."""
    found: dict[str, Any] = json.loads(NAMES.read_text(encoding="utf-8"))
    return found


def answers() -> list[dict[str, Any]]:
    """Return the rows of answers, in the order of the tables."""
    rows: list[dict[str, Any]] = tomllib.loads(ANSWERS.read_text(encoding="utf-8"))["row"]
    return rows


def problems(names: dict[str, list[str]], rows: list[dict[str, Any]]) -> list[str]:
    """Return what is wrong: names without a row, rows without a name, names with two rows."""
    found, seen = [], set()
    for row in rows:
        if row["answer"] not in KINDS:
            found.append(f"{row['module']}: answer {row['answer']!r} is none of {KINDS}")
        found += [f"{row['module']}: {key!r} is no key of a row" for key in row if key not in KEYS]
        for name in row["names"]:
            if (row["module"], name) in seen:
                found.append(f"{row['module']}.{name} has two rows")
            seen.add((row["module"], name))
    there = {(module, name) for module, owned in names.items() for name in owned}
    found += [f"{module}.{name} has no row" for module, name in sorted(there - seen)]
    found += [f"{module}.{name} is no name of Prefect" for module, name in sorted(seen - there)]
    return found


def home_of(row: dict[str, Any]) -> str:
    """Return our module of a row's names; nothing for keywords and methods."""
    module: str = row["module"]
    if module in KEYWORDS or module in METHODS:
        return ""
    for theirs, ours in (("prefect_dask", "runners"), ("prefect_shell", "dataflow.shell"),
                         ("prefect", "dataflow")):
        if module == theirs or module.startswith(f"{theirs}."):
            return str(row.get("ours", ours + module.removeprefix(theirs)))
    raise ValueError(module)


def tables(found: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the tables, one for each module."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    counts = {kind: sum(len(row["names"]) for row in rows if row["answer"] == kind)
              for kind in KINDS}
    lines = [BEGIN, "", f"All public names of {versions}: " + ", ".join(
        f"{count} {kind}" for kind, count in counts.items()) + ".", ""]
    for module in found["names"]:
        own = [row for row in rows if row["module"] == module]
        if not own:
            continue
        lines += [f"### {module}", "", "| name | | here | note |", "|---|---|---|---|"]
        for row in own:
            home = home_of(row)
            here = f"`{home}`" if home and row["answer"] in ("same", "better") else ""
            names = ", ".join(f"`{name}`" for name in row["names"])
            lines.append(f"| {names} | {row['answer']} | {here} | {row.get('note', '')} |")
        lines.append("")
    return "\n".join([*lines, END])


def guide(text: str, made: str) -> str:
    """Return the guide with its tables replaced."""
    before, _, rest = text.partition(BEGIN)
    return before + made + rest.partition(END)[2]


def main(arguments: list[str]) -> int:
    """Write or check; return the exit code."""
    found = installed()
    if found is None:
        found = known()
    elif "--check" not in arguments:
        NAMES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    rows = answers()
    wrong = problems(found["names"], rows)
    print(*wrong, sep="\n", end="\n" if wrong else "")
    old = GUIDE.read_text(encoding="utf-8")
    new = guide(old, tables(found, rows))
    if "--check" in arguments:
        if new != old:
            print("from-prefect.md is not what its table says: run python docs/prefect_names.py")
            return 1
    else:
        GUIDE.write_text(new, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
