"""What a function reaches, as a graph under construction.

Lives here: nodes, their order, the limits, and the digest of the whole. Does
not live here: what is in a node (``functions.py``, ``classes.py``,
``values.py``).

Nodes are numbered as they are found, and they are found in an order that is
the same in each process; so numbers stand for nodes in the digest, and names
of modules and files stay out of it: a script is the same code whether it is
run or imported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from hashlib import blake2b
from types import FunctionType
from typing import Any, Literal

from dataflow.code_identity.bytecode import fingerprint
from dataflow.code_identity.ownership import Origin, distribution_of, origin_of
from dataflow.code_identity.parts import TEXT_SIZE, CodeIdentity, CodePart
from dataflow.code_identity.watching import Watch
from dataflow.exceptions import NotCacheable

MOST_PARTS = 2000
WAYS_OUT = ("make it inside of the function or pass it as an argument, "
            "or leave the code out of the key with cache_policy=INPUTS")

Fill = Literal["function", "class", "value", "module", "library"]


@dataclass(slots=True)
class Node:
    """One part under construction.

    Attributes
    ----------
    kind, name
        As in :class:`~dataflow.code_identity.parts.CodePart`.
    fill
        Who makes its content.
    subject
        What it stands for.
    where
        The way from the function to here, for errors.
    soft
        It is reached only by an annotation or a decorator: what has no digest
        is left out instead of refused.
    links
        ``(label, number of the node)``; -1 where a name stands for nothing.
    """

    kind: str
    name: str
    fill: Fill
    subject: Any
    where: str
    soft: bool = False
    content: bytes = b""
    text: str = ""
    links: list[tuple[str, int]] = field(default_factory=list)

    def refuse(self, path: str, reason: str) -> NotCacheable:
        """Return the error for something in this node."""
        if path and not path.startswith("value"):  # the hasher's name for all of this node
            path = f" → {path}"
        return NotCacheable.because(self.where + path.removeprefix("value"), reason, WAYS_OUT)


class Graph:
    """The nodes found so far, and those still to be filled.

    Parameters
    ----------
    name
        Of the function, for errors.
    own_top
        The top-level package that is the user's own although it is installed.
    as_made
        Code counts as it is at hand, which may have come by value: classes by
        their members, annotations by their values.
    """

    def __init__(self, name: str, own_top: str | None = None, *, as_made: bool = False) -> None:
        self.as_made = as_made
        self.digest_alone: Callable[[Node, Any], bytes] = _code_alone
        self.nodes: list[Node] = []
        self.watches: dict[Hashable, Watch] = {}
        # global names that the code binds → a function that does
        self.written: dict[tuple[int, str], FunctionType] = {}
        self.methods: dict[int, type] = {}  # functions whose class is known otherwise
        self.softly = False  # while a decorator or an annotation is followed
        self.described = 0  # objects with code in them
        self.home = ""  # the module of the function itself
        self._name, self.own_top = name, own_top
        self._known: dict[Hashable, int] = {}
        self._names: dict[tuple[str, str], int] = {}
        self._queues: tuple[deque[int], ...] = (deque(), deque(), deque(), deque())

    def origin(self, module: str) -> Origin:
        """Return whose code a module is."""
        found = origin_of(module)
        own = found == "library" and module.partition(".")[0] == self.own_top
        return "own" if own else found

    def reach(self, source: Node | None, label: str, *, fill: Fill, subject: Any, key: Hashable,
              kind: str, name: str) -> int:
        """Link a node to another one, which is made where it is not known yet.

        Code is filled before values: whatever binds a global name is known
        when its value is looked at. What is reached softly comes last.
        """
        soft = self.softly or (source is not None and source.soft)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = len(self.nodes)
            where = f"{source.where} → {kind} `{name}`" if source is not None else name
            self.nodes.append(Node(kind, self._unique(kind, name), fill, subject, where, soft))
            self._queues[2 * soft + (fill == "value")].append(number)
            if number >= MOST_PARTS:
                raise NotCacheable.because(
                    self._name, f"reaches more than {MOST_PARTS:,} functions, classes and "
                    "constants of its own code", "leave the code out of the key with "
                    "cache_policy=INPUTS")
        elif self.nodes[number].soft and not soft:
            self.nodes[number].soft = False
            self._queues[fill == "value"].append(number)
        if source is not None:
            source.links.append((label, number))
        return number

    def _unique(self, kind: str, name: str) -> str:
        count = self._names[kind, name] = self._names.get((kind, name), 0) + 1
        return name if count == 1 else f"{name} ({count})"

    def library(self, source: Node, label: str, module: str) -> None:
        """Link to the library that a module belongs to; to nothing for Python's own."""
        top = module.partition(".")[0]
        if self.origin(module) == "library":
            name, version = distribution_of(top) or (top, "unknown")
            self.reach(source, label, fill="library", subject=version, key=("library", name),
                       kind="library", name=name)

    def next(self) -> Node | None:
        """Return a node that is to be filled."""
        for queue in self._queues:
            while queue:
                node = self.nodes[queue.popleft()]
                if not node.content:
                    return node
        return None

    def identity(self) -> CodeIdentity:
        """Return the digest of everything, and the parts for people."""
        whole = blake2b(b"dataflow code 2" if __debug__ else b"dataflow code 2 -O", digest_size=16)
        parts = []
        for node in self.nodes:
            own = blake2b(node.content, digest_size=16, person=node.fill.encode()).digest()
            links = "".join(f"{label}\0{number}\0" for label, number in node.links)
            data = links.encode("utf-8", "surrogatepass")
            whole.update(own + len(data).to_bytes(8, "little") + data)
            parts.append(CodePart(node.kind, node.name, own[:8].hex(), _cut(node.text)))
        return CodeIdentity(whole.digest(), tuple(parts))


def _code_alone(node: Node, value: Any) -> bytes:
    """Return the code of a function by itself: in a set within a set no more is looked at."""
    value = getattr(value, "__func__", getattr(value, "func", value))
    code = getattr(value, "__code__", None)
    return b"" if code is None else fingerprint(code)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_SIZE else f"{text[:TEXT_SIZE - 1]}…"
