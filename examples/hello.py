"""The smallest flow: one task called, one submitted, one mapped.

    python examples/hello.py
"""

from __future__ import annotations

import sys

from dataflow import flow, get_run_logger, task


@task
def greet(name: str) -> str:
    """Return a greeting."""
    return f"Hello, {name}!"


@task
def shout(text: str) -> str:
    """Return it louder."""
    return text.upper()


@flow
def hello(names: list[str]) -> list[str]:
    """Greet everyone at once."""
    get_run_logger().info("greeting %d people", len(names))
    greetings = greet.map(names)    # one task run for each name; returns at once
    louder = shout.map(greetings)   # follows element by element
    return louder.result()          # here, and only here, the flow waits for values


if __name__ == "__main__":
    answer = hello(["Ada", "Grace", "Edsger"])
    print(*answer, sep="\n")
    sys.exit(answer != ["HELLO, ADA!", "HELLO, GRACE!", "HELLO, EDSGER!"])
