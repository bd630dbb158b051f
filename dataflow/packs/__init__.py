"""Results in packs: many serialised values with an index in one file that never changes.

Lives here: the names that others use. Does not live here: the format
(``format.py``), which packs there are and the look-up (``partition.py``,
``index.py``), values (``results.py``), writing (``writing.py``), what is dropped
and merged (``housekeeping.py``).
"""

from __future__ import annotations

from dataflow.packs.contents import Origin
from dataflow.packs.entries import Entry, Nearest
from dataflow.packs.results import Results, results_at
from dataflow.packs.writing import Writer

__all__ = ["Entry", "Nearest", "Origin", "Results", "Writer", "results_at"]
