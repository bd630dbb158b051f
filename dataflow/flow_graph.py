"""The graph of a flow run as a picture: calls as nodes, with counts by state, and what feeds what.

Lives here: :class:`FlowGraph`, made from the records of calls, and its two
ways to be shown. Does not live here: the records (``store.py``), a run that
only pretends (``flow_dry_run.py``).

A map is one node however wide it is. Single calls of a task that take from the
same nodes are one node where there are more than :data:`ALIKE` of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dataflow.exceptions import RunNotFound
from dataflow.store import CallRow, FlowRunRow, Store

ALIKE = 6
"""So many single calls of a task are shown singly; more that are alike become one node."""

_WORST = ("Crashed", "Failed", "TimedOut", "Cancelled", "NotReady", "Running", "Retrying",
          "AwaitingRetry", "Pending", "RolledBack", "Completed", "Cached")
_COLOURS = {
    "Crashed": "#f8c4b4", "Failed": "#f8c4c4", "TimedOut": "#f8c4c4", "Cancelled": "#f5e6b8",
    "NotReady": "#e6e6e6", "Running": "#c4ddf8", "RolledBack": "#e6dcc8", "Completed": "#c8ecc8",
    "Cached": "#d4ecc8",
}
_TEXTS = str.maketrans({'"': "#quot;", "<": "#lt;", ">": "#gt;", "\n": " "})


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A call, or single calls that are alike.

    Attributes
    ----------
    name
        Of the task or flow.
    kind
        ``"map"``, ``"submit"``, ``"direct"`` or ``"flow"``.
    elements
        Task runs, None where it is not known how many.
    counts
        State name → task runs; empty in a graph of no run.
    """

    name: str
    kind: str
    elements: int | None
    counts: Mapping[str, int]

    @property
    def size(self) -> str:
        """How many there are, e.g. ``"map of 1,000"``; empty for a single one."""
        count = "?" if self.elements is None else f"{self.elements:,}"
        if self.kind == "map":
            return f"map of {count}"
        what = "flow" if self.kind == "flow" else ""
        return f"{what} × {count}".strip() if self.elements != 1 else what

    @property
    def states(self) -> str:
        """The states, e.g. ``"990 Completed, 10 Failed"``."""
        some = {name: n for name, n in self.counts.items() if n}
        if self.elements == 1 and len(some) == 1:
            return next(iter(some))
        return ", ".join(f"{n:,} {name}" for name, n in some.items())


class FlowGraph:
    """The calls of a flow run and what they take from each other.

    Attributes
    ----------
    title
        Of which flow and run.
    nodes
        In the order of the calls.
    edges
        (from, to): positions in ``nodes``.
    """

    def __init__(self, title: str, nodes: Sequence[GraphNode],
                 edges: Iterable[tuple[int, int]]) -> None:
        self.title = title
        self.nodes = list(nodes)
        self.edges = sorted(set(edges))

    def mermaid(self) -> str:
        """Return the graph as a Mermaid flowchart."""
        lines = ["flowchart TD"]
        used: set[str] = set()
        for at, node in enumerate(self.nodes):
            left, right = {"map": ("[[", "]]"), "flow": ("([", "])")}.get(node.kind, ("[", "]"))
            parts = [part.translate(_TEXTS) for part in (node.name, node.size, node.states) if part]
            worst = next((name for name in _WORST if node.counts.get(name)), None)
            style = f":::{worst}" if worst in _COLOURS else ""
            if worst in _COLOURS:
                used.add(str(worst))
            lines.append(f'    n{at}{left}"{"<br/>".join(parts)}"{right}{style}')
        lines += [f"    n{a} --> n{b}" for a, b in self.edges]
        lines += [f"    classDef {name} fill:{_COLOURS[name]},stroke:#666,color:#111"
                  for name in sorted(used)]
        return "\n".join(lines)

    def text(self) -> str:
        """Return the graph as lines: a node each, and what it takes from."""
        from_ = {at: [a for a, b in self.edges if b == at] for at in range(len(self.nodes))}
        labels = [f"{at + 1} {node.name}" for at, node in enumerate(self.nodes)]
        sizes = [node.size for node in self.nodes]
        wide = max(map(len, labels), default=0)
        wide_sizes = max(map(len, sizes), default=0)
        lines = [self.title]
        for at, node in enumerate(self.nodes):
            feeds = ", ".join(labels[a] for a in from_[at])
            line = f"  {labels[at]:<{wide}}  {sizes[at]:<{wide_sizes}}  {node.states}"
            if feeds:
                line = f"{line:<{wide + wide_sizes + 8}}  ← {feeds}"
            lines.append(line.rstrip())
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<FlowGraph {self.title!r}: {len(self.nodes)} nodes, {len(self.edges)} edges>"

    def _repr_markdown_(self) -> str:
        return f"```mermaid\n{self.mermaid()}\n```"


