"""Rules for SciPy's sparse matrices and arrays: format, shape, and what is stored where.

Lives here: everything of SciPy's. Does not live here: NumPy's arrays (``arrays.py``).
Imported when a value of SciPy's comes by, so it is there.
"""

from __future__ import annotations

from typing import Any

import scipy.sparse

from dataflow.hashing.contents import Contents, Rule, by_names
from dataflow.hashing.encoding import head
from dataflow.hashing.names import class_name


def rule_of(cls: type) -> Rule | None:
    """Return the rule for a sparse matrix or array; None: it is something else of SciPy's."""
    if hasattr(cls, "tocoo") and cls.__module__.startswith("scipy.sparse"):
        return _sparse
    return None


def _sparse(value: Any) -> Contents:
    points = scipy.sparse.coo_array(value) if value.format != "coo" else value.copy()
    points.sum_duplicates()
    coordinates = [numbers.astype("int64") for numbers in points.coords]
    parts = (class_name(type(value)), value.shape, points.data, coordinates)
    return Contents(
        head("sparse", 4), parts, by_names(["", ".shape", ".data", ".coords"]))
