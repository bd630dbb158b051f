"""What differs between two identities, in words.

Lives here: the comparison and its lines. Does not live here: identities
(``parts.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import unified_diff

from dataflow.code_identity.parts import CodeIdentity, CodePart

_BY_VALUE = frozenset({"constant", "closure", "default"})
_DIFF_LINES = 40


def changed_parts(old: CodeIdentity, new: CodeIdentity) -> list[str]:
    """Return what changed from one identity to the other, one text per part.

    Parameters
    ----------
    old, new
        The identities.

    Returns
    -------
    list of str
        ``"helper `parse` changed:"`` with a unified diff of its normalised
        source, ``"constant `RATE` 1 → 2"``, ``"library numpy 1.26 → 2.0"``,
        ``"helper `clean` is new"``, ``"helper `clean` is gone"``. Empty where
        the digests are equal.
    """
    if old.digest == new.digest:
        return []
    before, after = _by_name(old.parts), _by_name(new.parts)
    lines = [_changed(before[key], part) if key in before else f"{_named(part)} is new"
             for key, part in after.items() if before.get(key) != part]
    lines += [f"{_named(part)} is gone" for key, part in before.items() if key not in after]
    return [line for line in lines if line] or ["the way its parts reach each other changed"]


def _by_name(parts: Iterable[CodePart]) -> dict[tuple[str, str], CodePart]:
    """Return the parts by kind and name; the function itself is one, however it is called."""
    return {(part.kind, "" if part.kind == "function" else part.name): part for part in parts}


def _named(part: CodePart) -> str:
    if part.kind == "library":
        return f"library {part.name}"
    return f"{part.kind} `{part.name}`"


def _changed(old: CodePart, new: CodePart) -> str:
    """Return what to say of a part that both have; nothing where it is the same."""
    if old.digest == new.digest:
        return ""
    if new.kind == "library":
        return f"{_named(new)} {old.text} → {new.text}"
    if new.kind in _BY_VALUE:
        if old.text == new.text:
            return f"{_named(new)} changed"
        return f"{_named(new)} {_short(old.text)} → {_short(new.text)}"
    diff = list(unified_diff(old.text.splitlines(), new.text.splitlines(),
                             "before", "now", lineterm="", n=2))
    if not diff:
        return f"{_named(new)} changed"
    if len(diff) > _DIFF_LINES:
        diff = [*diff[:_DIFF_LINES], f"… and {len(diff) - _DIFF_LINES} lines more"]
    return "\n".join([f"{_named(new)} changed:", *diff])


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
