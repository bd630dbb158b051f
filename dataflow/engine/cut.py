"""Which elements go next, and with what: the graph is cut into batches.

Lives here: the choice of a node, of a chain of maps to send as one batch, and
the batch itself. Does not live here: which submits go together
(``cut_submits.py``, ``cut_async.py``), how many elements (``pacing.py``), what
follows from the outcome (``settle.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dataflow.batch import (
    Batch,
    Group,
    Part,
)
from dataflow.engine.cut_async import SideBySide
from dataflow.engine.cut_submits import Subtrees, waiting_kids
from dataflow.engine.inputs import (
    Inputs,
    has_items,
    has_its_items,
    is_flat,
    items_of,
    taken_from,
)
from dataflow.engine.messages import Pull
from dataflow.engine.node import Edge, Node
from dataflow.engine.pacing import KEPT_STALL_S, STALL_S, Pacing
from dataflow.engine.widths import Widths
from dataflow.engine.world import Flight, Suspect, World, wake_at
from dataflow.outcomes import FIRST_FINAL, SUCCEEDED, Code, Report

_AHEAD_LIMIT = 4096  # items taken from a generator ahead of those sent
_BLOCKED_LIMIT = 32  # calls looked at that may not send now


class Cutter:
    """Cuts batches while the window allows."""

    def __init__(self, world: World, widths: Widths) -> None:
        self.world = world
        self.widths = widths
        self.side_by_side = SideBySide(self)
        self.subtrees = Subtrees(self)

    def pump(self) -> None:
        """Send what can be sent now."""
        world = self.world
        if world.lost is not None:
            return
        if world.suspects or any(f.suspect for f in world.flights.values()):
            self._next_suspect()
            return
        blocked: list[Node] = []
        while len(blocked) < _BLOCKED_LIMIT and (node := world.next_node()) is not None:
            if self._window_open(node):
                if self._lane_open(node):
                    self.send(node)
                    world.enqueue(node)
            else:
                blocked.append(node)
        for node in blocked:
            world.enqueue(node)
        self.side_by_side.pump()

    def _window_open(self, node: Node) -> bool:
        world, pacing = self.world, self.world.pacing
        in_all = len(world.flights) - world.beside.flights
        stall_s = KEPT_STALL_S if node.caching else STALL_S
        window = pacing.window(_paced(node), world.now_s, stall_s)
        if in_all < window:
            return True
        capacity = pacing.capacity
        if capacity.ceiling > capacity.slots:
            if not pacing.of(_paced(node)).known:
                wake_at(world.commands, world.now_s + stall_s)
            return world.in_flight[node.token] < capacity.slots
        return False

    def _lane_open(self, node: Node) -> bool:
        limit = node.spec.options.max_in_flight
        return limit is None or node.batches < limit

    def send(self, node: Node) -> None:
        """Send elements of a node."""
        if node.single and node.concurrency:
            self.side_by_side.send_submits(node)
        elif node.single:
            self.subtrees.send(node)
        else:
            self._send_chain(node)

    # maps

    def _send_chain(self, node: Node) -> None:
        """Send elements of a map, with the maps that follow it element by element."""
        chain = [node] if node.restoring else self._chain(node)
        hints = [h for n in chain if (h := n.spec.options.batch_size) is not None]
        hint = min(hints, default=None)
        tokens = [_paced(node)] if node.restoring else [n.token for n in chain]
        left = math.inf if not node.exhausted else node.ready.count
        at_once = self.side_by_side.room(chain) if node.concurrency else 0
        if at_once:
            size = self.world.pacing.size_at_once(tokens, left, hint, at_once)
        else:
            size = self.world.pacing.size(tokens, left, hint, node.spec.options.max_in_flight)
        if left == math.inf:
            size = min(size, _AHEAD_LIMIT // 2)
        indexes = self.available(node, node.ready.take(size))
        if not len(indexes):
            return
        going = {node.id}
        for kid in chain[1:]:
            if kid.aligned[0][0].id in going and _all_pending(kid, indexes):
                going.add(kid.id)
        parts = [(n, indexes) for n in chain if n.id in going]
        self.launch(parts, hint, one_group=True, at_once=at_once)

    def _chain(self, node: Node) -> list[Node]:
        """Return a map and the maps that can run in the same breath, parents first."""
        chain, at = [node], 0
        known = self.world.pacing.of
        while at < len(chain):
            for edge in chain[at].kids_aligned:
                kid = edge.node
                if (
                    kid.need is None and len(kid.aligned) == 1 and kid.blockers == 0
                    and not kid.closed and kid.doomed is None and not kid.restoring
                    and kid.spec.options.max_in_flight is None
                    and (kid.concurrency > 0) == (node.concurrency > 0)
                    and kid.spec.options.placement == node.spec.options.placement
                    and not kid.caching  # keys of a whole batch are looked up before it runs
                    and not kid.iterators() and (kid.width is not None or kid.codes)
                    and (known(kid.token).known or not known(node.token).known)
                ):
                    chain.append(kid)
            at += 1
        return chain

    def pull(self) -> None:
        """Ask generators for the items that the next batches will want."""
        world = self.world
        for node in world.growing():
            if node.pulling or node.exhausted or node.closed or node.doomed or node.blockers:
                continue
            options = node.spec.options
            if node.concurrency:
                size = world.pacing.size_at_once([node.token], math.inf, options.batch_size,
                                                 options.max_in_flight or node.concurrency)
            else:
                size = world.pacing.size([node.token], math.inf, options.batch_size,
                                         options.max_in_flight)
            lanes = world.pacing.lanes(node.spec.options.max_in_flight)
            ahead = min(max(2 * size * lanes, 4), _AHEAD_LIMIT)
            if len(node.codes) > self.widths.limit(node):
                continue  # one more than what it is mapped beside has shown already
            if node.ready.count <= ahead // 2:
                node.pulling = True
                world.commands.pull.append(Pull(node.id, ahead - node.ready.count))

    # suspects

    def _next_suspect(self) -> None:
        """Try elements under which a worker died alone, one batch at a time."""
        world = self.world
        if any(f.suspect for f in world.flights.values()):
            return
        while world.suspects:
            suspect = world.suspects.popleft()
            node = suspect.node
            indexes = [i for i in suspect.indexes
                       if node.codes[i] == Code.PENDING or i in node.restoring]
            indexes_left = self.available(node, indexes)
            if len(indexes_left) and (not node.closed or node.restoring):
                at_once = min(node.concurrency, len(indexes_left))
                self.launch([(node, indexes_left)], None, one_group=True, suspect=True,
                            at_once=at_once)
                return
        self.pump()

    def suspect(self, node: Node, indexes: Sequence[int]) -> None:
        """Put elements on trial, in pieces small enough to find the one at fault."""
        size = max(1, -(-len(indexes) // 32))
        for at in range(0, len(indexes), size):
            self.world.suspects.append(Suspect(node, indexes[at : at + size]))

    # lengths

    def ask_lengths(self, due: list[tuple[Node, tuple[int, int, int]]]) -> None:
        """Send a "lengths" batch beside each block that holds values mapped over."""
        asked = {key for f in self.world.flights.values() for key in f.batch.lengths_of}
        by_block: dict[int, tuple[Node, list[tuple[int, int, int]]]] = {}
        for node, key in due:
            call, index, _ = key
            parent = self.world.nodes[call]
            place = parent.places.of(index)
            if place is None:
                self.restore(parent, index)
                self.widths.lengths.ask_again()
            elif key not in asked:
                by_block.setdefault(place, (node, []))[1].append(key)
        for place, (node, keys) in by_block.items():
            batch = Batch(
                self.world.next_batch_id(), f"{node.spec.code.task.name}-plan", [], [place],
                lengths_of=tuple(keys), placement=node.spec.options.placement,
            )
            self.world.flights[batch.id] = Flight(batch, [])
            self.world.commands.send.append(batch)

    # what outlasts its batch

    def collect(self, flight: Flight, report: Report, running: list[tuple[Node, int]]) -> None:
        """Send for elements that run on, to the worker they run on."""
        world = self.world
        origin = flight.batch
        priority = origin.placement.priority + (origin.collect is None)
        by_node: dict[int, list[int]] = {}
        for node, index in running:
            by_node.setdefault(node.id, []).append(index)
        batch = Batch(
            world.next_batch_id(), origin.label, [], [], collect=origin.collect or origin.id,
            placement=replace(origin.placement, prefer=report.worker, priority=priority),
            at_once=min(origin.at_once, len(running)),
        )
        parts: list[tuple[Node, Sequence[int]]] = [
            (world.nodes[call], indexes) for call, indexes in by_node.items()]
        suspect = flight.suspect and not self.side_by_side.trusted(batch, parts)
        world.flights[batch.id] = Flight(batch, parts, suspect)
        self.side_by_side.depart(world.flights[batch.id])
        world.in_flight[parts[0][0].token] += 1
        for node, _ in parts:
            node.batches += 1
        world.commands.send.append(batch)
        if all(node.codes[index] >= FIRST_FINAL and index not in node.restoring
               for node, index in running):
            world.commands.stop.append(batch.id)  # cancelled before it was known to run on

    # the batch itself

    def available(self, node: Node, indexes: Sequence[int]) -> Sequence[int]:
        """Return the elements whose input values can be had; the others wait to be restored."""
        keyed = self._read_back(node, indexes)
        if node.restoring and node.iterators():
            gone = [i for i in indexes if i not in keyed and not has_its_items(node, i)]
            self.world.beyond_restore += [(node, i) for i in gone]
            indexes = [i for i in indexes if i not in gone] if gone else indexes
        if not any(self.world.nodes[c].places.losses for c in node.parents):
            return indexes
        out = []
        for index in indexes:
            lost = [] if index in keyed else self.lost_inputs(node, index)
            if not lost:
                out.append(index)
            for parent, at in lost:
                parent.waiting.setdefault(at, []).append((node, index))
                self.restore(parent, at)
        return out

    @staticmethod
    def _read_back(node: Node, indexes: Sequence[int]) -> dict[int, bytes]:
        """Return the elements whose values are only to be read, with the keys they have."""
        if not node.restoring or node.view.keys is None:
            return {}
        return {index: key for index in indexes
                if index in node.restoring and (key := node.view.key_of(index)) is not None}

    def lost_inputs(self, node: Node, index: int) -> list[tuple[Node, int]]:
        """Return the completed elements whose values an element takes and that are nowhere."""
        out = []
        for call in node.parents:
            parent = self.world.nodes[call]
            if parent.places.losses:
                taken = taken_from(node, call, index)
                for at in range(len(parent.codes)) if taken is None else taken:
                    if parent.codes[at] in SUCCEEDED and parent.places.of(at) is None:
                        out.append((parent, at))
        return out

    def restore(self, node: Node, index: int) -> None:
        """Compute a completed element again, for its value only."""
        if index not in node.restoring:
            node.restored = True
            node.restoring.add(index)
            node.ready.push_front([index])
            self.world.enqueue(node)

    def launch(self, parts: list[tuple[Node, Sequence[int]]], hint: int | None, *,
               one_group: bool, suspect: bool = False, at_once: int = 0) -> None:
        """Send elements of calls as one batch; ``at_once`` side by side, 0: in turn."""
        world = self.world
        head = parts[0][0]
        together = {n.id for n, _ in parts}
        made = [self._part(n, indexes, together) for n, indexes in parts]
        if one_group:
            groups = [Group(made, parts[0][1])]
        else:
            groups = [Group([p], indexes) for p, (_, indexes) in zip(made, parts, strict=True)]
        names = dict.fromkeys(n.spec.code.task.name for n, _ in parts)
        batch = Batch(
            world.next_batch_id(), "-".join(names)[:80], groups, [],
            budget_s=world.pacing.budget_s(sum(len(g.indexes) for g in groups) + at_once, hint),
            placement=head.spec.options.placement, at_once=at_once,
        )
        Inputs(world, batch, together).collect(parts, made)
        world.flights[batch.id] = Flight(batch, parts, suspect)
        self.side_by_side.depart(world.flights[batch.id])
        world.in_flight[head.token] += 1
        estimate = world.pacing.of(head.token)
        if not estimate.known and estimate.first_sent is None:
            estimate.first_sent = world.now_s
        for node, indexes in parts:
            node.batches += 1
            self._mark_running(node, indexes)
        world.commands.send.append(batch)

    def _mark_running(self, node: Node, indexes: Sequence[int]) -> None:
        if isinstance(indexes, range) and not node.restoring:
            node.codes[indexes.start : indexes.stop] = bytes([Code.RUNNING]) * len(indexes)
        else:
            for index in indexes:
                if index not in node.restoring:
                    node.codes[index] = Code.RUNNING
        self.world.touched(node)

    def _part(self, node: Node, indexes: Sequence[int], together: set[int]) -> Part:
        inside = sum(1 for e in _all_kids(node) if e.node.id in together)
        limit = node.spec.options.max_failures
        seen = node.view.attempts
        items = {m.key: items_of(self.world, node, m, indexes)
                 for m in node.spec.mapped if has_items(m)}
        keys = self._read_back(node, indexes)
        node.sought.update(keys)
        return Part(
            node.spec.code,
            items,
            {i: seen[i] for i in indexes if i in seen and i not in node.restoring}
            if seen else {},
            keep=not node.dropped or node.kids_open > inside or bool(node.restoring),
            max_failures=None if limit is None else max(0, limit - node.failures),
            item_sources=node.spec.item_deps is not None
            or any(is_flat(m) for m in node.spec.mapped) or bool(keys and node.iterators()),
            keys=keys or None,
        )


def _all_kids(node: Node) -> Iterable[Edge]:
    if node.single:
        return [e for e in waiting_kids(node) if e.index is None]
    return node.kids_aligned


def _all_pending(node: Node, indexes: Sequence[int]) -> bool:
    if isinstance(indexes, range):
        codes = node.codes[indexes.start : indexes.stop]
        return len(codes) == len(indexes) and codes.count(Code.PENDING) == len(codes)
    return all(i < len(node.codes) and node.codes[i] == Code.PENDING for i in indexes)


def _paced(node: Node) -> str:
    """Return what the next batch of a call is measured by: its function, or reading its results."""
    reads = node.restoring and node.view.keys is not None
    return Pacing.reading(node.token) if reads else node.token
