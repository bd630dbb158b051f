"""The parts of the store contract that ``dataflow.testing.stores`` puts together.

Lives here: one class of tests per matter, with plain ``assert``; nothing that
knows a store but by its port. Does not live here: fixtures, which who tests a
store brings.
"""

from __future__ import annotations

import pytest

_PARTS = ("by_chance", "hostile", "insides", "last_words", "leasing", "listing", "paging",
          "reading_back", "resuming", "using")

# before they are imported: a failed assert is to show its values, as in any test
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))
