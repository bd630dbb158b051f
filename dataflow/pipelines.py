"""Small helpers around maps: a pipeline per element, and results without the failed ones.

Lives here: what needs nothing but ``submit``, ``map`` and futures. Does not live
here: mapping itself (``mapping.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from dataflow.annotations import allow_failure, unmapped
from dataflow.exceptions import MappingLengthMismatch, MappingMissingIterable
from dataflow.future import Future
from dataflow.mapping import is_iterable
from dataflow.tasks import task

T = TypeVar("T")


def apply_map(fn: Callable[..., T], *args: Any) -> list[T]:
    """Call ``fn`` once per element; it makes the element's tasks and returns their futures.

    ``fn`` runs in the flow and is no task itself. Elements of futures of a map
    are futures, so that each pipeline goes on as soon as its own input is there.

    Parameters
    ----------
    fn
        Takes one element of each argument.
    args
        Iterables of equal length, or constants; ``unmapped(...)`` for an
        iterable that is the same for every call.

    Raises
    ------
    MappingMissingIterable
        No argument is iterable.
    MappingLengthMismatch
        Their lengths differ; nothing was called.
    """
    name = getattr(fn, "__name__", type(fn).__name__)
    columns: dict[int, list[Any]] = {
        n: list(arg) for n, arg in enumerate(args)
        if not isinstance(arg, unmapped) and is_iterable(arg)
    }
    if not columns:
        raise MappingMissingIterable(f"apply_map({name}, ...) got no iterable argument")
    lengths = {f"argument {n + 1}": len(column) for n, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{which} has {count}" for which, count in lengths.items())
        raise MappingLengthMismatch(
            f"apply_map({name}, ...): the arguments differ in length: {listed}", lengths=lengths)
    constants = [arg.value if isinstance(arg, unmapped) else arg for arg in args]
    return [
        fn(*(columns[n][at] if n in columns else constant
             for n, constant in enumerate(constants)))
        for at in range(next(iter(lengths.values())))
    ]


def filter_results(futures: Iterable[Any]) -> Future[list[Any]]:
    """Return the future of a list of what completed and is not None, in order.

    Failed elements, and those that did not run for a failure upstream, are left
    out; the values stay with the workers.

    Parameters
    ----------
    futures
        Futures of a map, or a list of futures.
    """
    return _wanted.submit(allow_failure(futures))


@task(name="filter_results")
def _wanted(values: list[Any]) -> list[Any]:
    return [v for v in values if v is not None and not isinstance(v, BaseException)]
