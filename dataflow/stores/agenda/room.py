"""How much may begin beside what goes on: the limits of tags, queues and deployments.

Lives here: what is full, counted once and kept up as runs are chosen. Does not live
here: the order in which runs are looked at (``taking.py``), setting limits
(``limits.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, Literal

from sqlalchemy import Connection, func, or_, select

from dataflow.stores.agenda.schema import (
    TAKEN,
    deployments,
    queued_runs,
    queues,
    tag_limits,
    tag_mark,
)

_D, _Q, _T, _U = deployments.c, queued_runs.c, tag_limits.c, queues.c
_AT_ONCE = 500  # values in one statement

Answer = Literal["yes", "later", "never"]


class Room:
    """What goes on, and what may begin beside it.

    Parameters
    ----------
    connection
        In whose transaction it is counted.
    pool
        The pool whose queues are meant; tags and deployments count in all pools.
    alone
        Let takers of all pools take turns where tags have limits: in PostgreSQL they count the
        same so.
    """

    def __init__(self, connection: Connection, pool: str, *, alone: bool) -> None:
        self._connection = connection
        self.in_pool = 0
        self.priorities: dict[str, int] = {}
        self._queue_limits: dict[str, int] = {}
        for row in connection.execute(select(queues).where(_U.pool == pool)):
            self.priorities[row.name] = row.priority
            if row.run_limit is not None:
                self._queue_limits[row.name] = row.run_limit
        query = select(tag_limits).order_by(_T.tag)
        self._tag_limits = {tag_mark(row.tag): row.run_limit for row in connection.execute(
            query.with_for_update() if alone else query)}
        self._limits: dict[int, tuple[int | None, str]] = {}
        self._queues: Counter[str] = Counter()
        self._tags: Counter[str] = Counter()
        self._deployments: Counter[int] = Counter()
        self._busy: set[int] = set()
        self._count(pool)

    def _count(self, pool: str) -> None:
        for row in self._connection.execute(
                select(_Q.pool, _Q.queue, _Q.deployment, _Q.schedule, _Q.tags,
                       func.count().label("many"))
                .where(_Q.phase == TAKEN)
                .group_by(_Q.pool, _Q.queue, _Q.deployment, _Q.schedule, _Q.tags)):
            if row.pool == pool:
                self.in_pool += row.many
                self._queues[row.queue] += row.many
            self._note(row, row.many)
        self.learn(self._deployments)

    def _note(self, row: Any, many: int) -> None:
        self._deployments[row.deployment] += many
        for mark in self._tag_limits:
            if mark in row.tags:
                self._tags[mark] += many
        if row.schedule is not None:
            self._busy.add(row.schedule)

    def learn(self, keys: Collection[int]) -> None:
        """Read the limits of deployments that are not known yet."""
        fresh = [key for key in keys if key not in self._limits]
        for at in range(0, len(fresh), _AT_ONCE):
            for row in self._connection.execute(
                    select(_D.key, _D.run_limit, _D.collision).where(
                        _D.key.in_(fresh[at:at + _AT_ONCE]))):
                self._limits[row.key] = (row.run_limit, row.collision)

    def queue_is_full(self, queue: str) -> bool:
        """Tell whether no run of a queue may begin."""
        limit = self._queue_limits.get(queue)
        return limit is not None and self._queues[queue] >= limit

    def answer(self, row: Any) -> Answer:
        """Tell whether a run may begin now, later, or is to be cancelled for want of room."""
        if row.serial and row.schedule in self._busy:
            return "later"
        if self.queue_is_full(row.queue) or any(mark in row.tags for mark in self._full_tags()):
            return "later"
        limit, collision = self._limits[row.deployment]
        if limit is None or self._deployments[row.deployment] < limit:
            return "yes"
        return "never" if collision == "CANCEL_NEW" else "later"

    def take(self, row: Any) -> None:
        """Count a run that begins."""
        self._queues[row.queue] += 1
        self._note(row, 1)

    def not_full(self) -> Iterator[Any]:
        """Yield conditions that leave out most of what would be told to wait."""
        full = [key for key, (limit, collision) in self._limits.items()
                if limit is not None and collision != "CANCEL_NEW"
                and self._deployments[key] >= limit]
        if full:
            yield _Q.deployment.not_in(full[-_MOST:])
        if self._busy:
            yield or_(_Q.serial == 0, _Q.schedule.is_(None),
                      _Q.schedule.not_in(sorted(self._busy)[-_MOST:]))
        for mark in self._full_tags():
            yield func.replace(_Q.tags, mark, "") == _Q.tags

    def _full_tags(self) -> list[str]:
        return [mark for mark, limit in self._tag_limits.items() if self._tags[mark] >= limit]


_MOST = 10_000  # values in a condition: SQLite takes 32,766 in a statement
