"""A transaction as it stands: what is staged in it, what it keeps, what it is part of.

Lives here: :class:`BaseTransaction`, its states and modes, and which one the
running code is in. Does not live here: what happens at a commit or a rollback
(``transaction_steps.py``), the blocks that users open (``transactions.py``).
"""

from __future__ import annotations

import copy
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextvars import Token
from enum import StrEnum
from itertools import count
from typing import Any, NamedTuple

from dataflow.annotations import NotSet
from dataflow.context import current_transaction as _current
from dataflow.exceptions import DefinitionTypeError
from dataflow.transaction_store import RecordStore, store_of

TransactionHook = Callable[[Any], Any]

_turns = count()


class TransactionState(StrEnum):
    """Where a transaction is."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    STAGED = "STAGED"
    COMMITTED = "COMMITTED"
    ROLLED_BACK = "ROLLED_BACK"


class CommitMode(StrEnum):
    """When a transaction commits."""

    EAGER = "EAGER"  # at its own end
    LAZY = "LAZY"  # with the outermost one around it
    OFF = "OFF"  # when somebody calls commit(), else it is rolled back at its end


class IsolationLevel(StrEnum):
    """What is kept from others that use the same key."""

    READ_COMMITTED = "READ_COMMITTED"
    SERIALIZABLE = "SERIALIZABLE"  # they wait


class Ended(NamedTuple):
    """How task runs ended that were submitted in a block."""

    joined: Sequence[int]  # indexes of those that completed, and did so themselves
    failed: str | None  # what to say of the first that did not complete
    in_hand: bool = False  # not yet: code in the block makes it go on


class Followed(NamedTuple):
    """What was submitted in a block: it joins the transaction at the block's end."""

    runs: Any  # to be waited for with wait() or wait_async(), and asked how they ended()
    on_commit: Sequence[Callable[[Any], Any]]
    on_rollback: Sequence[Callable[[Any], Any]]
    rolled_back: Callable[[Sequence[int]], Any] | None
    committed: Callable[[], Any] | None  # called when the hooks of all of them were
    turn: int  # see BaseTransaction.turn

    def groups(self, joined: Sequence[int]) -> list[Sequence[int]]:
        """Return what commits or rolls back together: one by one where there are hooks."""
        if self.on_commit or self.on_rollback:
            return [(index,) for index in joined]
        return [joined] if joined else []


