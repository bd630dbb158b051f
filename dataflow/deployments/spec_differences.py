"""What changed between two descriptions of a deployment, to be printed.

Lives here: the comparison, with secrets masked. Does not live here: how it is
shown (``dataflow.cli``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dataflow.deployments.spec import DeploymentSpec
from dataflow.masking import HIDDEN, masked

_BY_KEY = frozenset({"parameters", "environment", "parameter_schema"})


class Difference(NamedTuple):
    """One field that is not what it was."""

    field: str
    old: Any
    new: Any


def differences(old: DeploymentSpec | None, new: DeploymentSpec) -> list[Difference]:
    """Return what changed, in the order of the fields; empty where the two are equal.

    Parameters
    ----------
    old
        None: all that differs from the defaults of a deployment of that name.
    new
        What it is to be.

    Returns
    -------
    list of Difference
        Parameters and variables are compared key by key (``parameters.day``); None stands
        for what is not there. Values are JSON; those whose names say that they are secret
        are masked.
    """
    before = DeploymentSpec(name=new.name, flow_name=new.flow_name,
                            entrypoint=new.entrypoint) if old is None else old
    return list(_between(before.to_json(), new.to_json()))


def _between(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    for name, now in new.items():
        was = old[name]
        if name not in _BY_KEY:
            if was != now:
                yield Difference(name, without_secrets(was, name), without_secrets(now, name))
            continue
        for key in [*was, *(key for key in now if key not in was)]:
            if (key in was) != (key in now) or was.get(key) != now.get(key):
                path = f"{name}.{key}"
                yield Difference(path, without_secrets(was.get(key), path),
                                 without_secrets(now.get(key), path))


def without_secrets(value: Any, path: str) -> Any:
    """Return a JSON value with all that stands under the name of a secret masked."""
    if isinstance(value, Mapping):
        return {key: without_secrets(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [without_secrets(item, path) for item in value]
    if value is None or isinstance(value, bool):
        return value
    return HIDDEN if masked(path, "") == HIDDEN else value
