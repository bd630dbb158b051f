"""The functions that are measured. Importable, so that raw Dask sends them by name.

Lives here: plain functions without any dataflow in them. Does not live here:
timing, tables, clusters (``harness.py``).
"""

from __future__ import annotations

import asyncio
import pickle
import time
from typing import Any

NAP_S = 0.1


def identity(x: Any) -> Any:
    """Do nothing."""
    return x


def increment(x: int) -> int:
    """Do next to nothing."""
    return x + 1


def add(a: int, b: int) -> int:
    """Join two branches."""
    return a + b


def identity_chunk(chunk: range) -> list[int]:
    """Do nothing to many, as someone chunks by hand."""
    return [identity(x) for x in chunk]


def identity_chunk_pickled(chunk: range) -> bytes:
    """Do nothing to many, and return one opaque object."""
    return pickle.dumps([identity(x) for x in chunk], protocol=5)


def now(_: Any) -> float:
    """Return the time at which the element ran (the clock all processes share)."""
    return time.time()


def busy(seconds: float) -> float:
    """Keep a core busy for so long; return how long it really was."""
    began = time.perf_counter()
    until = began + seconds
    while time.perf_counter() < until:
        pass
    return time.perf_counter() - began


def nap(x: int) -> int:
    """Wait, and keep the thread."""
    time.sleep(NAP_S)
    return x


async def nap_async(x: int) -> int:
    """Wait, and let others go on."""
    await asyncio.sleep(NAP_S)
    return x


def make_block(megabytes: int) -> Any:
    """Return an array of so many megabytes."""
    import numpy as np

    return np.ones(megabytes * 125_000)


def consume_block(block: Any) -> int:
    """Look at a block without changing it; return its size in bytes."""
    return int(block[::4096].sum() * 0 + block.nbytes)
