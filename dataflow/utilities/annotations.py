"""Annotations of arguments under the path by which users of Prefect import them.

Lives here: nothing but names. Does not live here: what they mean
(``dataflow.annotations``).
"""

from __future__ import annotations

from dataflow.annotations import NotSet, allow_failure, flatten, opaque, quote, unmapped

__all__ = ["NotSet", "allow_failure", "flatten", "opaque", "quote", "unmapped"]
