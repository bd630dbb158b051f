"""For the tests of people who write flows: :func:`harness`.

Runs in the block are recorded in a home of their own, which goes with it; the
records of the developer stay untouched. As a fixture of pytest::

    @pytest.fixture(autouse=True)
    def isolated_runs():
        with dataflow.testing.harness():
            yield
"""

from __future__ import annotations

from dataflow.testing.harness import harness

__all__ = ["harness"]
