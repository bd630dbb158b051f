"""Where a flow is found again by another process: ``path/to/file.py:function``.

Lives here: naming a flow's place, and loading a flow from it. Does not live
here: what is done with the flow (``flow_resume.py``, the command line).
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from dataflow.exceptions import DataflowError, ResumeError

_loading: ContextVar[str | None] = ContextVar("dataflow_loading", default=None)


def entrypoint_of(fn: Callable[..., Any]) -> str | None:
    """Return ``"/path/file.py:qualified.name"``, None for what stands in no file."""
    plain = inspect.unwrap(getattr(fn, "__func__", fn))
    name = getattr(plain, "__qualname__", None)
    code = getattr(plain, "__code__", None)
    if name is None or code is None or code.co_filename.startswith("<"):
        return None
    return f"{Path(code.co_filename).resolve()}:{name}"


def load_flow(entrypoint: str) -> Any:
    """Return the flow at an entry point; its file is imported, not run as a script.

    Raises
    ------
    ResumeError
        There is no such file or flow, or the file cannot be imported; the text says which.
        Or it calls a flow as it is imported: no run was made.
    """
    path, _, name = entrypoint.rpartition(":")
    if not path or not name:
        raise ResumeError(
            f"{entrypoint!r} names no flow: write path/to/file.py:function.",
            entrypoint=entrypoint)
    file = Path(path).absolute()
    if "<locals>" in name:
        raise ResumeError(
            f"The flow at {entrypoint} was made inside of a function, so that it cannot be found "
            "from outside: call its .resume() or .retry() in the program that makes it.",
            entrypoint=entrypoint)
    if not file.is_file():
        raise ResumeError(f"The flow's file {path} is not there any more.", entrypoint=entrypoint)
    try:
        with _said_to_load(str(file)):
            found: Any = _module_of(file, entrypoint)
    except DataflowError:
        raise
    except (Exception, SystemExit) as error:  # user code: what the file does as it is imported
        raise ResumeError(f"{path} cannot be imported: {type(error).__name__}: {error}",
                          entrypoint=entrypoint) from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None or not hasattr(found, "resume"):
        raise ResumeError(f"{path} has no flow {name!r} any more.", entrypoint=entrypoint)
    return found


def refuse_while_loading(flow_name: str) -> None:
    """Raise ResumeError where a file that is being loaded for its flows calls one of them."""
    path = _loading.get()
    if path is not None:
        raise ResumeError(
            f"{path} calls flow {flow_name!r} as it is imported: that would be another run, and "
            "nothing was begun. Put the call at the end of the file under "
            "`if __name__ == \"__main__\":`.", entrypoint=path)


@contextmanager
def _said_to_load(path: str) -> Iterator[None]:
    token = _loading.set(path)
    try:
        yield
    finally:
        _loading.reset(token)


def _module_of(file: Path, entrypoint: str) -> Any:
    """Import a file under the name that it has in its package, or by its stem."""
    root, parts = file.parent, [] if file.stem == "__init__" else [file.stem]
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    name = ".".join(parts)
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(file):
        return known
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if len(parts) > 1:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ResumeError(f"{file} cannot be imported.", entrypoint=entrypoint)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
