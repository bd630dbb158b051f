"""A cache key of a task and its inputs, under the name that people know from Prefect.

Lives here: :func:`task_input_hash`. Does not live here: the keys that policies make,
which cost less and count more (``cache_keys.py``).
"""

from __future__ import annotations

from typing import Any


def task_input_hash(context: Any, arguments: dict[str, Any]) -> str | None:
    """Return a key of a task, the code of its function alone, and its arguments.

    For ``cache_key_fn``, and to be built upon in functions for it. What helpers do and
    globals say does not count: ``cache_policy=TASK_SOURCE + INPUTS`` looks at them too.

    Parameters
    ----------
    context
        Of the task run.
    arguments
        Of the function, by name.

    Raises
    ------
    NotCacheable
        An argument has no digest; the task runs, and its state says which and why.
    """
    from dataflow.hashing import digest
    from dataflow.partitions import partition_of

    task = context.task
    code = getattr(task.fn, "__code__", None)
    parts = (partition_of(task), b"" if code is None else code.co_code)
    return digest((*parts, {name: digest(value, name=f"args[{name!r}]")
                            for name, value in arguments.items()})).hex()
