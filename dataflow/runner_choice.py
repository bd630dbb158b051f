"""Which task runner a flow run gets.

Lives here: an instance, a class or a name turned into a runner; names go
through the entry-point group ``dataflow.runners``. Does not live here: any
runner.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from dataflow.exceptions import DefinitionError, DefinitionTypeError, SettingsError
from dataflow.runner import TaskRunner

GROUP = "dataflow.runners"
DEFAULT = "threads"

RunnerOption = TaskRunner | type[TaskRunner] | str

_OURS = frozenset({"inline", "threads", "dask"})  # known without looking at what is installed


_loaded: dict[str, type[TaskRunner]] = {}


def check_runner(option: object, owner: str) -> RunnerOption | None:
    """Return the option where it can be meant.

    Raises
    ------
    DefinitionTypeError
        It is neither a runner, nor a class of one, nor a name.
    DefinitionError
        No installed runner has that name.
    """
    if isinstance(option, str):
        known = {*_OURS, *_installed()} if option not in _OURS else _OURS
        if option not in known:
            raise DefinitionError(
                f"task_runner of {owner}: {_nobody(option, known)}", option="task_runner")
        return option
    if option is None or isinstance(option, TaskRunner):
        return option
    if isinstance(option, type) and issubclass(option, TaskRunner):
        return option
    raise DefinitionTypeError(
        f"task_runner of {owner} must be a task runner, a class of one or a name like 'dask', "
        f"got {option!r}", option="task_runner")


def new_runner(option: RunnerOption) -> TaskRunner:
    """Return a runner that has not started, for one flow run.

    Raises
    ------
    SettingsError
        No runner has that name, or it cannot be imported; the text says why.
    """
    if isinstance(option, TaskRunner):
        return option.duplicate()
    if isinstance(option, str):
        option = runner_class(option)
    return option()


def runner_class(name: str) -> type[TaskRunner]:
    """Return the class that an installed package offers under a name.

    Raises
    ------
    SettingsError
        There is none, or it cannot be imported; the text says why.
    """
    if name in _loaded:  # what is installed takes milliseconds to look through
        return _loaded[name]
    known = _installed()
    if name not in known:
        raise SettingsError(_nobody(name, known))
    point = known[name]
    try:
        found: type[TaskRunner] = point.load()
    except (ImportError, AttributeError) as error:
        raise SettingsError(_why_not(point, error)) from error
    _loaded[name] = found
    return found


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _nobody(name: str, known: Iterable[str]) -> str:
    return (f"there is no task runner {name!r}; known are {', '.join(sorted(known)) or 'none'}. "
            f"Runners are found by the entry-point group {GROUP} of installed packages.")


def _why_not(point: EntryPoint, error: Exception) -> str:
    """Say why a runner cannot be imported, above all when another folder is in its place."""
    package = point.module.partition(".")[0]
    other = _file_of(package)
    ours = Path(__file__).parent.parent / package
    if package == "runners" and other is not None and ours not in (other, other.parent):
        return (
            f"Task runner {point.name!r} is {point.value} of dataflow, but {str(other)!r} is found "
            f"first under the name {package!r}: rename it, or start Python from another folder")
    return f"Task runner {point.name!r} ({point.value}) cannot be imported: {error}"


def _file_of(package: str) -> Path | None:
    module = sys.modules.get(package)
    if module is None:
        return None
    if getattr(module, "__file__", None):
        return Path(str(module.__file__))
    paths = list(getattr(module, "__path__", ()))
    return Path(paths[0]) if paths else None
