"""The network between the driver and its Dask cluster is cut in mid map, and healed.

Between them stands a proxy (loopback, a thread per direction). It can drop all
connections and refuse new ones, or forward nothing without a word.

What is not noticed: Dask asks for no sign of life of a scheduler that is silent,
so a cut without a word is found by TCP alone, after
``distributed.comm.timeouts.tcp`` (30 s) without an acknowledgement. A proxy's
kernel acknowledges what the proxy does not forward; there a run waits as long as
the silence lasts, and goes on where it stood. A real line is that between two
network namespaces (where the test is root): in the long version (``make chaos``)
its silence lasts until Dask has noticed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataflow import Flow, flow, task
from dataflow.cache_policies import INPUTS
from dataflow.exceptions import SchedulerLost
from dataflow.outcomes import SUCCEEDED
from dataflow.stores import open_store
from runners import DaskTaskRunner
from tests.fault.test_scheduler_lost import Site
from tests.run_support import ledger, note, recorded, wait_until

CHAOS = bool(os.environ.get("DATAFLOW_CHAOS"))
CUT_S = 30.0 if CHAOS else 1.5
WIDTH = 1_500 if CHAOS else 150
dask = [pytest.mark.dask, pytest.mark.timeout(180)]
pytestmark = dask


class Proxy:
    """A line between two ports that can be cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._flows = threading.Event()
        self._flows.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.heal()

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Drop all connections, refuse new ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            _shut(listener)
        for pair in self._pairs:
            for end in pair:
                _shut(end)
        self._pairs.clear()

    def silence(self) -> None:
        """Forward nothing any more, without a word."""
        self._flows.clear()

    def heal(self) -> None:
        """Be as if nothing had been."""
        self._flows.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:  # nobody is there yet: the next one may have more luck
                _shut(near)
                continue
            far.settimeout(None)
            if listener is not self._listener:  # cut meanwhile
                _shut(near)
                _shut(far)
                return
            self._pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                self._flows.wait()
                other.sendall(data)
        _shut(one)
        _shut(other)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


