"""Where a batch may run: its own placement, filled up by ``dask.annotate``.

Lives here: reading annotations, and turning a placement into Dask's options.
Does not live here: warning of what cannot be satisfied (``trouble.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import dask

from dataflow.batch import Placement


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What ``dask.annotate`` says around the code that made a session."""

    placement: Placement = Placement()

    def fill(self, given: Placement) -> Placement:
        """Return a placement with what it leaves open taken from the surroundings."""
        own, around = given, self.placement
        return replace(
            own,
            resources=own.resources or around.resources,
            priority=own.priority or around.priority,
            workers=own.workers or around.workers,
        ) if around != Placement() else own


def ambient() -> Surroundings:
    """Read the annotations of the calling code."""
    notes: dict[str, Any] = dask.get_annotations()  # type: ignore[attr-defined]  # documented
    if not notes:
        return Surroundings()
    resources, priority = notes.get("resources"), notes.get("priority")
    workers = notes.get("workers") or ()
    return Surroundings(Placement(
        resources=tuple(sorted(resources.items())) if isinstance(resources, dict) else (),
        priority=priority if isinstance(priority, int) else 0,
        workers=(workers,) if isinstance(workers, str) else tuple(map(str, workers)),
    ))


def submit_options(placement: Placement) -> dict[str, Any]:
    """Return the keywords of ``Client.submit``."""
    options: dict[str, Any] = {"priority": placement.priority}
    if placement.resources:
        options["resources"] = dict(placement.resources)
    if placement.workers:
        options["workers"] = list(placement.workers)
        options["allow_other_workers"] = False
    if placement.prefer is not None:
        options["workers"] = [placement.prefer]
        options["allow_other_workers"] = True
    return options


def describe(placement: Placement) -> str:
    """Return a placement as words."""
    said = []
    if placement.resources:
        said.append("resources " + ", ".join(f"{k}={v:g}" for k, v in placement.resources))
    if placement.workers:
        said.append("workers " + ", ".join(placement.workers))
    return " and ".join(said) or "any worker"
