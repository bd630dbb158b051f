"""Run the benchmarks one after the other.

    python -m benchmarks [--full] [--only map_overhead,hello] [--strict]
    python -m benchmarks --table      # the last results as Markdown, for README.md

The quick set (the default) takes a few minutes on two cores; ``--full`` takes the sizes of the
table in README.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from benchmarks.harness import PROJECT, RESULTS, shorten

FULL: dict[str, list[str]] = {
    "hello": [],
    "direct_call": [],
    "large_arguments": [],
    "map_overhead": [],
    "usage_overhead": [],
    "map_chain": [],
    "graph_shapes": [],
    "first_element": [],
    "skewed": [],
    "locality": [],
    "async_concurrency": [],
    "million": [],
    "cache_key": [],
    "cached_rerun": [],
    "persisted_map": [],
    "resume": [],
    "single_flight": [],
    "schedule_latency": [],
    "event_latency": [],
    "take_latency": [],
}
QUICK: dict[str, list[str]] = {
    "hello": ["--repeats", "3"],
    "direct_call": ["--calls", "2000"],
    "large_arguments": ["--floats", "2000000"],
    "map_overhead": ["--elements", "50000", "--dask-elements", "3000"],
    "usage_overhead": ["--elements", "100000"],
    "map_chain": ["--elements", "20000", "--dask-elements", "1000", "--repeats", "1"],
    "graph_shapes": ["--links", "500", "--leaves", "1024", "--repeats", "1"],
    "first_element": [],
    "skewed": ["--elements", "300", "--repeats", "1"],
    "locality": [],
    "async_concurrency": ["--elements", "4000", "--sampled", "20", "--repeats", "1"],
    "million": ["--elements", "200000"],
    "cache_key": ["--megabytes", "80", "--rows", "100000", "--calls", "5000",
                  "--items", "30000", "--repeats", "1"],
    "cached_rerun": ["--elements", "20000", "--sampled", "500", "--repeats", "1"],
    "persisted_map": ["--elements", "20000", "--repeats", "1"],
    "resume": ["--elements", "20000"],
    "single_flight": ["--repeats", "1"],
    "schedule_latency": ["--slots", "10", "--deployments", "2000"],
    "event_latency": ["--events", "8"],
    "take_latency": ["--runs", "20000", "--turns", "10"],
}


def main() -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the sizes of the table in README.md")
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--table", action="store_true", help="print the last results as Markdown")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a mark is missed")
    options = parser.parse_args()
    if options.table:
        print_table()
        return 0
    chosen = FULL if options.full else QUICK
    names = options.only.split(",") if options.only else list(chosen)
    if unknown := set(names) - set(chosen):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    broken = []
    for name in names:
        print(f"\n{name}", flush=True)
        (RESULTS / f"{name}.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *chosen[name]]
        if subprocess.run(command, cwd=PROJECT).returncode:
            broken.append(name)
    missed = list(marks_missed(names))
    print(f"\n{len(names) - len(broken)} of {len(names)} ran; marks missed: {len(missed)}")
    print(*(f"  {line}" for line in missed), sep="\n")
    if broken:
        print("did not run to the end: " + ", ".join(broken))
    return int(bool(broken) or (options.strict and bool(missed)))


def print_table() -> None:
    """Print the rows of all results as one Markdown table, with machine and versions."""
    results = [json.loads(path.read_text()) for name in FULL
               if (path := RESULTS / f"{name}.json").exists()]
    print("| benchmark | measured | ours | against | theirs | theirs / ours | must | |")
    print("|---|---|---:|---|---:|---:|---|---|")
    for result in results:
        for row in result["rows"]:
            other, ratio = row["other"], row["ratio"]
            cells = [
                f"`{result['benchmark']}`", row["what"], f"{shorten(row['ours'])} {row['unit']}",
                row["against"], "" if other is None else f"{shorten(other)} {row['unit']}",
                "" if ratio is None else shorten(ratio), row["must"],
                {True: "pass", False: "**missed**", None: ""}[row["passed"]],
            ]
            print("| " + " | ".join(cells) + " |")
    for machine in {json.dumps(result["machine"]["versions"]) for result in results}:
        print(f"\n{machine}")
    for result in results:
        load = result["machine"]["load_after"][0]
        notes = "; ".join(f"{row['what']}: {row['note']}" for row in result["rows"] if row["note"])
        print(f"- `{result['benchmark']}` {result['time']}, load {load}. {notes}")


def marks_missed(names: list[str]) -> list[str]:
    """Return a line for each row that misses its mark, read from the JSON files."""
    lines = []
    for name in names:
        path = RESULTS / f"{name}.json"
        for row in json.loads(path.read_text())["rows"] if path.exists() else []:
            if row["passed"] is False:
                figure = f"{row['ours']:.3g} {row['unit']}"
                if row["ratio"] is not None:
                    figure += f", theirs / ours {row['ratio']:.2f}"
                lines.append(f"{name}: {row['what']}: {figure} (must {row['must']})")
    return lines


if __name__ == "__main__":
    sys.exit(main())
