"""How long after its time a scheduled run begins, and what a turn of the scheduler costs.

    python -m benchmarks.schedule_latency [--slots 30] [--deployments 10000]

A flow is served with a schedule of one second; what counts is the time from the slot to the
run's state RUNNING, both as recorded. Beside it what cron does at its time: a fresh interpreter
that runs the same script (cron's own clock, which looks once a minute, is not waited for).
Then a scheduler takes turns over many deployments with a cron schedule each, time passed in.
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

LATENCY_MS = 100.0
TURN_S = 1.0
SCRIPT = """
import sys
from dataflow import flow

@flow
def beat():
    return 1

if __name__ == "__main__":
    if len(sys.argv) > 1:
        beat()
    else:
        beat.serve("every-second", interval=1, print_starting_message=False)
"""


def main() -> int:
    """Measure; return the exit code."""
    options = arguments(__doc__, slots=30, deployments=10_000).parse_args()
    report = Report("schedule_latency", "from due to started; a scheduler's turn")
    with home() as folder:
        script = folder / "beat.py"
        script.write_text(SCRIPT)
        report.samples["served"] = served_ms(script, options.slots)
        report.samples["by hand"] = started_ms(script, min(options.slots, 10))
        ours, theirs = (statistics.median(report.samples[name])
                        for name in ("served", "by hand"))
        report.add("from due to running, median", ours, "ms", other=theirs,
                   against="python script.py when due, as cron does",
                   must=f"≤ {LATENCY_MS:.0f} ms", passed=ours <= LATENCY_MS)
        report.add("from due to running, last", max(report.samples["served"]), "ms",
                   other=max(report.samples["by hand"]),
                   against="python script.py when due, as cron does")
    with home():
        for what, seconds in turns_s(options.deployments).items():
            row = report.add(f"turn over {options.deployments:,} deployments, {what}", seconds, "s")
            if what != "all due at once":  # in transactions of 1,000: others write in between
                row.must, row.passed = f"≤ {TURN_S:.0f} s", seconds <= TURN_S
    return report.finish(strict=options.strict)


def served_ms(script: Path, slots: int) -> list[float]:
    """Serve the flow for so many slots; return how late each began."""
    from dataflow.stores import open_store

    server = subprocess.Popen([sys.executable, str(script)], cwd=script.parent,
                              env={**os.environ, "PYTHONPATH": str(PROJECT)},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(slots + 4)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    store = open_store(None)
    late = []
    for run in store.agenda().queue_of("every-second", "ended", limit=slots + 10):
        row = store.find_flow_run(run.flow_run_id)
        if row.start_time is not None and run.slot_s is not None:
            late.append((row.start_time.timestamp() - run.slot_s) * 1e3)
    store.close()
    return late[:-2]  # the newest first; the first two met a worker that was starting


def turns_s(many: int) -> dict[str, float]:
    """Return what turns cost over so many deployments, each due once a day."""
    from dataflow.agenda import NewDeployment, NewSchedule
    from dataflow.service.scheduler import Scheduler
    from dataflow.service.slots import first_slot_s, schedule_of
    from dataflow.stores import open_store

    store = open_store(None)
    agenda, now_s = store.agenda(), 1_800_000_000.0
    for number in range(many):
        spec = schedule_of({"cron": f"{number % 60} {number // 60 % 24} * * *",
                            "timezone": "Europe/Berlin"}).to_json()
        agenda.put(NewDeployment(
            name=f"flow/d{number}", flow_name="flow", digest="d", spec={"entrypoint": "f.py:f"},
            schedules=[NewSchedule(slug="s", spec=spec,
                                   next_s=first_slot_s(schedule_of(spec), now_s))]), now_s)
    moment = [now_s]
    scheduler = Scheduler(store, clock=lambda: moment[0])
    taken: dict[str, list[float]] = {"of one minute": [], "nothing due": []}
    for _ in range(10):
        for what, later_s in (("of one minute", 60.0), ("nothing due", 0.0)):
            moment[0] += later_s
            began = time.perf_counter()
            scheduler.turn()
            taken[what].append(time.perf_counter() - began)
    found = {what: statistics.median(seconds) for what, seconds in taken.items()}
    moment[0] += 86_400.0
    began = time.perf_counter()
    scheduler.turn()
    found["all due at once"] = time.perf_counter() - began
    store.close()
    return found


if __name__ == "__main__":
    sys.exit(main())
