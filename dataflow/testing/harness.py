"""A home for the time of a test.

Lives here: :func:`harness`. Does not live here: anything a test of dataflow
itself needs (``tests/``).
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataflow.settings import temporary_settings

_MEMORY = "/dev/shm"
_HOME = "DATAFLOW_HOME"


@contextmanager
def harness(server_startup_timeout: float | None = None) -> Iterator[Path]:
    """Record the runs of the block in a home of its own, and forget them at its end.

    The home lies in memory where the platform has a place for that. Processes
    that are started inside see it too (``DATAFLOW_HOME``). All other settings
    are as they are; afterwards everything is as it was before. Blocks nest, and
    the function is a decorator as well.

    Parameters
    ----------
    server_startup_timeout
        Without meaning: no server is started.

    Yields
    ------
    Path
        The home.
    """
    home = Path(tempfile.mkdtemp(prefix="dataflow-", dir=_fast_folder()))
    before = os.environ.get(_HOME)
    package = logging.getLogger("dataflow")
    handlers, level = list(package.handlers), package.level
    os.environ[_HOME] = str(home)
    try:
        with temporary_settings(home=home, store=None):
            yield home
    finally:
        if before is None:
            os.environ.pop(_HOME, None)
        else:
            os.environ[_HOME] = before
        package.handlers[:] = handlers
        package.setLevel(level)
        shutil.rmtree(home, ignore_errors=True)


def _fast_folder() -> str | None:
    """Return a folder in memory, None where there is none."""
    return _MEMORY if os.path.isdir(_MEMORY) and os.access(_MEMORY, os.W_OK) else None
