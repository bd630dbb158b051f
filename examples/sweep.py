"""A sweep over hyper-parameters: every point of a grid on every fold, reduced to the best.

Handwritten digits that come with scikit-learn, support vector machines, two worker processes. The
data is sent to each worker once; each of the fits is a task run with its score, its time and its
state. The same loop in plain Python finds the same scores.

    python examples/sweep.py
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from itertools import product
from typing import Any

from dataflow import flow, task, unmapped
from runners import DaskTaskRunner

CLUSTER = {"n_workers": 2, "threads_per_worker": 1, "silence_logs": 50}
GRID = [{"C": c, "gamma": gamma} for c, gamma in product([0.1, 1.0, 10.0], [1e-4, 1e-3, 1e-2])]
FOLDS = 3
PICTURES = 900  # half of them, for a short example


@task
def digits() -> tuple[Any, Any]:
    """Return pictures of 8 × 8 pixels as rows, and which digit each shows."""
    from sklearn.datasets import load_digits

    pixels, shown = load_digits(return_X_y=True)
    return pixels[:PICTURES], shown[:PICTURES]


@task
def score(point: dict[str, float], fold: int, data: tuple[Any, Any]) -> float:
    """Fit on all folds but one; return the share of that one's digits that are told right."""
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import SVC

    pixels, shown = data
    train, test = list(StratifiedKFold(FOLDS).split(pixels, shown))[fold]
    return float(SVC(**point).fit(pixels[train], shown[train]).score(pixels[test], shown[test]))


@task
def best(points: list[dict[str, float]], scores: list[float]) -> tuple[dict[str, float], float]:
    """Return the point with the best mean over its folds."""
    means = defaultdict(list)
    for point, value in zip(points, scores, strict=True):
        means[point["C"], point["gamma"]].append(value)
    (c, gamma), values = max(means.items(), key=lambda item: sum(item[1]))
    return {"C": c, "gamma": gamma}, round(sum(values) / len(values), 6)


@flow(task_runner=DaskTaskRunner(cluster_kwargs=CLUSTER))
def sweep() -> tuple[dict[str, float], float, list[float], float]:
    """Score all points on all folds and return the best of them, the scores and the seconds."""
    points, folds = zip(*product(GRID, range(FOLDS)), strict=True)
    data = digits.submit()
    data.wait()  # the cluster is up
    began = time.perf_counter()
    scores = score.map(points, folds, unmapped(data))
    winner, mean = best.submit(points, scores).result()  # the scores go straight to the reduction
    took_s = time.perf_counter() - began
    return winner, mean, scores.result(), took_s


def in_plain_python() -> tuple[dict[str, float], float, list[float]]:
    """Do the same in a loop."""
    points, folds = zip(*product(GRID, range(FOLDS)), strict=True)
    data = digits.fn()
    scores = [score.fn(point, fold, data) for point, fold in zip(points, folds, strict=True)]
    return (*best.fn(list(points), scores), scores)


if __name__ == "__main__":
    *found, took_s = sweep()
    began = time.perf_counter()
    expected = in_plain_python()
    plain_s = time.perf_counter() - began
    print(f"{len(expected[2])} fits in {took_s:.1f} s on two workers, {plain_s:.1f} s in a loop")
    print(f"best {found[0]}: {found[1]:.1%} of digits told right")
    right = tuple(found) == expected
    print("Equal to plain Python: " + ("yes" if right else "NO"))
    sys.exit(0 if right else 1)
