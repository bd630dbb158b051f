"""Where a flow is found again: ``path/to/file.py:function`` or ``package.module:function``.

Lives here: naming a flow's place, reading such a name, and loading a flow from
it. Does not live here: importing its module (``flow_modules.py``), what is done
with the flow (``flow_resume.py``, ``deployments/``, the command line).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from dataflow.exceptions import DataflowError, ResumeError
from dataflow.flow_modules import module_named, module_of_file

_OWN = f"{__name__.partition('.')[0]}."
_loading: ContextVar[str | None] = ContextVar("dataflow_loading", default=None)


@dataclass(frozen=True, slots=True)
class Entrypoint:
    """A flow's place, read from its text.

    Attributes
    ----------
    place
        A file, or a module's dotted name.
    name
        Of the flow within: ``main``, ``Reports.nightly``.
    is_module
        Whether ``place`` is a module's name.
    """

    place: str
    name: str
    is_module: bool

    @classmethod
    def parse(cls, text: str) -> Entrypoint:
        """Return what a text names; nothing is looked up.

        What ends with ``.py`` or has a slash is a file, and so is what can be no module's name.

        Raises
        ------
        ResumeError
            It names no flow.
        """
        place, _, name = text.rpartition(":")
        if not place or not name or "\0" in text:
            raise ResumeError(
                f"{text!r} names no flow: write path/to/file.py:function or "
                "package.module:function.", entrypoint=text)
        dotted = all(part.isidentifier() for part in place.split("."))
        return cls(place, name, dotted and not place.endswith(".py"))

    def __str__(self) -> str:
        return f"{self.place}:{self.name}"


def entrypoint_of(fn: Callable[..., Any]) -> str | None:
    """Return ``"/path/file.py:qualified.name"``, None for what stands in no file.

    Of a flow of this package the module: another host has it elsewhere.
    """
    plain = inspect.unwrap(getattr(fn, "__func__", fn))
    name = getattr(plain, "__qualname__", None)
    code = getattr(plain, "__code__", None)
    if name is None or code is None or code.co_filename.startswith("<"):
        return None
    if plain.__module__.startswith(_OWN):
        return f"{plain.__module__}:{name}"
    return f"{Path(code.co_filename).resolve()}:{name}"


def entrypoint_within(entrypoint: str, folder: str | os.PathLike[str]) -> str:
    """Return an entry point relative to a folder, so that a copy of the folder has it too.

    One of a module, or of a file outside of the folder, is returned as it is.
    """
    found = Entrypoint.parse(entrypoint)
    root = Path(folder).resolve()
    file = Path(found.place)
    if found.is_module or not file.resolve().is_relative_to(root):
        return entrypoint
    return f"{file.resolve().relative_to(root).as_posix()}:{found.name}"


def load_flow(entrypoint: str, folder: str | os.PathLike[str] | None = None) -> Any:
    """Return the flow at an entry point; its file is imported, not run as a script.

    Parameters
    ----------
    entrypoint
        ``path/to/file.py:function`` or ``package.module:function``.
    folder
        What a relative path is relative to, and where a module is looked for before
        ``sys.path``; by default the current folder.

    Raises
    ------
    ResumeError
        There is no such file, module or flow, or it cannot be imported; the text says which.
        Or it calls a flow as it is imported: no run was made. Or another file of its
        module's name is loaded in this process.
    """
    found = Entrypoint.parse(entrypoint)
    root = Path(os.curdir if folder is None else folder).absolute()
    if "<locals>" in found.name:
        raise ResumeError(
            f"The flow at {entrypoint} was made inside of a function, so that it cannot be found "
            "from outside: call its .resume() or .retry() in the program that makes it.",
            entrypoint=entrypoint)
    file = root / found.place
    load: Callable[[], Any]
    # a script may have the name of a module: what is there counts
    if found.is_module and not file.is_file():
        what = f"module {found.place}"
        load = partial(module_named, found.place, root, entrypoint)
    elif file.is_file():
        what = str(file) if folder is not None else found.place
        load = partial(module_of_file, file, entrypoint)
    else:
        where = "" if Path(found.place).is_absolute() else f" in {root}"
        raise ResumeError(
            f"There is no file {found.place}{where}, in which flow {found.name!r} is looked for. "
            "What to do: check the path (path/to/file.py:function), or put the file back.",
            entrypoint=entrypoint)
    return _flow_in(_loaded(load, what, entrypoint), found.name, what, entrypoint)


def _loaded(load: Callable[[], Any], what: str, entrypoint: str) -> Any:
    try:
        with _said_to_load(what):
            return load()
    except DataflowError:
        raise
    except (Exception, SystemExit) as error:  # user code: what the file does as it is imported
        hint = " What to do: install it where the flow is loaded." if isinstance(
            error, ModuleNotFoundError) else ""
        raise ResumeError(f"{what} cannot be imported: {type(error).__name__}: {error}.{hint}",
                          entrypoint=entrypoint) from error


def _flow_in(module: Any, name: str, what: str, entrypoint: str) -> Any:
    found = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not None and hasattr(found, "resume"):
        return found
    if found is not None:
        raise ResumeError(
            f"{name!r} in {what} is no flow, but of type {type(found).__name__}. What to do: put "
            "@flow before the function.", entrypoint=entrypoint)
    there = sorted(key for key, each in vars(module).items()
                   if hasattr(each, "resume") and hasattr(each, "to_deployment"))
    near = get_close_matches(name, there, 1)
    hint = f"Is {near[0]!r} meant?" if near else (
        f"It has: {', '.join(there)}." if there else "It has none: a flow is a function with @flow "
        "before it.")
    raise ResumeError(f"{what} has no flow {name!r}. {hint}", entrypoint=entrypoint)


def refuse_while_loading(flow_name: str) -> None:
    """Raise ResumeError where a file that is being loaded for its flows calls one of them."""
    path = _loading.get()
    if path is not None:
        raise ResumeError(
            f"{path} calls flow {flow_name!r} as it is imported: that would be another run, and "
            "nothing was begun. Put the call at the end of the file under "
            "`if __name__ == \"__main__\":`.", entrypoint=path)


def refuse_to_serve_while_loading(what: str) -> None:
    """Raise ResumeError where a file that is being loaded for its flows serves or deploys them."""
    path = _loading.get()
    if path is not None:
        raise ResumeError(
            f"{path} calls {what} as it is imported: each run would do so again, and nothing was "
            "begun. Put the call at the end of the file under `if __name__ == \"__main__\":`.",
            entrypoint=path)


@contextmanager
def _said_to_load(path: str) -> Iterator[None]:
    token = _loading.set(path)
    try:
        yield
    finally:
        _loading.reset(token)
