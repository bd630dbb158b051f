"""Elements that another process has recorded: what a resumed run takes over.

Lives here: outcomes, attempts and due times put into a call as it grows. Does
not live here: which recorded call it is (``dataflow.resumption``), their values,
which are read back when somebody needs them (``recovery.py``).
"""

from __future__ import annotations

import heapq
from typing import Any

from dataflow.engine.node import Node
from dataflow.engine.settle import Settler
from dataflow.engine.world import World, wake_at
from dataflow.graph import NO_KEY, Recorded
from dataflow.outcomes import SUCCEEDED, Code

_FAILED = frozenset({Code.FAILED, Code.TIMED_OUT})


class Takeover:
    """Takes recorded outcomes over."""

    def __init__(self, world: World, settler: Settler) -> None:
        self.world = world
        self.settler = settler

    @staticmethod
    def width(node: Node) -> int | None:
        """Return the width that was recorded, None where it is to be found out anew.

        A call that was cut short has the width that it had come to: none at all, as long as
        its length was not known, or that of what it followed.
        """
        recorded = node.spec.recorded
        if recorded is None or any(m.items is None and m.item_of is None
                                   for m in node.spec.mapped):
            return None
        return recorded.width or None

    def elements(self, node: Node, start: int, stop: int) -> None:
        """Elements [start, stop) of a call have just been made: take over what is known of them."""
        recorded = node.spec.recorded
        if recorded is None:
            return
        codes = recorded.codes[start:stop]
        if not codes.strip(b"\0"):
            return
        self._names(node, recorded, start, stop)
        self._keys(node, recorded, start, stop)
        at, length = 0, len(codes)
        while at < length:
            end = at + 1
            good = codes[at] in SUCCEEDED
            while good and end < length and codes[end] in SUCCEEDED:
                end += 1
            if good:
                node.places.lack()  # their values lie nowhere yet
                self._used_up(node, recorded, start + at, start + end)
                self.settler.complete(node, start + at, codes[at:end], set())
            elif codes[at] in _FAILED:
                index = start + at
                node.used_up(index, index + 1)
                self.settler.fail(node, index, Code(codes[at]), recorded.errors.get(index))
            elif codes[at] == Code.AWAITING_RETRY:
                self._await(node, recorded, start + at)
            at = end

    def _names(self, node: Node, recorded: Recorded, start: int, stop: int) -> None:
        view = node.view
        pairs: tuple[tuple[dict[int, Any], dict[int, Any]], ...] = (
            (view.attempts, recorded.attempts), (view.names, recorded.names),
            (view.messages, recorded.messages))
        for mine, theirs in pairs:
            for index, value in theirs.items():
                if start <= index < stop and recorded.codes[index]:
                    mine[index] = value

    @staticmethod
    def _keys(node: Node, recorded: Recorded, start: int, stop: int) -> None:
        if recorded.keys is not None:
            part = bytes(recorded.keys[16 * start : 16 * stop])
            if part:
                node.view.keep_keys(range(start, start + len(part) // 16), part)

    @staticmethod
    def _used_up(node: Node, recorded: Recorded, start: int, stop: int) -> None:
        """Forget the generator items of what can be read back; the others may be made again."""
        if not node.chunks or recorded.keys is None:
            return
        keys = recorded.keys
        if NO_KEY not in keys[16 * start : 16 * stop]:
            node.used_up(start, stop)
            return
        for index in range(start, stop):
            if keys[16 * index : 16 * index + 16] != NO_KEY:
                node.used_up(index, index + 1)

    def _await(self, node: Node, recorded: Recorded, index: int) -> None:
        """A retry keeps its time and its attempts."""
        due = recorded.due.get(index, self.world.now_s)
        node.codes[index] = Code.AWAITING_RETRY
        node.awaited.add(index)
        node.view.attempts.setdefault(index, 1)  # only other numbers are recorded
        node.due[index] = due
        heapq.heappush(self.world.timers, (due, node.id, index))
        wake_at(self.world.commands, due)
