"""Whether a call of a resumed run is about the same things as the one that was recorded.

Lives here: samples of what a map goes over, recorded with it, and the
comparison. Does not live here: which recorded call it is (``resumption.py``).

A flow function that lists a folder may find other files now. Outcomes are kept
by position, so a list that is another one must not take them over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from dataflow.graph import CallSpec, Recorded

_LOOKED_INTO = (int, float, str, bytes, bool, type(None), tuple, PurePath)
_LARGE = 100_000  # characters, or members, of an item that is not looked into


def with_samples(facts: dict[str, Any], spec: CallSpec) -> dict[str, Any]:
    """Return the facts of a call with a digest of some items of what it maps over.

    Notes
    -----
    Some 10 µs per map and mapped list: its length, its first, middle and last item,
    where these are numbers, texts, paths or tuples.
    """
    samples = {mapped.name: sample for mapped in spec.mapped
               if mapped.items is not None and (sample := _sample(mapped.items)) is not None}
    if not samples:
        return facts
    entries = json.loads(facts.get("constants") or "[]")
    told = {entry[0] for entry in entries if not entry[1]}
    for entry in entries:
        if not entry[1] and entry[2] == "mapped" and entry[0] in samples:
            entry[3:] = [samples[entry[0]]]
    entries += [[name, "", "mapped", sample] for name, sample in samples.items()
                if name not in told]
    return {**facts, "constants": json.dumps(entries, separators=(",", ":"))}


def difference(recorded: Recorded, facts: dict[str, Any], lengths: set[int]) -> str | None:
    """Return how a call differs from the recorded one, None where nothing tells that it does.

    Parameters
    ----------
    recorded
        What was recorded.
    facts
        Of the call as it is made now.
    lengths
        Of what it maps over, as far as they are known.
    """
    if recorded.width is not None and lengths - {recorded.width}:
        now = " and ".join(map(str, sorted(lengths)))
        return f"it maps over {now} items now, and mapped over {recorded.width} then"
    before, now_ = _digests(recorded.constants), _digests(facts.get("constants"))
    changed = sorted(name for name in before.keys() & now_.keys() if before[name] != now_[name])
    if changed:
        return f"its argument {changed[0]!r} is another one now"
    return None


def _digests(constants: str | None) -> dict[str, str]:
    """Return what is compared: path → digest of an argument, or of a sample of one."""
    found = {}
    for path, digest, *more in json.loads(constants or "[]"):
        if digest:
            found[path] = digest
        elif more[:1] == ["mapped"] and len(more) > 1:
            found[path] = more[1]
    return found


def _sample(items: Sequence[Any]) -> str | None:
    if not len(items):
        return None
    from dataflow.exceptions import NotCacheable
    from dataflow.hashing import digest

    try:
        some = [items[at] for at in (0, len(items) // 2, len(items) - 1)]
        if not all(isinstance(item, _LOOKED_INTO) and _is_small(item) for item in some):
            return None
        return digest((len(items), some))[:8].hex()
    except (NotCacheable, LookupError, TypeError):  # a sequence of the user's, or such an item
        return None


def _is_small(item: Any) -> bool:
    return not isinstance(item, str | bytes | tuple) or len(item) < _LARGE
