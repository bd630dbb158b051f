"""What those who choose elements need of the one who sends them.

Lives here: a protocol, so that the rooms of the cut know each other by it alone.
Does not live here: the sending (``cut.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dataflow.engine.node import Node
from dataflow.engine.world import World


class Sending(Protocol):
    """What is needed of the one who cuts."""

    world: World

    def send(self, node: Node) -> None:
        """Send elements of a node."""

    def available(self, node: Node, indexes: Sequence[int]) -> Sequence[int]:
        """Return the elements whose input values can be had."""

    def launch(self, parts: list[tuple[Node, Sequence[int]]], hint: int | None, *,
               one_group: bool, suspect: bool = False, at_once: int = 0) -> None:
        """Send elements of calls as one batch."""
