"""What a task's keywords for results come to in a flow run.

Lives here: from what the task, the flow and the settings say to one
:class:`dataflow.caching.Caching`. Does not live here: the keywords
(``caching_options.py``), what holds where a task does not say
(``keeping_defaults.py``), what a worker does with it (``worker/keeping.py``).
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from dataflow.cache_keys import RunFacts, TaskFacts, recipe_of
from dataflow.cache_policies import DEFAULT, NO_CACHE
from dataflow.caching import Caching
from dataflow.caching_options import KeepingOptions
from dataflow.context import FlowRunContext
from dataflow.exceptions import NotCacheable, StoreError
from dataflow.ids import new_run_id
from dataflow.keeping_defaults import KeepingDefaults, keeping_defaults
from dataflow.partitions import Address, is_alone, partition_of
from dataflow.script_name import script_name
from dataflow.serializers import serializer_of
from dataflow.settings import get_settings
from dataflow.storage_reach import mark
from dataflow.storages import open_storage
from dataflow.store import Store

if TYPE_CHECKING:
    from dataflow.code_identity import CodeIdentity

logger = logging.getLogger("dataflow.tasks")


def caching_of(task: Any, options: KeepingOptions, signature: inspect.Signature | None,
               flow_run: FlowRunContext | None) -> Caching | None:
    """Return how a task's results are kept in a run, None where they are not.

    Parameters
    ----------
    task
        The task: ``name``, ``address`` and ``identity()`` are asked.
    options
        Its keywords; they, the run or the settings want results to be kept.
    signature
        Of its function.
    flow_run
        The run that calls it, None outside of one.
    """
    defaults = _defaults(flow_run)
    if defaults.disabled:
        return None
    policy = options.policy
    if policy is None:
        policy = NO_CACHE if options.storage_key is not None else DEFAULT
    address: Address = task.address
    recipe, why_not, code = None, None, _Code(task)
    facts = TaskFacts(task.name, partition_of(task), code, signature, is_alone(task),
                      address.root)
    try:
        if options.storage_key is None:
            recipe = recipe_of(policy, facts, _run_facts(flow_run))
    except NotCacheable as error:
        why_not = str(error)
    if code.identity is not None and flow_run is not None:
        _keep_identity(code.identity, flow_run.store)
    storage = options.storage if options.storage is not None else policy.key_storage
    serializer = options.serializer
    opened = open_storage(defaults.storage if storage is None else storage)
    return Caching(
        storage=opened,
        serializer=serializer_of(defaults.serializer if serializer is None else serializer),
        partition=facts.partition, recipe=recipe, named=options.storage_key,
        expires_after_s=options.expires_after_s,
        refresh=defaults.refresh if options.refresh is None else options.refresh,
        claims=defaults.claims, lock_manager=policy.lock_manager, policy=str(policy),
        code=code.hex, why_not=why_not, script=script_name() or "",
        mark=None if flow_run is not None and flow_run.dry is not None else mark(opened),
    )


class _Code:
    """Works the digest of a task's code out when it is asked for."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self.identity: CodeIdentity | None = None

    @property
    def hex(self) -> str | None:
        return None if self.identity is None else self.identity.digest.hex()

    def __call__(self) -> bytes:
        found: CodeIdentity = self._task.identity()
        self.identity = found
        return found.digest


def _keep_identity(identity: CodeIdentity, store: Any) -> None:
    """Keep what the code is, so that it can be told later what changed in it.

    Workers have no store: of tasks that only task runs call, the digest alone is known.
    """
    if not isinstance(store, Store):
        return
    digest = identity.digest.hex()
    try:
        if store.code(digest) is None:
            store.put_code(digest, identity.to_json())
    except StoreError as error:  # an explanation will say less
        logger.debug("the code %s was not kept: %s", digest, error)


def _run_facts(flow_run: FlowRunContext | None) -> RunFacts:
    if flow_run is None:
        return RunFacts(new_run_id(), {})
    return RunFacts(flow_run.run.shown_flow_run_id, flow_run.run.parameters)


def _defaults(flow_run: FlowRunContext | None) -> KeepingDefaults:
    if flow_run is not None and flow_run.run.keeping is not None:
        found: KeepingDefaults = flow_run.run.keeping
        return found
    return keeping_defaults(KeepingOptions(), default_claims(), None)


_claims: dict[str, Any] = {}


def default_claims() -> Any:
    """Return where claims are kept by calls outside of any flow run."""
    location = get_settings().store_location
    if location not in _claims:
        from dataflow.stores import open_store

        store = open_store(None)
        try:
            _claims[location] = store.claims().address
        finally:
            store.close()
    return _claims[location]
