"""The cluster under a runner: found, joined or started, and given back.

Lives here: who owns what, starting a cluster of our own, ending it so that no
process is left. Does not live here: the settings and their contradictions
(``runner.py``).
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any

import distributed
import psutil
from distributed import Client
from distributed.comm.addressing import parse_host_port
from distributed.comm.registry import get_backend

from runners.dask import compat
from runners.dask.link import Link

logger = logging.getLogger("dataflow.runners.dask")

_LOOPBACK = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
_CLOSE_S = 2.0
_TRY_S = 2.0
_AGAIN_S = 0.25
_WITH_PORT = ("", "tcp", "tls", "ucx", "ws", "wss")
_CONNECT_S = 10.0
"""How long an address is tried; ``client_kwargs={"timeout": ...}`` says otherwise."""


def join_client(client: Client) -> Link:
    """Use the cluster of a client that the user has, through a client of our own."""
    own = Client(address_of(client), security=client.security, set_as_default=False,
                 name="dataflow")
    return Link(own, client.cluster, owned=False)


def join(address: Any, client_kwargs: dict[str, Any]) -> Link:
    """Use a cluster by its address, or a cluster object that the user started."""
    options = _client_options(client_kwargs)
    if isinstance(address, str):
        _check_address(address)
        options.setdefault("timeout", _CONNECT_S)
    try:
        client = Client(address, **options)
    except OSError as error:
        raise ConnectionError(
            f"No Dask scheduler answers at {address}: {error}. Is it running, and is it reached "
            "from here?") from error
    return Link(client, None if isinstance(address, str) else address, owned=False)


def _check_address(address: str) -> None:
    """Refuse an address at which nobody can be: a client half made takes 20 s to go."""
    scheme, _, place = address.rpartition("://")
    try:
        if scheme:
            get_backend(scheme)
        if scheme in _WITH_PORT and not 0 < parse_host_port(place)[1] < 65536:
            raise ValueError("ports go from 1 to 65535")
    except ValueError as error:
        raise ValueError(f"{address!r} is no address of a Dask scheduler: {error}. Write "
                         "tcp://host:8786.") from error


def rejoin(address: str, security: Any, client_kwargs: dict[str, Any], patience_s: float,
           give_up: Callable[[], bool]) -> Link | None:
    """Connect again to a scheduler that was lost; None where none with workers comes in time."""
    until_s = time.monotonic() + patience_s
    options = {"security": security, **_client_options(client_kwargs), "timeout": _TRY_S}
    client: Client | None = None
    while time.monotonic() < until_s and not give_up():
        try:
            if client is None:
                client = Client(address, **options)
            if client.nthreads():
                return Link(client, None, owned=False)
        except (OSError, TimeoutError, ValueError):
            if client is not None:
                _close_client(client)
                client = None
        time.sleep(_AGAIN_S)
    if client is not None:
        _close_client(client)
    return None


def _close_client(client: Client) -> None:
    with contextlib.suppress(OSError, TimeoutError, RuntimeError):
        client.close(timeout=_TRY_S)


def start_own(cluster_class: Callable[..., Any] | str | None, cluster_kwargs: dict[str, Any],
              adapt_kwargs: dict[str, Any], client_kwargs: dict[str, Any]) -> Link:
    """Start a cluster that ends with the runner."""
    kind = _load(cluster_class)
    local = isinstance(kind, type) and issubclass(kind, distributed.LocalCluster)
    with compat.tuned_cluster():
        try:
            cluster = kind(**(_with_loopback(cluster_kwargs) if local else cluster_kwargs))
        except (RuntimeError, TypeError) as error:
            raise RuntimeError(_not_started(kind, cluster_kwargs, error)) from error
        try:
            if adapt_kwargs:
                cluster.adapt(**adapt_kwargs)
            elif local:
                compat.keep_nannies(cluster)
            client = Client(cluster, **_client_options(client_kwargs))
        except BaseException:
            cluster.close()
            raise
    return Link(client, cluster, owned=True)


def current_client() -> Client | None:
    """Return the client that is active in this process, None where there is none."""
    try:
        client: Client = Client.current(allow_global=True)
    except ValueError:
        return None
    return client


def address_of(client: Client) -> str:
    """Return the address of a client's scheduler."""
    if client.scheduler is None:
        raise ValueError(f"The Dask client {client} is closed or was never connected")
    return str(client.scheduler.address)


def give_back(link: Link, *, cancelled: bool) -> None:
    """Close the client; end the cluster where it is ours.

    With ``cancelled`` the worker processes are killed first, since a thread in
    user code ends for nobody.
    """
    if not link.owned:
        link.close()
        return
    if cancelled:
        compat.no_restarts(link.cluster)
        kill_workers(link.cluster)
    link.close(timeout_s=_CLOSE_S)
    _close_cluster(link.cluster)


def end_with_process(owner: Any, link: Link) -> Callable[[], Any]:
    """Make sure that no worker process outlives ``owner`` or this process."""
    if not link.owned:
        return weakref.finalize(owner, link.close)
    return weakref.finalize(owner, give_back, link, cancelled=True)


def kill_workers(cluster: Any) -> None:
    """Kill the worker processes of our own cluster, by their ids, with their children."""
    for pid in compat.worker_pids(cluster):
        with contextlib.suppress(psutil.NoSuchProcess):
            tree = psutil.Process(pid).children(recursive=True)
            for process in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            os.kill(pid, signal.SIGKILL)


def _close_cluster(cluster: Any) -> None:
    """Close a cluster; what is still there after a while is killed."""
    thread = threading.Thread(target=_close_quietly, args=(cluster,), daemon=True)
    thread.start()
    thread.join(_CLOSE_S)
    if thread.is_alive():
        compat.no_restarts(cluster)
        kill_workers(cluster)
        thread.join(_CLOSE_S)


def _close_quietly(cluster: Any) -> None:
    try:
        compat.close_worker_clients(cluster)
        cluster.close()
    except Exception:  # a cluster's own close may raise anything; its processes are gone or killed
        logger.debug("The Dask cluster did not close cleanly", exc_info=True)


def _client_options(client_kwargs: dict[str, Any]) -> dict[str, Any]:
    return {"set_as_default": False, "name": "dataflow", **client_kwargs}


def _with_loopback(cluster_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return keywords of a LocalCluster that listens to this machine only."""
    kwargs = {**_LOOPBACK, **cluster_kwargs}
    if "host" not in cluster_kwargs and cluster_kwargs.get("processes") is False:
        del kwargs["host"]  # workers in this process listen to nothing
    return kwargs


def _not_started(kind: Any, cluster_kwargs: dict[str, Any], error: BaseException) -> str:
    """Say which cluster did not start, with which keywords, and the first reason in the chain."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    return (f"The Dask cluster {getattr(kind, '__name__', kind)} did not start with "
            f"cluster_kwargs= of {sorted(cluster_kwargs)}: {type(first).__name__}: {first}. "
            "Is each of these keywords one that it knows?")


def _load(cluster_class: Callable[..., Any] | str | None) -> Callable[..., Any]:
    if cluster_class is None:
        kind: Callable[..., Any] = distributed.LocalCluster
        return kind
    if not isinstance(cluster_class, str):
        return cluster_class
    module, _, name = cluster_class.rpartition(".")
    if not module:
        raise ValueError(
            f"cluster_class={cluster_class!r} is not a path: write 'package.module.Class'")
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cluster_class={cluster_class!r} cannot be found: {error}") from error
    return found
