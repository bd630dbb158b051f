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

from dataflow.testing.store_contract.by_chance import ByChance
from dataflow.testing.store_contract.hostile import Hostile
from dataflow.testing.store_contract.insides import Insides
from dataflow.testing.store_contract.last_words import LastWords
from dataflow.testing.store_contract.leasing import Leasing
from dataflow.testing.store_contract.listing import Listing
from dataflow.testing.store_contract.paging import Paging
from dataflow.testing.store_contract.reading_back import ReadingBack
from dataflow.testing.store_contract.resuming import Resuming
from dataflow.testing.store_contract.using import Using

__all__ = ["StoreContract"]


class StoreContract(
    ReadingBack, LastWords, Listing, Paging, Insides, Leasing, Resuming, Using, Hostile, ByChance
):
    """What every run store does. Needs a fixture ``store``: an empty one for each test."""