def graph_of(calls: Sequence[CallRow], title: str, *, counts: bool = True,
             more: Mapping[int, set[int]] | None = None) -> FlowGraph:
    """Return the graph of calls.

    Parameters
    ----------
    calls
        In the order they were made.
    counts
        Show states.
    more
        Call → calls it takes from, beyond what its record says.
    """
    known = {call.call for call in calls}
    upstream = {call.call: {up for up in (*call.upstream, *(more or {}).get(call.call, ()))
                            if up in known and up != call.call} for call in calls}
    groups = _groups(calls, upstream)
    place = {number: at for at, group in enumerate(groups) for number in (c.call for c in group)}
    nodes = [_node(group, counts) for group in groups]
    edges = {(place[up], place[call]) for call, ups in upstream.items() for up in ups
             if place[up] != place[call]}
    return FlowGraph(title, nodes, edges)


def recorded_graph(store: Store, run: FlowRunRow) -> FlowGraph:
    """Return the graph of a flow run from its records."""
    return graph_of(store.calls(run.id),
                    f"flow {run.flow_name}, run {run.name}: {run.state_name}")


def recorded(flow_name: str, ref: str) -> FlowGraph:
    """Return the graph of a recorded run; ``"last"`` is the last one of the flow.

    Raises
    ------
    RunNotFound
        No run answers to that name.
    """
    from dataflow.stores import open_store

    store = open_store(None)
    try:
        if ref != "last":
            return recorded_graph(store, store.find_flow_run(ref))
        rows = store.flow_runs(limit=1, flow=flow_name)
        if not rows:
            raise RunNotFound(f"There is no run of flow {flow_name!r} yet.")
        return recorded_graph(store, rows[0])
    finally:
        store.close()


def _groups(calls: Sequence[CallRow], upstream: Mapping[int, set[int]]) -> list[list[CallRow]]:
    """Put single calls together that are of one task and take from the same groups."""
    numbers: dict[tuple[object, ...], int] = {}
    place: dict[int, int] = {}
    alike: dict[int, list[CallRow]] = {}
    for call in calls:
        feeds = frozenset(place[up] for up in upstream[call.call] if up in place)
        key = (call.task_name, call.kind, feeds, call.call if call.kind == "map" else None)
        number = place[call.call] = numbers.setdefault(key, len(numbers))
        alike.setdefault(number, []).append(call)
    groups: list[list[CallRow]] = []
    for group in alike.values():
        groups += [group] if len(group) > ALIKE else [[call] for call in group]
    return sorted(groups, key=lambda group: group[0].call)


def _node(group: Sequence[CallRow], counts: bool) -> GraphNode:
    first = group[0]
    widths = [call.width for call in group]
    together: Counter[str] = Counter()
    for call in group:
        together.update(call.counts)
        if call.fault is not None and not any(call.counts.values()):
            together["Failed"] += 1  # the call as a whole
    return GraphNode(
        first.task_name, first.kind,
        None if None in widths else sum(width or 0 for width in widths),
        dict(together) if counts else {})
