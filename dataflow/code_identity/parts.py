"""What went into a function's identity, as values.

Lives here: :class:`CodePart`, :class:`CodeIdentity` and their JSON. Does not
live here: how they come about (``walk.py``), what differs between two of them
(``differences.py``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from dataflow.masking import masked

_VALUES = frozenset({"constant", "closure", "default"})
TEXT_SIZE = 8192  # characters of a part's text that are kept


@dataclass(frozen=True, slots=True)
class CodePart:
    """One thing that went in.

    Attributes
    ----------
    kind
        ``"function"`` (the function itself), ``"helper"``, ``"class"``,
        ``"constant"``, ``"closure"``, ``"default"``, ``"module"`` or
        ``"library"``.
    name
        As a reader knows it: ``parse``, ``pkg.text.parse`` where it is of
        another module than the function, ``load(rate)`` for a default.
    digest
        16 hex digits of what it is by itself, without what it reaches.
    text
        Normalised source, a repr or a version; cut to 8 KB.
    """

    kind: str
    name: str
    digest: str
    text: str


@dataclass(frozen=True, slots=True)
class CodeIdentity:
    """What the code of a function is.

    Attributes
    ----------
    digest
        16 bytes; equal where everything the function reaches is equal.
    parts
        What went in, the function itself first.
    """

    digest: bytes
    parts: tuple[CodePart, ...]

    def to_json(self) -> str:
        """Return the identity as JSON, to be kept beside a run."""
        rows = [[part.kind, part.name, part.digest,
                 masked(part.name, part.text) if part.kind in _VALUES else part.text]
                for part in self.parts]
        return json.dumps({"digest": self.digest.hex(), "parts": rows}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> CodeIdentity:
        """Return the identity that :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            The text is something else.
        """
        try:
            found = json.loads(text)
            parts = tuple(CodePart(*map(str, row)) for row in found["parts"])
            return cls(bytes.fromhex(found["digest"]), parts)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a code identity: {text[:60]!r}") from error
