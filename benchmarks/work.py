"""The functions that are measured. Importable, so that raw Dask sends them by name.

Lives here: plain functions without any dataflow in them. Does not live here:
timing, tables, clusters (``harness.py``).
"""

from __future__ import annotations

import asyncio
import os
import pickle
import struct
import time
from typing import Any

NAP_S = 0.1
SLEEP_S = 1.0


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


def enter(folder: str, x: int) -> int:
    """Write into the ledger that an element runs, and when; do nothing else."""
    file = os.open(f"{folder}/{os.getpid()}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, struct.pack("<qd", x, time.time()))
    finally:
        os.close(file)
    return x


def enter_and_sleep(folder: str, x: int) -> float:
    """Write into the ledger that an element runs, sleep; return when it ended."""
    enter(folder, x)
    time.sleep(SLEEP_S)
    return time.time()
