"""Names of runs that nobody named.

Lives here: default names of flow runs and task runs. Does not live here:
names by template or callable (``worker/``, ``flows.py``).
"""

from __future__ import annotations

import random

from dataflow.graph import CallView
from dataflow.ids import task_run_id

_FIRST = (
    "amber brave brisk calm clear clever coral crisp deft eager early fair fleet fond gentle "
    "glad golden grand hardy humble jolly keen kind light lively lucid mellow merry mild modest "
    "neat nimble noble plain prime proud quick quiet rapid ready rosy royal sage serene sharp "
    "silver sleek smart snug solid spry steady stout sunny swift tidy trim true vivid warm wise"
).split()
_SECOND = (
    "alder ant badger bay beech birch bison brook canyon cedar cliff cove crane creek crow delta "
    "dove dune eagle elk elm falcon fern finch fjord fox gale geyser glade grove gull hare harbor "
    "hawk heron hill ibis island jay lagoon lake lark ledge lynx maple marsh marten mesa moor "
    "newt oak orca osprey otter owl pine plover pond prairie quail raven reef ridge robin seal "
    "shore spruce stoat stork stream swan tern thrush tide trout vale vole walrus willow wren"
).split()


def flow_run_name(rng: random.Random) -> str:
    """Return a name of two words, e.g. ``"swift-heron"``."""
    return f"{rng.choice(_FIRST)}-{rng.choice(_SECOND)}"


def element_name(flow_run_id: str, call: int, index: int, task_name: str, mapped: bool) -> str:
    """Return a task run's default name: ``"load-3fa"``, in a map ``"load-3fa[17]"``."""
    stem = f"{task_name}-{task_run_id(flow_run_id, call, 0)[:3]}"
    return f"{stem}[{index}]" if mapped else stem


def stands_for_all(view: CallView, index: int) -> bool:
    """Tell whether an index means a map that failed as a whole, not one of its elements."""
    return view.fault is not None and view.kind == "map" and index >= len(view.codes)


def name_in(view: CallView, flow_run_id: str, index: int) -> str:
    """Return a task run's name: the one that its task chose, else the default."""
    chosen = view.names.get(index)
    if chosen is not None:
        return chosen
    return element_name(flow_run_id, view.call, index, view.task_name, view.kind == "map")
