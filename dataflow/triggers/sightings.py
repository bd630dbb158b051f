"""Which of the files that are seen are new, or other than they were. Pure but for fresh ids.

Lives here: what a watch has seen, what has stopped growing, the events. Does not live
here: looking (``looking.py``), the loop (``service/file_watcher.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from dataflow.event_log import NewEvent
from dataflow.ids import new_run_id
from dataflow.triggers.looking import Sight
from dataflow.triggers.matching import FILE_APPEARED, FILE_CHANGED
from dataflow.triggers.on_file import OnFile

FILE_WATCHED = "dataflow.file.Watched"
"""Event of the first look at a place."""

_COARSE_S = 0.01
"""So much may the time of a file be behind the clock; what came just then is not passed over."""

_THERE = ""  # the thing under which it is kept what was there at the first look
_NAME, _MARK = 12, 8  # hex digits in it, of a file's name and of its mark


class Watching:
    """What one ``OnFile`` has seen.

    Parameters
    ----------
    watch
        Its name in the event log.
    trigger
        What it looks for.
    since_s
        When it was registered: what has come by then was there already.
    seen
        What :meth:`.EventLog.seen` knows.
    """

    def __init__(self, watch: str, trigger: OnFile, since_s: float, seen: Mapping[str, str],
                 new_id: Callable[[], str] = new_run_id) -> None:
        self.watch, self._trigger, self._since_s = watch, trigger, since_s
        self._seen = dict(seen)
        self._there = dict(_unpacked(seen.get(_THERE, "")))
        self._settling: dict[str, tuple[str, float]] = {}  # url → its mark, and since when
        self._new_id = new_id

    def looked(self, found: Mapping[str, Sight], now_s: float) -> list[NewEvent]:
        """Return the events of what was found; :meth:`note` them when they are put down."""
        events = []
        if _THERE not in self._seen:
            events.append(self._first(found, now_s))
        new = {url: sight for url, sight in found.items() if self._is_new(sight)}
        settled = []
        before, self._settling = self._settling, {}
        for url, sight in new.items():
            mark, since_s = before.get(url, ("", now_s))
            if mark != sight.mark or since_s > now_s:  # it has changed, or the clock was set back
                since_s = now_s
            if now_s - since_s >= self._trigger.settle_s:
                settled.append(sight)
            self._settling[url] = (sight.mark, since_s)  # until it is put down
        return events + [self._event(sight, now_s) for sight in settled]

    def note(self, events: Sequence[NewEvent]) -> None:
        """Note that events were put down."""
        for event in events:
            if event.sighting is None:
                continue
            _, thing, mark = event.sighting
            self._seen[thing] = mark
            self._settling.pop(thing, None)
            if thing == _THERE:
                self._there = dict(_unpacked(mark))

    def next_s(self, now_s: float) -> float:
        """Return when to look again: as often as is said, sooner for what may have settled."""
        soon = [since_s + self._trigger.settle_s for _, since_s in self._settling.values()]
        return min([now_s + self._trigger.every, *(max(each, now_s + 0.05) for each in soon)])

    def _is_new(self, sight: Sight) -> bool:
        known = self._seen.get(sight.url)
        if known is not None:
            return known != sight.mark
        there = self._there.get(_short(sight.url, _NAME))
        return there is None or there != _short(sight.mark, _MARK)

    def _first(self, found: Mapping[str, Sight], now_s: float) -> NewEvent:
        """Return the event of the first look, and take what was there already for seen."""
        until_s = self._since_s - _COARSE_S
        there = [sight for sight in found.values()
                 if self._trigger.existing == "skip" and sight.arrived_s <= until_s]
        packed = "".join(_short(each.url, _NAME) + _short(each.mark, _MARK) for each in there)
        self._there = dict(_unpacked(packed))
        return NewEvent(
            id=self._new_id(), name=FILE_WATCHED, occurred_s=now_s, resource=self._trigger.url,
            payload={"url": self._trigger.url, "watch": self.watch, "there": len(there)},
            sighting=(self.watch, _THERE, packed))

    def _event(self, sight: Sight, now_s: float) -> NewEvent:
        known = sight.url in self._seen or _short(sight.url, _NAME) in self._there
        return NewEvent(
            id=self._new_id(), name=FILE_CHANGED if known else FILE_APPEARED, occurred_s=now_s,
            resource=sight.url, payload=_facts(sight, self.watch),
            sighting=(self.watch, sight.url, sight.mark))


def _facts(sight: Sight, watch: str) -> dict[str, Any]:
    return {"url": sight.url, "path": sight.url, "name": sight.url.rpartition("/")[2],
            "size": sight.size, "mtime": sight.mtime_s, "etag": sight.etag, "watch": watch}


def _short(text: str, digits: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=digits // 2).hexdigest()


def _unpacked(packed: str) -> Iterator[tuple[str, str]]:
    step = _NAME + _MARK
    for at in range(0, len(packed), step):
        yield packed[at:at + _NAME], packed[at + _NAME:at + step]
