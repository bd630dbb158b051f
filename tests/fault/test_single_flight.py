"""Many ask for one result at once: one computes it, the others wait; the one may die meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow import flow, task
from dataflow.cache_policies import INPUTS
from dataflow.stores import open_store
from tests.nursery import Child, Nursery
from tests.run_support import ledger, note, recorded, script_of, wait_until

SCRIPT = """
    import os, sys, time
    from pathlib import Path
    from dataflow import flow, task
    from dataflow.cache_policies import INPUTS
    from dataflow.worker import claiming
    from tests.run_support import note, wait_until

    BOOK, NAME = sys.argv[1], sys.argv[2]
    LEASE

    @task(cache_policy=INPUTS, persist_result=True)
    def expensive(x):
        note(BOOK, f"begun {NAME}")
        wait_until(Path(BOOK + ".gate").exists, "the gate is open", 60)
        note(BOOK, f"ended {NAME}")
        return [x, NAME]

    @flow(task_runner="inline")
    def asks():
        wait_until(Path(BOOK + ".start").exists, "all may begin", 60)
        note(BOOK, f"asks {NAME}")
        return HOW

    if __name__ == "__main__":
        value = asks()
        note(BOOK, f"got {value}")
"""

WAYS = {"direct": "expensive(7)", "submit": "expensive.submit(7).result()",
        "map": "expensive.map([7]).result()[0]"}


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery


def lines(book: Path, word: str) -> list[str]:
    return [line for line, times in ledger(book).items() if line.startswith(word)
            for _ in range(times)]


def states() -> Counter[str]:
    store = open_store()
    try:
        return Counter(row.state_name for row in store.task_runs(limit=None)
                       if row.task_name == "expensive")
    finally:
        store.close()


def script(folder: Path, how: str, lease: str = "") -> Path:
    return script_of(folder, SCRIPT.replace("HOW", WAYS[how]).replace("LEASE", lease))


def all_well(children: list[Child], timeout_s: float = 60) -> None:
    for child in children:
        child.wait(timeout_s)
        assert child.code == 0, child.out.read_text()


@pytest.mark.parametrize("how", WAYS)
def test_one_of_many_processes_computes_a_result_that_all_ask_for_at_once(
    tmp_path: Path, nursery: Nursery, how: str
) -> None:
    many = 32 if how == "direct" else 8
    asks, book = script(tmp_path, how), tmp_path / "book"
    children = [nursery.start(asks, book, n) for n in range(many)]
    Path(f"{book}.start").touch()
    wait_until(lambda: len(lines(book, "asks")) == many and lines(book, "begun"), "all ask", 60)
    Path(f"{book}.gate").touch()
    all_well(children)
    (winner,) = lines(book, "ended")
    assert lines(book, "begun") == [winner.replace("ended", "begun")]
    assert Counter(lines(book, "got")) == {f"got [7, '{winner.split()[1]}']": many}
    assert states() == {"Completed": 1, "Cached": many - 1}


@pytest.mark.parametrize("how", ["direct", "map"])
def test_one_takes_over_when_the_owner_is_killed(
    tmp_path: Path, nursery: Nursery, how: str
) -> None:
    asks, book = script(tmp_path, how), tmp_path / "book"
    Path(f"{book}.start").touch()
    owner = nursery.start(asks, book, "owner")
    owner.until(lambda: lines(book, "begun"), 20)
    others = [nursery.start(asks, book, n) for n in range(6)]
    wait_until(lambda: len(lines(book, "asks")) == 7, "all ask", 30)
    assert lines(book, "begun") == ["begun owner"]
    owner.kill()
    wait_until(lambda: len(lines(book, "begun")) == 2, "one has taken over", 10)
    Path(f"{book}.gate").touch()
    all_well(others)
    assert len(lines(book, "begun")) == 2 and len(lines(book, "ended")) == 1
    assert {name: many for name, many in states().items()
            if name in ("Completed", "Cached")} == {"Completed": 1, "Cached": 5}


def test_an_owner_whose_lease_is_over_counts_as_gone_and_does_no_harm_when_it_comes_back(
    tmp_path: Path, nursery: Nursery
) -> None:
    lease = "claiming.LEASE_S, claiming.RENEW_S = 0.6, 0.2"
    asks, book = script(tmp_path, "direct", lease), tmp_path / "book"
    Path(f"{book}.start").touch()
    owner = nursery.start(asks, book, "owner")
    owner.until(lambda: lines(book, "begun"), 20)
    os.kill(owner.pid, signal.SIGSTOP)
    others = [nursery.start(asks, book, n) for n in range(3)]
    wait_until(lambda: len(lines(book, "begun")) == 2, "one has taken over", 20)
    Path(f"{book}.gate").touch()
    all_well(others)
    assert len(lines(book, "begun")) == 2
    os.kill(owner.pid, signal.SIGCONT)
    all_well([owner])
    assert states() == {"Completed": 2, "Cached": 2}
    assert lines(book, "got")[-1] and len(lines(book, "begun")) == 2


@pytest.mark.parametrize("runner", ["threads", "inline"])
def test_one_of_many_submits_and_elements_of_one_flow_computes(
    tmp_path: Path, runner: str
) -> None:
    book = tmp_path / "book"

    @task(cache_policy=INPUTS, persist_result=True)
    def expensive(x: int) -> int:
        note(book, f"begun {x}")
        if runner == "threads":
            wait_until(lambda: (tmp_path / "all-asked").exists(), "all are asked for", 20)
        return 2 * x

    @flow(task_runner=runner)
    def asks() -> list[int]:
        singles = [expensive.submit(n % 2) for n in range(10)]
        mapped = expensive.with_options(batch_size=2).map([n % 2 for n in range(20)])
        (tmp_path / "all-asked").touch()
        return [*(each.result() for each in singles), *mapped.result()]

    assert asks() == [0, 2] * 15
    assert ledger(book) == {"begun 0": 1, "begun 1": 1}
    assert Counter(row.state_name for row in recorded().task_runs) == {
        "Completed": 2, "Cached": 28}


def test_one_of_several_flows_in_one_process_computes(tmp_path: Path) -> None:
    book = tmp_path / "book"
    gate = tmp_path / "gate"

    @task(cache_policy=INPUTS, persist_result=True)
    def expensive(x: int) -> int:
        note(book, f"begun {x}")
        wait_until(gate.exists, "all ask")
        return 2 * x

    @flow
    def asks() -> int:
        note(book, "asks")
        return expensive.submit(21).result()

    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(asks())) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: ledger(book)["asks"] == 4 and ledger(book)["begun 21"], "all ask")
    gate.touch()
    for thread in threads:
        thread.join(30)
    assert got == [42] * 4
    assert ledger(book)["begun 21"] == 1
    assert states() == {"Completed": 1, "Cached": 3}


CROSSED = """
    import sys, time
    from pathlib import Path
    from dataflow import flow, task
    from dataflow.cache_policies import INPUTS
    from tests.run_support import note, wait_until

    BOOK, NAME, RUNNER, HOW = sys.argv[1:]
    NEEDS = {"X": "Z", "Z": "Y"}

    @task(cache_policy=INPUTS, persist_result=True)
    def part(x):
        if x not in NEEDS:
            return x
        note(BOOK, f"begun {x}")
        wait_until(lambda: {"begun X", "begun Z"} <= set(Path(BOOK).read_text().split("\\n")),
                   "both are under way", 30)
        return x + part(NEEDS[x])

    @flow(task_runner=RUNNER)
    def asks():
        quick = [f"{NAME} {n}" for n in range(200)]  # until many are in a batch
        wanted = [*quick, *(["X", "Y"] if NAME == "one" else ["Z"])]
        if HOW == "map":
            return part.map(wanted).result()[200:]
        return [future.result() for future in [part.submit(each) for each in wanted]][200:]

    if __name__ == "__main__":
        note(BOOK, f"got {''.join(asks())}")
"""


@pytest.mark.parametrize("how", ["map", "submit"])
@pytest.mark.parametrize("runner", ["inline", "threads"])
def test_a_batch_that_waits_for_another_process_leaves_it_what_has_not_begun(
    tmp_path: Path, nursery: Nursery, runner: str, how: str
) -> None:
    asks, book = script_of(tmp_path, CROSSED), tmp_path / "book"
    book.touch()
    all_well([nursery.start(asks, book, name, runner, how) for name in ("one", "other")])
    assert ledger(book) == {"begun X": 1, "begun Z": 1, "got XZYY": 1, "got ZY": 1}