class BaseTransaction:
    """What both kinds of transactions have.

    Parameters
    ----------
    key
        Names a record: where there is one when the block begins, the transaction is
        committed from the start, and the block can ask :meth:`is_committed`.
    store
        Where the record is: a result storage, a path or URL, or an object with
        ``exists``, ``read`` and ``write``; None: the default result storage.
    commit_mode
        None: as the one around, else LAZY.
    isolation_level
        SERIALIZABLE: others with the same key wait until this one has ended. None: as
        the one around, else READ_COMMITTED.
    overwrite
        Do not look for a record.
    write_on_commit
        Write the staged value under the key.
    logger
        For hooks and errors; by default that of the run around.

    Attributes
    ----------
    children
        Transactions that began inside of this one and leave it to say when they commit.
    turn
        Goes up with each transaction that begins and each call that is submitted in one: what
        is inside of a block commits in the order of its turns, and is undone in the reverse.
    fails
        It is rolled back at the end of its block, when what is under way in it is final.
    """

    def __init__(self, key: str | None = None, store: Any = None,
                 commit_mode: CommitMode | str | None = None,
                 isolation_level: IsolationLevel | str | None = None, overwrite: bool = False,
                 write_on_commit: bool = True,
                 logger: logging.Logger | logging.LoggerAdapter[Any] | None = None, *,
                 parent: BaseTransaction | None = None) -> None:
        if key is not None and not isinstance(key, str):
            raise DefinitionTypeError(
                f"key of a transaction must be a str, got {type(key).__name__} {key!r:.80}",
                option="key")
        self.key = key
        self.store: RecordStore | None = store_of(store) if key else None
        self.parent = parent
        self.commit_mode: CommitMode = _first(
            CommitMode, commit_mode, parent and parent.commit_mode, CommitMode.LAZY)
        self.isolation_level: IsolationLevel = _first(
            IsolationLevel, isolation_level, parent and parent.isolation_level,
            IsolationLevel.READ_COMMITTED)
        self._asked = commit_mode, isolation_level
        self.overwrite = overwrite
        self.write_on_commit = write_on_commit
        self._logger = logger
        self.state = TransactionState.PENDING
        self.children: list[BaseTransaction] = []
        self.on_commit_hooks: list[TransactionHook] = []
        self.on_rollback_hooks: list[TransactionHook] = []
        self.staged_value: Any = None
        self.followed: list[Followed] = []
        self.when_committed: Callable[[], Any] | None = None
        self.when_rolled_back: Callable[[], Any] | None = None
        self.holder = uuid.uuid4().hex if key else ""  # of a lock on the key
        self.locked = self.ending = self.fails = False
        self.turn = next(_turns)
        self._values: dict[str, Any] = {}
        self._token: Token[BaseTransaction | None] | None = None

    @property
    def logger(self) -> logging.Logger | logging.LoggerAdapter[Any]:
        """Where hooks and errors are logged; by default with the run that the code is in."""
        return self._logger or _logger()

    @logger.setter
    def logger(self, logger: logging.Logger | logging.LoggerAdapter[Any]) -> None:
        self._logger = logger

    def set(self, name: str, value: Any) -> None:
        """Keep a value for hooks, and for transactions that begin inside of this one."""
        self._values[name] = value

    def get(self, name: str, default: Any = NotSet) -> Any:
        """Return a copy of a value that was set here, else around here.

        Raises
        ------
        ValueError
            Nobody set it, and there is no default.
        """
        around: BaseTransaction | None = self
        while around is not None:
            if name in around._values:
                return copy.deepcopy(around._values[name])
            around = around.parent
        if default is NotSet:
            raise ValueError(f"Could not retrieve value for unknown key: {name!r} was not set "
                             "in this transaction, nor in one around it")
        return default

    @property
    def own_values(self) -> dict[str, Any]:
        """What was set in this transaction itself; not a copy."""
        return self._values

    def stage(self, value: Any, on_rollback_hooks: Iterable[TransactionHook] | None = None,
              on_commit_hooks: Iterable[TransactionHook] | None = None) -> None:
        """Say what is to be committed; without effect where it is committed already.

        Parameters
        ----------
        value
            Written under the key, if there is one.
        on_rollback_hooks, on_commit_hooks
            Called as ``hook(transaction)``; added to those there are.
        """
        if self.state == TransactionState.COMMITTED:
            return
        self.staged_value = value
        self.on_rollback_hooks += on_rollback_hooks or ()
        self.on_commit_hooks += on_commit_hooks or ()
        if self.state != TransactionState.ROLLED_BACK:
            self.state = TransactionState.STAGED

    def add_child(self, transaction: BaseTransaction) -> None:
        """Let a transaction end with this one."""
        self.children.append(transaction)

    def get_parent(self) -> BaseTransaction | None:
        """Return the transaction around this one."""
        return self.parent

    def new_child(self, turn: int) -> BaseTransaction:
        """Return a transaction that ends with this one."""
        child = BaseTransaction(parent=self, logger=self._logger)
        child.turn = turn
        self.children.append(child)
        return child

    def follow(self, runs: Any, on_commit: Sequence[TransactionHook],
               on_rollback: Sequence[TransactionHook],
               rolled_back: Callable[[Sequence[int]], Any] | None,
               committed: Callable[[], Any] | None = None) -> None:
        """Let what was submitted in the block end with this transaction; see :class:`Followed`."""
        self.followed.append(
            Followed(runs, on_commit, on_rollback, rolled_back, committed, next(_turns)))

    def in_turn(self) -> list[BaseTransaction]:
        """Return what ends with this one in the order in which it began."""
        return sorted(self.children, key=lambda child: child.turn)

    @classmethod
    def get_active(cls) -> BaseTransaction | None:
        """Return the transaction that this code runs in, None outside of one."""
        return get_transaction()

    def is_pending(self) -> bool:
        """Whether it has not begun."""
        return self.state == TransactionState.PENDING

    def is_active(self) -> bool:
        """Whether it has begun and nothing is staged."""
        return self.state == TransactionState.ACTIVE

    def is_staged(self) -> bool:
        """Whether something is staged that is not committed yet."""
        return self.state == TransactionState.STAGED

    def is_committed(self) -> bool:
        """Whether it is committed; within its block: by an earlier one with the same key."""
        return self.state == TransactionState.COMMITTED

    def is_rolled_back(self) -> bool:
        """Whether it was rolled back."""
        return self.state == TransactionState.ROLLED_BACK

    def enter(self) -> None:
        """Become the transaction that the code runs in."""
        if self._token is not None:
            raise RuntimeError("This transaction is entered already: make one per block")
        parent = self.parent = _current.get()
        mode, level = self._asked
        if parent is not None:
            self.commit_mode = _first(CommitMode, mode, parent.commit_mode)
            self.isolation_level = _first(IsolationLevel, level, parent.isolation_level)
        self.turn = next(_turns)
        self._token = _current.set(self)

    def leave(self) -> BaseTransaction | None:
        """Hand over to the transaction around; return it where it is to be rolled back too."""
        self.forget()
        parent = self.parent
        if parent is None:
            return None
        parent.add_child(self)
        return parent if self.state == TransactionState.ROLLED_BACK else None

    def forget(self) -> None:
        """Be the transaction that the code runs in no more."""
        if self._token is None:
            raise RuntimeError("This transaction was not entered")
        _current.reset(self._token)
        self._token = None

    def __repr__(self) -> str:
        key = "" if self.key is None else f" {self.key!r}"
        return f"<{type(self).__name__}{key} {self.state}>"


def get_transaction() -> BaseTransaction | None:
    """Return the transaction that this code runs in, None outside of one."""
    found: BaseTransaction | None = _current.get()
    return found


def _first(kind: Any, *values: Any) -> Any:
    """Return the first value that says something, as one of ``kind``."""
    value = next(value for value in values if value is not None)
    try:
        return kind(value)
    except ValueError:
        raise DefinitionTypeError(
            f"A transaction has no {kind.__name__} {value!r}: it is one of "
            f"{', '.join(kind)}") from None


def _logger() -> logging.Logger | logging.LoggerAdapter[Any]:
    from dataflow.exceptions import MissingContextError
    from dataflow.logging import get_logger, get_run_logger

    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("transactions")
