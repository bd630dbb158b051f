"""The loop that looks for files: each that appears or changes becomes an event, once.

Lives here: the loop, who runs it of many, what happens when a place cannot be looked at.
Does not live here: looking (``triggers/looking.py``), what is new
(``triggers/sightings.py``), what follows from the events (``watcher.py``).

Any number may run on one store: one leads. Should two look for a moment, each file is
still one event: the store knows what was seen.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataflow.agenda import DeploymentRow
from dataflow.event_log import NewEvent
from dataflow.exceptions import StoreError
from dataflow.said_lately import SaidLately
from dataflow.service.folder_waker import FolderWaker
from dataflow.service.leading import Lead
from dataflow.store import Store
from dataflow.triggers.carried import Carried, carried
from dataflow.triggers.looking import Sight, concerns, look
from dataflow.triggers.on_file import OnFile
from dataflow.triggers.remembering import watch_of
from dataflow.triggers.sightings import Watching

LOOP = "files"
GLANCE_S = 2.0
"""Triggers that others put are seen within so long, in seconds."""

AT_ONCE = 4
"""Places that are looked at at the same time: one that does not answer holds up few others."""

PATIENCE_S = 60.0
"""A look that takes longer is left to itself, in seconds: others have its room."""

_BATCH = 500

Look = Callable[[str, Mapping[str, Any], Sequence[str]], dict[str, Sight]]

logger = logging.getLogger("dataflow.triggers")


@dataclass(slots=True)
class _Place:
    carried: Carried
    trigger: OnFile
    watching: Watching | None = None  # None: what it has seen is not known yet
    due_s: float = 0.0
    busy: bool = False
    began_s: float = 0.0  # the look that goes on
    left: bool = False  # it is left to itself
    told: bool = False  # that it cannot be looked at


class FileWatcher:
    """Looks for files until it is stopped.

    Parameters
    ----------
    store
        Where the deployments and events are.
    look
        Lists the files of a place.
    clock
        Gives epoch seconds.
    """

    def __init__(self, store: Store, *, look: Look = look,
                 clock: Callable[[], float] = time.time) -> None:
        self._agenda, self._log = store.agenda(), store.events()
        self._look, self._clock = look, clock
        self._lead = Lead(self._log, LOOP)
        self._places: dict[str, _Place] = {}
        self._rows: list[DeploymentRow] = []  # whose places these are
        self._glance_at_s = 0.0
        self._stop = threading.Event()
        self._said = SaidLately()
        self._poked = threading.Event()
        self._room = threading.Semaphore(AT_ONCE)
        self._leaving = threading.Lock()
        self._waker = FolderWaker(self._woken)
        self._thread: threading.Thread | None = None

    def turn(self) -> list[str]:
        """Look at the places whose time has come; return their names. For tests: one by one."""
        found = self._due(self._clock())
        for name in found:
            self._look_at(self._places[name])
        return found

    def run(self) -> None:
        """Look until :meth:`stop`; a store that fails for a while is waited for."""
        while not self._stop.is_set():
            try:
                self._leave(self._clock())
                for name in self._due(self._clock()):
                    self._begin(self._places[name])
            except StoreError as error:
                if self._said.is_new(str(error)):
                    logger.warning("%s", error)
                self._stop.wait(1.0)
            except Exception:  # whatever it is, it must not end the thread: no file would be seen
                logger.exception("A turn of the file watcher failed; the next one follows")
                self._stop.wait(1.0)
            self._poked.wait(self._pause_s())
            self._poked.clear()
        self._waker.close()
        if self._lead.is_held(self._clock()):
            self._lead.give_up(self._clock())

    def start(self) -> None:
        """Run in a thread."""
        self._thread = threading.Thread(target=self.run, daemon=True, name="dataflow-files")
        self._thread.start()

    def stop(self) -> None:
        """End the loop, and wait for it; a look that goes on is not waited for."""
        self._stop.set()
        self._poked.set()
        if self._thread is not None:
            self._thread.join()

    def _due(self, now_s: float) -> list[str]:
        """Return the places whose time has come, where this watcher leads."""
        if not 0 <= self._glance_at_s - now_s <= GLANCE_S:
            self._glance_at_s = now_s + GLANCE_S
            self._learn()
        if not self._places or not self._lead.ask(now_s):
            return []
        if self._lead.is_new:
            for place in self._places.values():
                place.watching = None  # another one may have seen more meanwhile
        for place in self._places.values():
            if place.due_s > now_s + place.trigger.every:  # the clock was set back
                place.due_s = now_s
        due = [(place.due_s, name) for name, place in self._places.items()
               if not place.busy and place.due_s <= now_s]
        return [name for _, name in sorted(due)]  # those that have waited longest come first

    def _learn(self) -> None:
        """Learn which places there are now."""
        rows = self._agenda.with_triggers()
        if rows != self._rows:
            self._places, self._rows = self._found(rows), rows
        self._waker.watch([place.trigger.url for place in self._places.values()])

    def _found(self, rows: Sequence[DeploymentRow]) -> dict[str, _Place]:
        """Return the places of deployments, with what is known of them."""
        found: dict[str, _Place] = {}
        for each in carried(rows):
            if isinstance(each.trigger, OnFile):  # in a pause too: nothing is made up for after it
                name = watch_of(each)
                known = self._places.get(name)
                if known is None or known.trigger != each.trigger:
                    known = _Place(each, each.trigger)
                found[name] = known
        return found

    def _begin(self, place: _Place) -> None:
        """Look at a place in a thread of its own, where there is room for one."""
        if not self._room.acquire(blocking=False):
            return
        place.busy, place.left, place.began_s = True, False, self._clock()

        def perform() -> None:
            try:
                self._look_at(place)
            except StoreError as error:
                logger.warning("%s", error)
            except Exception:
                logger.exception("What was found at %s makes no events now", place.trigger.url)
            finally:
                with self._leaving:
                    place.busy = False
                    if not place.left:
                        self._room.release()
                self._poked.set()

        threading.Thread(target=perform, daemon=True, name="dataflow-look").start()

    def _leave(self, now_s: float) -> None:
        """Leave looks that take too long to themselves: no other place waits for theirs."""
        for place in self._places.values():
            if now_s - place.began_s <= PATIENCE_S:
                continue
            with self._leaving:
                leaves = place.busy and not place.left
                if leaves:
                    place.left = True
                    self._room.release()
            if leaves:
                logger.warning(
                    "Files at %s (deployment %s) have been looked for since %.0f s: other places "
                    "are looked at meanwhile", place.trigger.url, place.carried.deployment.name,
                    now_s - place.began_s)

    def _look_at(self, place: _Place) -> None:
        trigger, name = place.trigger, watch_of(place.carried)
        place.due_s = self._clock() + trigger.every
        if place.watching is None:
            place.watching = Watching(name, trigger, place.carried.deployment.updated_s,
                                      self._log.seen(name))
        try:
            found = self._look(trigger.url, trigger.options, trigger.ignore)
        except FileNotFoundError as error:
            self._away(place, error)
            found = {}
        except Exception as error:  # a library's own: aiohttp's, botocore's, paramiko's, …
            self._away(place, error)
            return
        else:
            if place.told:
                logger.info("Files at %s can be looked for again", trigger.url)
            place.told = False
        events = place.watching.looked(found, self._clock())
        for at in range(0, len(events), _BATCH):
            self._put_down(place.watching, events[at:at + _BATCH])
        place.due_s = place.watching.next_s(self._clock())

    def _put_down(self, watching: Watching, events: Sequence[NewEvent]) -> None:
        self._log.emit(events)
        watching.note(events)

    def _away(self, place: _Place, error: Exception) -> None:
        """Say once that a place cannot be looked at."""
        if not place.told:
            logger.warning(
                "Files at %s (deployment %s) cannot be looked for; it is tried every %g s: %s: %s",
                place.trigger.url, place.carried.deployment.name, place.trigger.every,
                type(error).__name__, f"{error}"[:500])
        place.told = True

    def _woken(self, paths: Collection[str]) -> None:
        """Look at once where something has changed that counts there."""
        for place in list(self._places.values()):
            url = place.trigger.url
            if "://" not in url and concerns(url, place.trigger.ignore, paths):
                place.due_s = 0.0
                self._poked.set()

    def _pause_s(self) -> float:
        """Return how long to wait for the next place, or the next glance."""
        now_s = self._clock()
        waiting = [place.due_s for place in self._places.values() if not place.busy]
        busy = sum(place.busy and not place.left for place in self._places.values())
        if busy >= AT_ONCE or not self._lead.is_held(now_s):
            waiting = []  # a look that ends, or the next glance, comes first
        return min(max(min([self._glance_at_s, *waiting]) - now_s, 0.02), GLANCE_S)
