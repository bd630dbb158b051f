"""Which elements of async functions go next: batches whose elements run side by side.

Lives here: how many may be under way, and batches of neighbouring submits. Does
not live here: chains of maps, and the batch itself (``cut.py``), its size
(``pacing.py``).

Elements that wait need no slot. A function may have its ``concurrency`` of them
under way for each slot of the runner; a batch holds a slot while it is young,
what collects the elements that outlast it holds none. So batches of this kind
have a window of their own beside the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dataflow.batch import Batch
from dataflow.engine.node import Node
from dataflow.engine.sending import Sending
from dataflow.engine.world import Flight

_BLOCKED_LIMIT = 32  # calls looked at that may not send now
_SUBMITS_LIMIT = 4096  # in one batch


class SideBySide:
    """Cuts batches of async elements while there is room for them."""

    def __init__(self, cutter: Sending) -> None:
        self._cutter = cutter
        self._world = cutter.world

    def pump(self) -> None:
        """Send what can be sent now."""
        world = self._world
        blocked: list[Node] = []
        while (len(blocked) < _BLOCKED_LIMIT
               and world.beside.fresh < 2 * world.pacing.capacity.slots
               and (node := world.next_node(beside=True)) is not None):
            if self.room([node]) <= 0:
                blocked.append(node)
            else:
                self._cutter.send(node)
                world.enqueue(node)
        for node in blocked:
            world.enqueue(node)

    def room(self, chain: list[Node]) -> int:
        """Return how many elements of a chain may begin side by side.

        None while there is little room and a batch will soon make more: many
        small batches would fill it and hold the slots.
        """
        beside, slots = self._world.beside, self._world.pacing.capacity.slots
        room, most = [], min(node.concurrency for node in chain)
        for node in chain:
            room.append(node.concurrency * slots - beside.at_once[node.token])
            limit = node.spec.options.max_in_flight
            if limit is not None:
                room.append(limit - node.at_once)
                most = min(most, limit)
        free = min(most, *room)
        return 0 if beside.fresh and free < most / 2 else free

    def send_submits(self, node: Node) -> None:
        """Send a submit and its neighbours as one batch; none depends on another."""
        world = self._world
        if not len(self._cutter.available(node, node.ready.take(1))):
            return
        order, counts = [node], Counter({node.token: 1})
        if not node.restoring:
            size = world.pacing.size_at_once(
                [node.token], world.queue_length(beside=True) + 1, None, self.room([node]))
            while len(order) < min(size, _SUBMITS_LIMIT):
                found = self._neighbour(node, counts)
                if found is None:
                    break
                order.append(found)
                counts[found.token] += 1
        self._cutter.launch([(n, range(1)) for n in order], None, one_group=False,
                            at_once=len(order))

    def _neighbour(self, node: Node, counts: Counter[str]) -> Node | None:
        """Take another ready submit that may share the batch."""
        while (found := self._world.next_node(beside=True)) is not None:
            if not found.single or found.restoring or found.spec.options != node.spec.options \
                    or counts[found.token] >= self.room([found]):
                self._world.enqueue(found)
                return None
            if len(self._cutter.available(found, found.ready.take(1))):
                return found
        return None

    def trusted(self, batch: Batch, parts: list[tuple[Node, Sequence[int]]]) -> bool:
        """Tell whether suspects that are under way without a death need not be waited for.

        That is so until the third death: they may wait for long, one piece
        after the other. From then on they stay alone until they end.
        """
        return batch.at_once > 0 and all(
            node.deaths.get(index, 0) < 3 for node, indexes in parts for index in indexes)

    # what is under way

    def depart(self, flight: Flight) -> None:
        """Count a batch's elements among those under way."""
        if not flight.batch.at_once:
            return
        beside = self._world.beside
        beside.flights += 1
        beside.fresh += flight.batch.collect is None
        charges: Counter[str] = Counter()
        limits = {}
        for node, indexes in flight.parts:
            limits[node.token] = node.concurrency
            charges[node.token] += self._of(flight, indexes)
            node.at_once += self._of(flight, indexes)
        flight.charges = {token: min(many, limits[token]) for token, many in charges.items()}
        beside.at_once.update(flight.charges)

    def land(self, flight: Flight) -> None:
        """Take a batch's elements from those under way."""
        if not flight.batch.at_once:
            return
        beside = self._world.beside
        beside.flights -= 1
        beside.fresh -= flight.batch.collect is None
        beside.at_once.subtract(flight.charges)
        for node, indexes in flight.parts:
            node.at_once -= self._of(flight, indexes)

    def _of(self, flight: Flight, indexes: Sequence[int]) -> int:
        return min(len(indexes), flight.batch.at_once)
