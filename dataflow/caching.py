"""How results are kept and found again, as a worker has to know it.

Lives here: :class:`Caching`, made in the flow's process once per task and run
(``task_caching.py``) and sent along with the task's code. Does not live here:
keys (``cache_keys.py``), files (``packs/``), the worker's part
(``worker/keeping.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataflow.cache_keys import KeyRecipe
from dataflow.result_storage import ResultStorage
from dataflow.serializers import Serializer


@dataclass(frozen=True, slots=True)
class Caching:
    """Where results of a task go, under which keys, and for how long they count."""

    storage: ResultStorage
    serializer: Serializer
    partition: str  # the task's own
    recipe: KeyRecipe | None  # None: kept, and never looked up for another call
    named: str | None = None  # result_storage_key: a template for a file of its own
    expires_after_s: float | None = None
    refresh: bool = False  # compute in any case, and replace what is kept
    claims: Any = None  # dataflow.claims address: who computes what; None: nobody is asked
    lock_manager: Any = None  # of the policy: locks to take beside the claims
    policy: str = ""  # as users write it, for records
    code: str | None = None  # hex digest of the task's code, where it was worked out
    why_not: str | None = None  # not cacheable, for every call alike: what to say
    script: str | None = None  # of the flow's process: its classes stand for those in results
    mark: str | None = None  # in the storage, of the flow's process: dataflow.storage_reach

    @property
    def place(self) -> str:
        """The partition that the keys belong to."""
        return self.partition if self.recipe is None else self.recipe.partition

    @property
    def asks_user(self) -> bool:
        """Whether code of the user's makes keys, and is to be given the task."""
        return self.recipe is not None and bool(self.recipe.user)