class FarSite(Site):
    """A scheduler and workers in a network namespace of their own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        net = f"10.213.{os.getpid() % 250}"
        self._near, self._host = f"{net}.1", f"{net}.2"
        self._space, self._veth = f"df{os.getpid()}", f"df{os.getpid() % 100_000}"
        self.address = self.address.replace("127.0.0.1", self._host)

    def lay(self) -> None:
        """Make the namespace and the line to it."""
        space, near, far = self._space, f"{self._veth}a", f"{self._veth}b"
        _ip("netns", "add", space)
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
        _ip("addr", "add", f"{self._near}/30", "dev", near)
        _ip("-n", space, "addr", "add", f"{self._host}/30", "dev", far)
        for link in ("lo", far):
            _ip("-n", space, "link", "set", link, "up")
        _ip("link", "set", near, "up")

    def silence(self) -> None:
        """Lose every packet."""
        _ip("link", "set", f"{self._veth}a", "down")

    def heal(self) -> None:
        """Carry packets again."""
        _ip("link", "set", f"{self._veth}a", "up")

    def remove(self) -> None:
        """End the processes, and the namespace with the line."""
        self.kill()
        subprocess.run(["ip", "netns", "del", self._space], check=False, capture_output=True)

    def _run(self, module: str, *args: object) -> None:
        told = [str(arg).replace("127.0.0.1", self._host) for arg in args]
        self._processes.append(subprocess.Popen(
            ["ip", "netns", "exec", self._space, sys.executable, "-m", module, *told],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True, timeout=20)


@pytest.fixture
def far_site(tmp_path: Path) -> Iterator[FarSite]:
    there = FarSite(tmp_path)
    try:
        there.lay()
    except (OSError, subprocess.CalledProcessError) as error:
        there.remove()
        pytest.skip(f"no network namespace can be made here: {error}")
    try:
        there.start()
        yield there
    finally:
        there.remove()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    there = Site(tmp_path_factory.mktemp("site"))
    there.start()
    port = int(there.address.rpartition(":")[2])
    wait_until(lambda: _listens(port), "the scheduler listens", 30)
    yield there
    there.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture
def line(site: Site) -> Iterator[Proxy]:
    proxy = Proxy(int(site.address.rpartition(":")[2]))
    yield proxy
    proxy.cut()


@dataclass
class Case:
    """A flow of two maps, and the ledger of what was executed."""

    flow: Flow[Any, Any]
    book: Path
    before: set[int]  # elements that were recorded when the line was cut

    def check(self, *, kept: bool) -> None:
        """Assert one outcome an element; where results are kept, nothing recorded ran again."""
        story = recorded()
        assert story.run.state_type == "COMPLETED"
        assert {name: sum(counts.values()) for name, counts in story.counts.items()} == {
            "load": WIDTH, "double": WIDTH}
        assert all(set(counts) <= {"Completed", "Cached"} for counts in story.counts.values())
        done = ledger(self.book)
        assert set(done) == {str(x) for x in range(WIDTH)}
        if kept:
            again = {x for x in self.before if done[str(x)] > 1}
            assert self.before and not again, f"recorded, and executed again: {again}"


def case_of(book: Path, address: str, cut: Callable[[], None], *, kept: bool,
            reconnect_s: float = 60.0) -> Case:
    """Make a flow whose line is cut when a third of its elements have run."""
    options: dict[str, Any] = {"cache_policy": INPUTS} if kept else {}
    cuts: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    cuts.put(cut)
    before: set[int] = set()

    @task(**options)
    def load(x: int) -> int:
        note(book, x)
        time.sleep(0.02)
        return x

    @task
    def double(x: int) -> int:
        return 2 * x

    @flow(task_runner=DaskTaskRunner(address=address, reconnect_timeout_seconds=reconnect_s))
    def cut_off() -> int:
        doubled = double.map(load.map(range(WIDTH)))
        if not cuts.empty():
            wait_until(lambda: stored("load"), "some are recorded")
            wait_until(lambda: len(ledger(book)) > WIDTH // 3, "a third has run")
            before.update(stored("load"))
            cuts.get()()
        return sum(doubled.result())

    return Case(cut_off, book, before)


def stored(name: str) -> set[int]:
    """Return the elements of a task that are recorded as completed."""
    store = open_store()
    try:
        [row] = store.flow_runs()
        return {index for each in store.recorded(row.id) if each.record.task_name == name
                for index, code in enumerate(each.codes) if code in SUCCEEDED}
    finally:
        store.close()


def for_a_while(begin: Callable[[], None], end: Callable[[], None], seconds: float
                ) -> Callable[[], None]:
    """Return what begins something, and ends it later."""
    def both() -> None:
        begin()
        threading.Timer(seconds, end).start()

    return both


@pytest.mark.parametrize("kept", [True, False], ids=["results kept", "results not kept"])
def test_chaos_flow_whose_line_is_cut_and_healed_completes(
    line: Proxy, tmp_path: Path, kept: bool
) -> None:
    cut = for_a_while(line.cut, line.heal, CUT_S)
    case = case_of(tmp_path / "book", line.address, cut, kept=kept)
    assert case.flow() == 2 * sum(range(WIDTH))
    case.check(kept=kept)


def test_chaos_flow_whose_line_is_silent_goes_on_where_it_stood(
    line: Proxy, tmp_path: Path
) -> None:
    silence = for_a_while(line.silence, line.heal, CUT_S)
    case = case_of(tmp_path / "book", line.address, silence, kept=False)
    assert case.flow() == 2 * sum(range(WIDTH))
    case.check(kept=False)
    assert set(ledger(case.book).values()) == {1}, "nothing was lost, and something ran again"


def test_chaos_flow_whose_packets_are_lost_for_a_while_completes(
    far_site: FarSite, tmp_path: Path
) -> None:
    """The long version lasts until TCP gives up, and the runner connects again."""
    silence = for_a_while(far_site.silence, far_site.heal, 1.5 * CUT_S)
    case = case_of(tmp_path / "book", far_site.address, silence, kept=True, reconnect_s=60)
    assert case.flow() == 2 * sum(range(WIDTH))
    case.check(kept=True)


def test_cut_that_outlasts_the_patience_crashes_what_is_open_and_the_run_is_resumed_when_healed(
    line: Proxy, tmp_path: Path
) -> None:
    case = case_of(tmp_path / "book", line.address, line.cut, kept=True, reconnect_s=1.0)
    began = time.monotonic()
    with pytest.raises(SchedulerLost) as caught:
        case.flow()
    assert time.monotonic() - began < 30
    for part in ("scheduler", "lost", "'double'"):
        assert part in str(caught.value)
    story = recorded()
    # the flow function raised what .result() raised; what lies under it are the crashed task runs
    assert (story.run.state_type, story.run.error_type) == (
        "FAILED", "dataflow.exceptions.SchedulerLost")
    assert "scheduler" in (story.run.message or "")
    for counts in story.counts.values():
        assert set(counts) <= {"Completed", "Crashed", "NotReady"} and counts["Crashed"] > 0
        assert sum(counts.values()) == WIDTH
    line.heal()
    case.before |= stored("load")
    assert case.flow.resume("last") == 2 * sum(range(WIDTH))
    case.check(kept=True)
    assert recorded().run.resumed == 1
