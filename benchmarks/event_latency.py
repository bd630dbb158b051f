"""How long after an event the run that it triggers begins, and what events cost.

    python -m benchmarks.event_latency [--events 20] [--handled 2000]

A flow is served with a trigger on an event; what counts is the time from the call of
``emit_event`` to the run's state RUNNING. Beside it what one does without triggers: the one who
knows of the event starts a fresh interpreter that runs the script. Then what an event costs in a
flow, beside a log line there, and how many a watcher judges in a second by 200 triggers.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import PROJECT, Report, arguments, home, started_ms

LATENCY_MS = 500.0
TRIGGERS = 200
SCRIPT = """
import sys
from dataflow import flow
from dataflow.triggers import OnEvent

@flow
def follow():
    return 1

if __name__ == "__main__":
    if len(sys.argv) > 1:
        follow()
    else:
        follow.serve("on-event", triggers=[OnEvent("go")], print_starting_message=False)
"""


def main() -> int:
    """Measure; return the exit code."""
    options = arguments(__doc__, events=20, handled=2000).parse_args()
    report = Report("event_latency", "from event to started; what events cost")
    with home() as folder:
        script = folder / "follow.py"
        script.write_text(SCRIPT)
        report.samples["triggered"] = triggered_ms(script, options.events)
        report.samples["by hand"] = started_ms(script, min(options.events, 10))
        ours, theirs = (statistics.median(report.samples[name])
                        for name in ("triggered", "by hand"))
        report.add("from event to running, median", ours, "ms", other=theirs,
                   against="python script.py when it happens",
                   must=f"≤ {LATENCY_MS:.0f} ms", passed=ours <= LATENCY_MS)
    with home():
        event_us, line_us = costs_us()
        report.add("an event in a flow", event_us, "µs", other=line_us, against="a log line there")
    with home():
        report.add(f"{options.handled:,} events judged by {TRIGGERS} triggers",
                   judged_s(options.handled), "s")
    return report.finish(strict=options.strict)


def triggered_ms(script: Path, events: int) -> list[float]:
    """Serve the flow, emit events; return how long after each its run began."""
    from dataflow.events import emit_event
    from dataflow.stores import open_store

    server = subprocess.Popen([sys.executable, str(script)], cwd=script.parent,
                              env={**os.environ, "PYTHONPATH": str(PROJECT)},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    store, took = open_store(None), []
    try:
        time.sleep(6)  # it is ready, with a process ahead
        for _ in range(events):
            known = {row.id for row in store.flow_runs(limit=None)}
            at_s = emit_event("go").occurred_s
            until = time.monotonic() + 30
            while time.monotonic() < until:
                made = [row for row in store.flow_runs(limit=5) if row.id not in known]
                if made and made[0].end_time is not None:
                    assert made[0].start_time is not None
                    took.append((made[0].start_time.timestamp() - at_s) * 1e3)
                    break
                time.sleep(0.05)
            time.sleep(2.0)  # for the next process to be ready
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        store.close()
    return took


def costs_us(many: int = 2000) -> tuple[float, float]:
    """Return what an event and a log line cost where a flow makes many of them."""
    from dataflow import emit_event, flow, get_run_logger
    from dataflow.settings import temporary_settings

    took: dict[str, list[float]] = {"event": [], "line": []}

    @flow
    def chatty() -> None:
        log = get_run_logger()
        for _ in range(5):
            began = time.perf_counter()
            for at in range(many):
                emit_event("tick", payload={"at": at})
            took["event"].append((time.perf_counter() - began) / many * 1e6)
            began = time.perf_counter()
            for at in range(many):
                log.info("tick %d", at)
            took["line"].append((time.perf_counter() - began) / many * 1e6)

    with temporary_settings(logging_to_console=False):
        chatty()
    return statistics.median(took["event"]), statistics.median(took["line"])


def judged_s(many: int) -> float:
    """Return how long a watcher takes for so many events, with triggers that wait for others."""
    from dataflow.deployments import DeploymentSpec
    from dataflow.event_log import NewEvent
    from dataflow.ids import new_run_id
    from dataflow.service.deploying import register
    from dataflow.service.judges import judges_of
    from dataflow.service.watcher import Watcher
    from dataflow.stores import open_store
    from dataflow.triggers import OnEvent

    store, now_s = open_store(None), time.time()
    for number in range(TRIGGERS):
        register(store.agenda(), DeploymentSpec(
            name=f"d{number}", flow_name="f", entrypoint="f.py:f",
            triggers=[OnEvent(f"wanted.{number}", count=1000, within="1h")]), now_s)
    watcher = Watcher(store, judges_of(store), since_s=now_s - 1)
    watcher.turn()
    store.events().emit([
        NewEvent(id=new_run_id(), name=f"wanted.{at % (2 * TRIGGERS)}", occurred_s=now_s)
        for at in range(many)])
    began = time.perf_counter()
    handled = watcher.turn()
    took = time.perf_counter() - began
    store.close()
    assert handled == many
    return took


if __name__ == "__main__":
    sys.exit(main())
