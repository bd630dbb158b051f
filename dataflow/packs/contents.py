"""What is put into a pack: entries, and what is said of them all.

Lives here: values, and the metadata as JSON; pure. Does not live here: the bytes
of a pack (``format.py``).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataflow.pickling import kept_pickle, load_pickle
from dataflow.script_classes import know_classes
from dataflow.serializers import Serializer, serializer_of

_FORGOTTEN = -1.0  # expiry of an entry that says that there is none


@dataclass(frozen=True, slots=True)
class Origin:
    """Which call of which run computed a result, and when.

    Parameters
    ----------
    run_id
        Of the flow run; empty outside of one.
    created_s
        Epoch seconds.
    """

    run_id: str
    run_name: str
    task_name: str
    call: int
    created_s: float


@dataclass(slots=True)
class Items:
    """Entries that are to be written, one in each place of all lists."""

    keys: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    expires: list[float] = field(default_factory=list)  # epoch seconds, 0: never
    origins: list[int] = field(default_factory=list)  # numbers in the metadata; empty: all 0

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, at: slice) -> Items:
        return Items(self.keys[at], self.payloads[at], self.indexes[at], self.expires[at],
                     self.origins[at])

    def add(self, key: bytes, payload: bytes, index: int, expires_s: float,
            origin: int = 0) -> None:
        """Take an entry."""
        self.keys.append(key)
        self.payloads.append(payload)
        self.indexes.append(index)
        self.expires.append(expires_s)
        self.origins.append(origin)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is said once for all entries of a pack.

    Parameters
    ----------
    serializer
        Its name.
    pickled
        The serializer itself, where no name makes an equal one.
    classes
        Digest and code of classes of a script that values are of.
    """

    serializer: str
    pickled: bytes | None
    origins: tuple[Origin, ...]
    classes: tuple[tuple[bytes, bytes], ...] = ()

    @classmethod
    def of(cls, serializer: Serializer, origins: tuple[Origin, ...],
           classes: Mapping[bytes, bytes] | None = None) -> Metadata:
        """Return the metadata of what a serializer makes."""
        spec, shared = serializer.spec, tuple((classes or {}).items())
        if spec is not None:
            return cls(spec, None, origins, shared)
        name = serializer.type or type(serializer).__name__
        return cls(name, kept_pickle(serializer), origins, shared)

    def loader(self) -> Callable[[bytes | memoryview], Any]:
        """Return what makes a value of its bytes.

        Raises
        ------
        Exception
            The serializer is not installed here, or what unpickling it raises.
        """
        if self.classes:
            know_classes(dict(self.classes))
        if self.pickled is not None:
            serializer = load_pickle(self.pickled)
        elif self.serializer == "pickle":
            return load_pickle
        else:
            serializer = serializer_of(self.serializer)
        loads = serializer.loads
        return lambda blob: loads(bytes(blob))

    def to_json(self, version: str) -> bytes:
        """Return it as JSON."""
        pickled = self.pickled and base64.b64encode(self.pickled).decode()
        origins = [[each.run_id, each.run_name, each.task_name, each.call, each.created_s]
                   for each in self.origins]
        classes = {digest.hex(): base64.b64encode(code).decode() for digest, code in self.classes}
        return json.dumps({"dataflow": version, "serializer": self.serializer, "pickled": pickled,
                           "origins": origins, "classes": classes}).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Metadata:
        """Return what :meth:`to_json` made."""
        fields = json.loads(data)
        pickled = fields["pickled"] and base64.b64decode(fields["pickled"])
        origins = tuple(Origin(*each) for each in fields["origins"])
        classes = tuple((bytes.fromhex(digest), base64.b64decode(code))
                        for digest, code in fields["classes"].items())
        return cls(fields["serializer"], pickled, origins, classes)


def forgotten(keys: Sequence[bytes]) -> Items:
    """Return entries that say of keys that there is nothing any more."""
    n = len(keys)
    return Items(list(keys), [b""] * n, [-1] * n, [_FORGOTTEN] * n)
