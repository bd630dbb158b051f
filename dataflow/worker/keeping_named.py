"""Results that go to a file which the user names (``result_storage_key``).

Lives here: :class:`NamedKeeper`. A run whose file is there is not executed: the
name is the key. Does not live here: results under keys of ours (``keeping.py``).
"""

from __future__ import annotations

import logging
import string
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from dataflow.cache_keys import user_key
from dataflow.context import TaskRunContext
from dataflow.exceptions import CorruptResult, ResultStorageError
from dataflow.failures import text_of
from dataflow.script_name import within_script
from dataflow.worker.claiming import claim
from dataflow.worker.keeping import Find, Keeper
from dataflow.worker.shelves import origin_of

_clock = time.perf_counter


class NamedKeeper(Keeper):
    """What is kept of one call's part of a batch, each result in a file of its own."""

    def prepare(self, find: Find, items: Sequence[Any] | None = None) -> None:
        """Make the names and look at what is there."""
        began = _clock()
        self._names: list[str | None] = [None] * len(self._indexes)
        missing = []
        for at, index in enumerate(self._indexes):
            name = self._names[at] = self._name(at, index, find)
            if name is None:
                continue
            key = self._keys[at] = user_key(name)
            if not self._found_named(at, name):
                missing.append((at, key))
        if missing:
            self._claim_missing([at for at, _ in missing])
        self.spent_s += _clock() - began

    def _claim_missing(self, missing: list[int]) -> None:
        held = claim(self.caching.claims, self.caching.place, self._keys_at(missing),
                     self.caching.lock_manager)
        self.hold(held)
        for place, at in enumerate(missing):
            name = self._names[at]
            if place in held.denied:
                self.deny(at)
            elif name is not None:
                self._found_named(at, name)  # may have ended between look-up and claim

    def _found_named(self, at: int, name: str) -> bool:
        if self.caching.refresh:
            return False
        results, place = self.shelf.results, self.caching.place
        try:
            entry = results.find_named(name, time.time())
            if entry is None:
                return False
            with within_script(self.caching.script):
                [value] = results.load(place, [entry])
        except ResultStorageError as error:
            self.shelf.fails(error)
            self.tell_broken()
            return False
        if isinstance(value, CorruptResult):
            return False
        self._entries[at], self._values[at] = entry, value
        return True

    def _name(self, at: int, index: int, find: Find) -> str | None:
        template = self.caching.named
        assert template is not None
        try:
            args, kwargs = find(at, index)
        except BaseException:  # user values: the element itself tells of it
            return None
        context = TaskRunContext(self._run, self._code, index, 1, None, args, kwargs)
        run = self._run
        fields: Mapping[str, Any] = {
            "parameters": context.parameters,
            "task_run": SimpleNamespace(
                id=context.id, name=context.name, task_name=self._code.task.name,
                tags=sorted(self._code.tags), parameters=context.parameters),
            "flow_run": SimpleNamespace(
                id=None if run is None else run.shown_flow_run_id,
                name=None if run is None else run.flow_run_name,
                flow_name=None if run is None else run.flow_name,
                parameters={} if run is None else run.parameters),
        }
        try:
            return string.Formatter().vformat(template, (), fields)
        except Exception as error:  # user values: __format__ may raise anything
            self._note_why(index, f"result_storage_key {template!r} of task "
                                  f"{self._code.task.name!r} could not be filled in: "
                                  f"{type(error).__name__}: {text_of(error)}; not kept")
            return None

    def keep(self, position: int, index: int, value: Any) -> None:
        """Write a result that was computed."""
        name, key = self._names[position], self._keys[position]
        if name is None or key is None or self.shelf.broken is not None:
            return
        began, after = _clock(), self.caching.expires_after_s
        try:
            with within_script(self.caching.script):
                self.shelf.results.write_named(
                    name, key, value, origin_of(self._code, self._run), self.caching.serializer,
                    expires_s=0.0 if after is None else time.time() + after)
        except ResultStorageError as error:
            self.shelf.fails(error)
        except Exception as error:  # user values: serialising may raise anything
            self._log(index, logging.WARNING,
                      f"The result is not kept in {self.caching.storage.location}: "
                      f"{type(error).__name__}: {text_of(error)}")
        else:
            self.note_kept((position,), (key,))
        self.tell_broken()
        self.spent_s += _clock() - began
