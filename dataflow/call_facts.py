"""What is recorded of a call whose results are kept, so that its keys can be explained.

Lives here: from a call to the fields of its record: code, policy, storage, and
the arguments that all of its elements share. Does not live here: the
explanation (``explaining.py``).
"""

from __future__ import annotations

import json
from typing import Any

from dataflow.batch import CallCode, Const

_LEAVES = 100  # parts of arguments that are recorded of a call
_TEXT = 60


def facts_of(code: CallCode, args: tuple[Any, ...] | None = None,
             kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the fields of a :class:`dataflow.store.CallRecord` that tell how it is cached.

    Parameters
    ----------
    code
        The call.
    args, kwargs
        Of a direct call, as the function gets them; else the constants of ``code`` count.
    """
    caching = code.task.caching  # dataflow.caching.Caching
    if caching is None:
        return {}
    if args is None:
        named = [(name, source.value) for name, source in
                 (*zip(code.names, code.args, strict=False), *code.kwargs.items())
                 if type(source) is Const]
    else:
        named = [*zip(code.names, args, strict=False), *(kwargs or {}).items()]
    return {
        "code": caching.code, "partition": caching.place, "policy": caching.policy,
        "storage": caching.storage.location, "constants": _constants(named),
    }


def _constants(named: list[tuple[str, Any]]) -> str | None:
    if not named:
        return None
    from dataflow.hashing import leaves

    found: list[list[str]] = []
    for name, value in named:
        found += [[leaf.path, leaf.digest.hex(), leaf.text[:_TEXT]]
                  for leaf in leaves(value, name=name, limit=_LEAVES)]
    return json.dumps(found[:_LEAVES])
