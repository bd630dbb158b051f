"""A nightly report on flights that tells somebody when a share of them failed.

The flow is deployed with a schedule and an alert, a worker runs it for two days of 2013, and a
channel of the settings, here a web hook on this machine, hears of it: 8 February 2013 was a
snowstorm in which many flights never came to an air time; with 2 March it is over.

    python examples/nightly.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

from flights import parse, read_lines

from dataflow import flow, get_run_logger, runtime
from dataflow.alerts import Alert
from dataflow.deployments import run_deployment

SNOWSTORM, ORDINARY = "2013-02-08", "2013-03-02"


@flow(alerts=[Alert(name="flights without air time", failed_share=0.05, channels=["ops"],
                    group_seconds=0, throttle_seconds=0)])
def nightly(day: str | None = None) -> dict[str, int]:
    """Count the flights of a day, that before the run is due, that came to an air time."""
    if day is None:
        day = (runtime.flow_run.scheduled_start_time - timedelta(days=1)).date().isoformat()
    year, month, number = (str(int(part)) for part in day.split("-"))
    lines = [line for line in read_lines(None) if line.split(",", 3)[:3] == [year, month, number]]
    states = parse.map(lines, return_state=True)  # one that failed fails nothing else
    flown = sum(state.is_completed() for state in states)
    get_run_logger().info("%d of %d flights of %s", flown, len(lines), day)
    return {"flights": len(lines), "flown": flown}


# ------------------------------------------------------------------ the night


class Receiver(BaseHTTPRequestHandler):
    """Stands for whatever a team reads: takes messages as JSON."""

    messages: Queue[dict[str, Any]] = Queue()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.messages.put(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Print nothing."""


@contextmanager
def receiver() -> Iterator[str]:
    """Run the receiver; give its address as a channel."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"json://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@contextmanager
def worker() -> Iterator[None]:
    """Run a worker, as ``dataflow worker start`` does, and let it end its runs."""
    process = subprocess.Popen([sys.executable, "-m", "dataflow", "worker", "start"],
                               stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def main() -> int:
    with tempfile.TemporaryDirectory() as home, receiver() as channel:
        os.environ["DATAFLOW_HOME"] = home
        Path(home, "dataflow.toml").write_text(
            f'alerts_allow_private = ["127.0.0.1"]\n[channels]\nops = "{channel}"\n')
        nightly.deploy("every-night", cron="0 4 * * *", timezone="America/New_York")
        told: list[str] = []
        with worker():
            for day in (SNOWSTORM, ORDINARY):
                run = run_deployment("nightly/every-night", {"day": day}, timeout=60)
                message = Receiver.messages.get(timeout=60)
                print(f"{day}: {run.state_name}. Told: {message['title']}")
                print(message["message"].rstrip(), end="\n\n")
                told.append(message["message"])
        return 0 if "475 of 930 elements failed" in told[0] and "It is over" in told[1] else 1


if __name__ == "__main__":
    sys.exit(main())
