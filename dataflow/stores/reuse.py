"""Stores that stay open from one flow run of a process to the next.

Lives here: which store a run gets, and how long one waits for the next run. Does not
live here: opening one (``open_store``), what makes one usable again (``Store.use_again``).

Opening an SQLite file, reading its tables and composing each statement anew is more than a
third of what a short flow costs.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from contextlib import suppress

from dataflow import stores
from dataflow.exceptions import StoreError
from dataflow.settings import get_settings
from dataflow.store import Store

_AT_MOST = 2  # stores that wait for the next run
_Place = tuple[str, str]

_waiting: list[tuple[_Place, Store]] = []
_places: weakref.WeakKeyDictionary[Store, _Place] = weakref.WeakKeyDictionary()
_lock = threading.Lock()
_left_behind: list[Store] = []  # of the parent process: never to be used or closed


def store_for_run() -> Store:
    """Return the store of the settings for a flow run, which gives it to :func:`after_run`.

    Raises
    ------
    StoreError
        It cannot be opened.
    """
    place = (get_settings().store_location, _folder())
    while (store := _taken(place)) is not None:
        try:
            store.use_again()
        except StoreError:  # moved, read-only, broken: opening it says why
            with suppress(StoreError):
                store.close()
        else:
            return store
    store = stores.open_store(place[0])
    _places[store] = place
    return store


def after_run(store: Store) -> None:
    """Keep a store for the next run, or close it. What waited longest is closed for it."""
    place = _places.get(store)
    if place is None:
        store.close()
        return
    try:
        if not store.rest():
            return
    except StoreError:
        store.close()
        return
    with _lock:
        _waiting.append((place, store))
        ended = [_waiting.pop(0)[1] for _ in range(len(_waiting) - _AT_MOST)]
    for each in ended:
        each.close()


def close_all() -> None:
    """Close all stores that wait."""
    with _lock:
        ended = [store for _, store in _waiting]
        _waiting.clear()
    for store in ended:
        with suppress(StoreError):
            store.close()


def _folder() -> str:
    """Return what a relative path of a store starts from."""
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed
        return ""


def _taken(place: _Place) -> Store | None:
    with _lock:
        for at, (there, store) in enumerate(_waiting):
            if there == place:
                del _waiting[at]
                return store
    return None


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _left_behind.extend(store for _, store in _waiting)
    _waiting.clear()


atexit.register(close_all)
os.register_at_fork(after_in_child=_after_fork)
