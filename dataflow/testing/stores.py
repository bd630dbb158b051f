"""The contract of a run store as tests, for whoever writes a store.

Subclass :class:`StoreContract` with a fixture ``store`` that gives an empty one::

    from dataflow.testing.stores import StoreContract

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self):
            opened = MyStore(...)
            yield opened
            opened.close()

When it is green, the store is done. Needs pytest, and nothing else. Lives here:
the whole contract. Does not live here: its parts (``store_contract/``), what a
place of claims promises.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("dataflow.testing.store_contract")  # before it is imported

from dataflow.testing.store_contract.by_chance import ByChance  # noqa: E402
from dataflow.testing.store_contract.hostile import Hostile  # noqa: E402
from dataflow.testing.store_contract.insides import Insides  # noqa: E402
from dataflow.testing.store_contract.last_words import LastWords  # noqa: E402
from dataflow.testing.store_contract.leasing import Leasing  # noqa: E402
from dataflow.testing.store_contract.listing import Listing  # noqa: E402
from dataflow.testing.store_contract.reading_back import ReadingBack  # noqa: E402
from dataflow.testing.store_contract.resuming import Resuming  # noqa: E402

__all__ = ["StoreContract"]


class StoreContract(
    ReadingBack, LastWords, Listing, Insides, Leasing, Resuming, Hostile, ByChance
):
    """What every run store does. Needs a fixture ``store``: an empty one for each test."""
