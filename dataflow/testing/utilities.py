"""The name under which Prefect's users know :func:`dataflow.testing.harness`."""

from __future__ import annotations

from dataflow.testing.harness import harness as prefect_test_harness

__all__ = ["prefect_test_harness"]
