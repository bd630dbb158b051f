"""Which submits go together: one with what depends on nothing else, and its neighbours.

Lives here: the choice of a subtree of submits for one batch. Does not live
here: async ones, which depend on none of their batch (``cut_async.py``), maps
and the batch itself (``cut.py``).
"""

from __future__ import annotations

from dataflow.engine.node import Edge, Node
from dataflow.engine.pacing import BLOCK_BYTES, TARGET_S
from dataflow.engine.sending import Sending

_SUBTREE_LIMIT = 4096  # submits in one batch


class Subtrees:
    """Sends submits."""

    def __init__(self, cutter: Sending) -> None:
        self._cutter = cutter
        self._world = cutter.world

    def send(self, node: Node) -> None:
        """Send a submit with what depends on nothing else, and its neighbours, as one batch."""
        pacing = self._world.pacing
        if not len(self._cutter.available(node, node.ready.take(1))):
            return
        chosen: dict[int, Node] = {node.id: node}
        order = [node]
        estimate = pacing.of(node.token)
        if estimate.known and not node.restoring:
            room_s = self._share_s()
            waiting: dict[int, int] = {}
            room_s = self._take_kids(node, chosen, order, waiting, room_s - estimate.mean_s)
            while room_s > 0 and len(order) < _SUBTREE_LIMIT:
                neighbour = self._neighbour(node)
                if neighbour is None:
                    break
                chosen[neighbour.id] = neighbour
                order.append(neighbour)
                room_s -= pacing.of(neighbour.token).mean_s
                room_s = self._take_kids(neighbour, chosen, order, waiting, room_s)
        self._cutter.launch([(n, range(1)) for n in order], None, one_group=False)

    def _share_s(self) -> float:
        """Return how much work a batch of submits gets: its fair share of what is ready."""
        world = self._world
        ready_s = sum(
            world.pacing.of(n.token).mean_s for n in world.queued_singles(256)
            if world.pacing.of(n.token).known
        )
        lanes = world.pacing.lanes(None)
        share = ready_s / (2 * lanes) if world.queue_length() < 256 else TARGET_S
        return min(TARGET_S, max(share, TARGET_S / 10))

    def _neighbour(self, node: Node) -> Node | None:
        """Take another ready submit that may share the batch."""
        found = self._world.next_node()
        if found is None:
            return None
        if (
            found.single and self._world.pacing.of(found.token).known and not found.restoring
            and found.spec.options == node.spec.options and self._growth_allows(found)
            and len(self._cutter.available(found, found.ready.take(1)))
        ):
            return found
        self._world.enqueue(found)
        return None

    def _growth_allows(self, node: Node) -> bool:
        return self._world.pacing.of(node.token).bytes_each < BLOCK_BYTES / 8

    def _take_kids(self, node: Node, chosen: dict[int, Node], order: list[Node],
                   waiting: dict[int, int], room_s: float) -> float:
        """Add what depends on chosen submits alone, depth first."""
        stack = [node]
        while stack and room_s > 0 and len(order) < _SUBTREE_LIMIT:
            for edge in waiting_kids(stack.pop()):
                kid = edge.node
                if kid.id in chosen or not kid.single:
                    continue
                waiting[kid.id] = waiting.get(kid.id, kid.blockers) - 1
                estimate = self._world.pacing.of(kid.token)
                if (
                    waiting[kid.id] == 0 and estimate.known and not kid.closed
                    and not kid.concurrency and kid.doomed is None and kid.ready.count
                    and kid.spec.options == node.spec.options
                ):
                    kid.ready.take(1)
                    chosen[kid.id] = kid
                    order.append(kid)
                    room_s -= estimate.mean_s
                    stack.append(kid)
        return room_s


def waiting_kids(node: Node) -> list[Edge]:
    """Return the edges to calls that wait for a submit."""
    return [*node.kids_item.get(0, ()), *node.kids_whole]
