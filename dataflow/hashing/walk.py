"""The walk through a value: from its parts to one digest, without recursion.

Lives here: the order of the walk, what is remembered of it, cycles, and the path
to a part that cannot be encoded. Does not live here: what a value consists of
(``kinds.py`` finds the rule).

The encoding of a value with parts is its head and the encodings of its parts, in
an order that is a matter of the value alone; where that is longer than a few dozen
bytes, its digest stands for it. So every encoding is short, one that was made is
remembered and used again for the same object, and a shared part encodes as equal
copies of it do. A part that is on the way from the root to itself is encoded by
how many levels it is up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from itertools import chain, islice
from typing import Any, Final

from dataflow.exceptions import NotCacheable
from dataflow.hashing.contents import Contents, Order, Refused, type_name
from dataflow.hashing.encoding import (
    DIGEST_BYTES,
    SCALARS,
    SHORT_BYTES,
    back_reference,
    final,
    flat,
    of_numbers,
)
from dataflow.hashing.kinds import rule_of

_BATCH: Final = 4096
"""Encodings of a sequence are hashed so many at a time: its memory does not grow with it."""
_DEEPEST: Final = 1_000_000
_MOST_REVISITS: Final = 200_000
"""How often parts of cycles are gone through again before they count as too entangled."""
_WORTH_KEEPING: Final = 64
"""So many scalars are encoded again rather than remembered."""
_NO_LEVEL: Final = 1 << 60
_LONGEST_PATH: Final = 400

_USUAL_WAYS_OUT: Final = (
    "register its type (dataflow.hashing.register), give it a __dataflow_hash__, "
    "or leave it out of the key (INPUTS - {name!r})"
)


def _argument(name: str) -> str:
    """Return the argument that a path begins with: ``args['cfg'].lock`` is of ``cfg``."""
    found = re.match(r"args\['([^']+)'\]", name)
    return name if found is None else found[1]


def digest(value: Any, *, name: str = "value") -> bytes:
    """Return the digest of a value: equal ones have the same, in every process and machine.

    Parameters
    ----------
    value
        Anything of the table in :mod:`dataflow.hashing`.
    name
        What messages call it.

    Returns
    -------
    bytes
        16 bytes.

    Raises
    ------
    NotCacheable
        It has a part without a rule; the error names the path to it.

    Notes
    -----
    About 2 µs for a small tuple, 200 ns per item of a long list, less for numbers, 1 GB/s for
    arrays. A value that another thread changes meanwhile has an arbitrary digest.
    """
    encode = SCALARS.get(type(value))
    encoded = encode(value) if encode is not None else flat(value)
    if encoded is None:
        encoded = Walk(name).encode(value)
    return final(encoded)


class _Frame:
    """A value of which some parts are still to be encoded."""

    __slots__ = ("bulk", "contents", "count", "done", "hasher", "low", "nested", "rest", "value")

    def __init__(self, value: Any, contents: Contents) -> None:
        self.value = value
        self.contents = contents
        self.rest: Iterator[Any] = iter(contents.parts)
        self.done: list[bytes] = [contents.head] if contents.order is Order.GIVEN else []
        self.bulk = contents.order is Order.GIVEN and len(contents.parts) > _WORTH_KEEPING
        self.hasher: Any = None
        self.count = 0  # of parts that were begun
        self.low = _NO_LEVEL  # the highest level that a part refers back to
        self.nested = False

    def take_numbers(self) -> None:
        """Encode parts by the batch, as far as they are numbers of one type."""
        while batch := list(islice(self.rest, _BATCH)):
            encoded = of_numbers(batch)
            if encoded is None:
                self.rest = chain(batch, self.rest)
                break
            self.done.append(encoded)
            self.count += len(batch)
            self.spill(always=True)
        self.bulk = False

    def spill(self, always: bool = False) -> None:
        """Hash what has come together so far."""
        if self.contents.order is Order.GIVEN and (always or len(self.done) >= _BATCH):
            raw = b"".join(self.done)
            if self.hasher is None:
                self.hasher = blake2b(digest_size=DIGEST_BYTES)
            self.hasher.update(raw)
            self.done.clear()

    def close(self) -> bytes:
        """Return the encoding, now that those of all parts are there."""
        done = self.done
        order = self.contents.order
        if order is Order.PAIRS:
            pairs = sorted(zip(done[::2], done[1::2], strict=True))
            done = [self.contents.head, *(part for pair in pairs for part in pair)]
        elif order is Order.SORTED:
            done = [self.contents.head, *sorted(done)]
        raw = b"".join(done)
        if self.hasher is not None:
            self.hasher.update(raw)
            return b"#" + bytes(self.hasher.digest())
        if len(raw) <= SHORT_BYTES:
            return raw
        return b"#" + blake2b(raw, digest_size=DIGEST_BYTES).digest()


class Walk:
    """One walk through one value."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stack: list[_Frame] = []
        self._levels: dict[int, int] = {}  # id of a value on the stack: its place there
        self._known: dict[int, tuple[Any, bytes]] = {}  # keeps the value alive, so its id is its
        self._cyclic: set[int] = set()
        self._revisits = 0

    def encode(self, value: Any) -> bytes:
        """Return the encoding of a value. Raises NotCacheable with the path."""
        stack = self._stack
        encoded = self._begin(value)
        while stack:
            frame = stack[-1]
            if encoded is not None:
                frame.done.append(encoded)
                frame.spill()
            if self._go_on(frame):
                encoded = None
            else:
                encoded = self._finish(frame)
        assert encoded is not None  # what is not on the stack was encoded at once
        return encoded

    def _go_on(self, frame: _Frame) -> bool:
        """Encode parts until one has parts itself, which is on the stack then; False: no more."""
        if frame.bulk:
            frame.take_numbers()
        scalar_of = SCALARS.get
        add = frame.done.append
        for part in frame.rest:
            frame.count += 1
            encode = scalar_of(type(part))
            if encode is not None:
                add(encode(part))
            else:
                encoded = flat(part)
                if encoded is None:
                    encoded = self._begin(part)
                if encoded is None:
                    return True
                add(encoded)
            if not frame.count % _BATCH:
                frame.spill()
        return False

    def _begin(self, value: Any) -> bytes | None:
        """Encode a value at once, or put it on the stack."""
        scalar = SCALARS.get(type(value))
        if scalar is not None:
            return scalar(value)
        key = id(value)
        known = self._known.get(key)
        if known is not None:
            return known[1]
        stack = self._stack
        if stack:
            stack[-1].nested = True
        level = self._levels.get(key)
        if level is not None:
            stack[-1].low = min(stack[-1].low, level)
            return back_reference(len(stack) - level)
        self._check_limits(key)
        try:
            contents = rule_of(type(value))(value)
        except Refused as refused:
            raise self._error(refused) from refused.__cause__
        except Exception as error:  # a property or an iterator of a user's class
            reason = f"is a {type_name(type(value))}, and a look at it raised {error!r:.80}"
            raise self._error(Refused(reason, "the cause is chained")) from error
        if isinstance(contents, bytes):
            if contents[:1] == b"x":  # a long buffer; the rest is cheaper made again than kept
                self._known[key] = (value, contents)
            return contents
        self._levels[key] = len(stack)
        stack.append(_Frame(value, contents))
        return None

    def _finish(self, frame: _Frame) -> bytes:
        """Take a value from the stack, all parts of which are encoded."""
        stack = self._stack
        stack.pop()
        level = len(stack)
        key = id(frame.value)
        del self._levels[key]
        encoded = frame.close()
        if frame.low > level:  # no cycle goes through it: it encodes so wherever it stands
            if frame.nested or frame.count > _WORTH_KEEPING:
                self._known[key] = (frame.value, encoded)
        else:
            self._cyclic.add(key)
            if frame.low < level:
                stack[-1].low = min(stack[-1].low, frame.low)
        return encoded

    def _check_limits(self, key: int) -> None:
        if len(self._stack) >= _DEEPEST:
            raise self._error(Refused(f"is nested deeper than {_DEEPEST:,} levels"))
        if key in self._cyclic:
            self._revisits += 1
            if self._revisits > _MOST_REVISITS:
                raise self._error(Refused("is part of too many cycles through each other"))

    def _error(self, refused: Refused) -> NotCacheable:
        labels = [frame.contents.label(frame.count - 1) for frame in self._stack]
        path = self._name + "".join(labels)
        name = self._name
        if name == "args" and labels and (found := re.fullmatch(r"\['(\w+)'\]", labels[0])):
            name = found[1]
        ways_out = refused.what_to_do or _USUAL_WAYS_OUT.format(name=_argument(name))
        return NotCacheable.because(_shortened(path), refused.reason, ways_out)


def _shortened(path: str) -> str:
    if len(path) <= _LONGEST_PATH:
        return path
    half = _LONGEST_PATH // 2
    return f"{path[:half]} … {path[-half:]}"
