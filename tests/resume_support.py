"""A flow that dies at a known point, and goes on in another process.

Lives here: the script around such a flow and the case that starts it. Does not live
here: the flows (``tests/fault/test_resume_*.py``).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.nursery import Child, Nursery
from tests.run_support import Recorded, ledger, recorded, script_of

HEAD = """
    import asyncio, json, os, signal, sys, threading, time
    from pathlib import Path
    from dataflow import allow_failure, flatten, flow, get_run_logger, runtime, task, unmapped
    from dataflow.cache_policies import INPUTS, NO_CACHE
    from dataflow.exceptions import DataflowError
    from dataflow.futures import as_completed
    from dataflow.stores import open_store
    from tests.run_support import note, wait_until

    BOOK, HOW, RUNNER = sys.argv[1], sys.argv[2], sys.argv[3]
    KEPT = dict(persist_result=True)

    def done(what):
        note(BOOK, what)

    def ended(least):
        store = open_store()
        try:
            final = {"Completed", "Cached", "Failed", "AwaitingRetry", "Crashed", "Cancelled"}
            return sum(many for run in store.flow_runs(limit=None)
                       for call in store.calls(run.id, nested=True)
                       for name, many in call.counts.items() if name in final) >= least
        finally:
            store.close()

    def first():
        return not Path(BOOK + ".died").exists()

    def die(least=0, how=signal.SIGKILL):
        if first():
            wait_until(lambda: ended(least), "outcomes are recorded", 5)
            Path(BOOK + ".died").touch()
            os.kill(os.getpid(), how)
            time.sleep(60)
"""

TAIL = """
    if __name__ == "__main__":
        verbs = {"start": main, "resume": lambda: main.resume("last"),
                 "retry": lambda: main.retry("last")}
        try:
            value = verbs[HOW]()
            if asyncio.iscoroutine(value):
                value = asyncio.run(value)
            Path(BOOK + ".value").write_text(json.dumps(value))
        except DataflowError as error:
            Path(BOOK + ".value").write_text(json.dumps([type(error).__name__, str(error)]))
            raise
"""


class Case:
    """A flow that is started, dies, and goes on."""

    def __init__(self, nursery: Nursery, folder: Path, runner: str) -> None:
        self._nursery, self._folder, self.runner = nursery, folder, runner
        self.book = folder / "book"
        self.output = ""

    def write(self, text: str) -> None:
        self._script = script_of(self._folder, HEAD + text + TAIL)

    def go(self, how: str, timeout_s: float = 40) -> Any:
        """Run the flow, or go on with it; return what it returned, None where it died."""
        value = self._folder / "book.value"
        value.unlink(missing_ok=True)
        driver = self.start(how)
        driver.wait(timeout_s)
        self.output = driver.out.read_text()
        if not value.exists():
            return None
        return json.loads(value.read_text())

    def start(self, how: str) -> Child:
        return self._nursery.start(self._script, self.book, how, self.runner)

    def died_then(self, text: str, how: str = "resume") -> Any:
        """Start a flow that dies, then go on with it."""
        self.write(text)
        assert self.go("start") is None, self.output
        assert (self._folder / "book.died").exists(), self.output
        self.before = self.done
        value = self.go(how)
        assert value is not None, self.output
        return value

    @property
    def done(self) -> Counter[str]:
        return ledger(self.book)

    @property
    def after(self) -> Counter[str]:
        return self.done - self.before

    @property
    def story(self) -> Recorded:
        return recorded()
