"""``dataflow deploy``: from a project file, or a flow's place, to deployments that are registered.

Lives here: which deployments are meant, the diff, what is said. Does not live
here: the file (``deployments/project_file.py``), registering (``service/deploying.py``).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from dataflow.cli.options import Output, output_option, parameter
from dataflow.cli.records import opened_store
from dataflow.cli.rendering import print_json, printable
from dataflow.exceptions import DeploymentNotFound

if TYPE_CHECKING:
    from dataflow.deployments import DeploymentSpec, Difference
    from dataflow.store import Store


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "every", is_flag=True, help="All deployments of the project file.")
@click.option("--file", "-f", metavar="FILE",
              help="The project file, or its folder.  [default: dataflow.yaml here]")
@click.option("--dry-run", is_flag=True, help="Say what would change; register nothing.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of project files, and end.")
@click.option("--name", "-n", "new_name", metavar="NAME",
              help="With path/file.py:flow in the place of NAME: what the deployment is called.")
@click.option("--cron", multiple=True, metavar="EXPRESSION", help="With --name: when it runs.")
@click.option("--interval", type=float, multiple=True, metavar="SECONDS",
              help="With --name: when it runs.")
@click.option("--timezone", "-z", metavar="ZONE", help="With --cron.  [default: UTC]")
@click.option("--pool", "-p", metavar="POOL", help="With --name: whose workers take its runs.")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE",
              help="With --name: a parameter, JSON or else a text.")
@output_option
def deploy(
    names: tuple[str, ...], every: bool, file: str | None, dry_run: bool, schema: bool,
    new_name: str | None, cron: tuple[str, ...], interval: tuple[float, ...],
    timezone: str | None, pool: str | None, params: tuple[str, ...], output: Output,
) -> None:
    """Register deployments; the same ones again change nothing.

    NAME is a deployment of the project file, as `flow/name` or `name`; or, with --name, where a
    flow stands: `path/file.py:flow`. The flows are loaded, so that parameters are checked and
    the version of their code is noted.
    """
    if schema:
        from dataflow.deployments import project_schema

        print_json(project_schema())
        return
    if new_name is None and (cron or interval or timezone or pool or params):
        raise click.UsageError("--cron, --interval, --timezone, --pool and --param go with --name; "
                               "a project file says these itself.")
    if new_name is not None:
        if len(names) != 1 or every:
            raise click.UsageError("With --name give one flow: path/file.py:flow.")
        specs = [_single(names[0], new_name, cron, interval, timezone, pool, params)]
    else:
        if every == bool(names):
            raise click.UsageError("Give names of deployments, or --all.")
        specs = _of_project(file, None if every else names)
    with opened_store() as store:
        changes = [_registered(store, spec, dry_run, specs) for spec in specs]
        missing = list(_missing(store, specs))
    for said in missing:
        click.echo(printable(f"Warning: {said}"), err=True)
    if output == "json":
        print_json([{"name": name, "result": result,
                     "differences": [{"field": each.field, "old": each.old, "new": each.new}
                                     for each in found]} for name, result, found in changes])
        return
    for name, result, found in changes:
        click.echo(printable(f"{name}: {result}"))
        for each in found:
            if each.field.startswith("parameter_schema"):  # it follows from the flow
                continue
            click.echo(printable(f"  {each.field}: {_shown(each.old)} → {_shown(each.new)}"))
    if dry_run:
        click.echo("Nothing was registered (--dry-run).")


def _registered(store: Store, spec: DeploymentSpec, dry_run: bool,
                beside: Sequence[DeploymentSpec]) -> tuple[str, str, Sequence[Difference]]:
    """Register a deployment; return its name, what became of it, what is another now."""
    from dataflow.service.deploying import provenance_here, register

    done = register(store.agenda(), spec, time.time(), dry_run=dry_run, beside=beside,
                    provenance=provenance_here(spec))
    return spec.full_name, done.said(dry_run), done.differences


def _missing(store: Store, specs: Sequence[DeploymentSpec]) -> Iterator[str]:
    """Yield what deployments name that is not there: it may be a slip, or come later."""
    there = {row.name for row in store.agenda().deployments()}
    there |= {spec.full_name for spec in specs}
    known = there | {name.partition("/")[2] for name in there}
    for spec in specs:
        named = [("after", spec.after), *(
            (f"triggers[{at}].deployment", each.get("deployment"))
            for at, each in enumerate(spec.triggers))]
        for field, name in named:
            if name is not None and name not in known:
                near = get_close_matches(name, sorted(known), 1)
                hint = f"; is {near[0]!r} meant?" if near else ", and nothing follows until it is."
                yield (f"{spec.full_name}: {field} names {name!r}, which is not registered{hint}")


def _of_project(file: str | None, names: Iterable[str] | None) -> list[DeploymentSpec]:
    """Return the deployments of the project file that are meant, held against their flows."""
    from dataclasses import replace

    from dataflow.deployments import load_project
    from dataflow.deployments.project_flows import with_flows
    from dataflow.service.slots import schedule_of

    project = load_project(file, check_schedule=schedule_of)
    if names is not None:
        at = [_place(project.specs, name, project.file) for name in names]
        project = replace(project, specs=tuple(project.specs[each] for each in at),
                          lines=tuple(project.lines[each] for each in at))
    return list(with_flows(project).specs)


def _place(specs: Sequence[DeploymentSpec], name: str, file: os.PathLike[str]) -> int:
    found = [at for at, spec in enumerate(specs) if name in (spec.full_name, spec.name)]
    if len(found) == 1:
        return found[0]
    if found:
        both = ", ".join(specs[at].full_name for at in found)
        raise DeploymentNotFound(f"{name!r} names several deployments of {file}: {both}.",
                                 name=name)
    known = [spec.full_name for spec in specs]
    if ":" in name:
        raise DeploymentNotFound(
            f"{file} has no deployment {name!r}. Where it is the place of a flow, say what the "
            "deployment is called: --name NAME.", name=name)
    near = get_close_matches(name, [*known, *(spec.name for spec in specs)], 1)
    hint = f" Is {near[0]!r} meant?" if near else f" It has: {', '.join(known)}."
    raise DeploymentNotFound(f"{file} has no deployment {name!r}.{hint}", name=name)


def _single(place: str, name: str, cron: tuple[str, ...], interval: tuple[float, ...],
            timezone: str | None, pool: str | None, params: tuple[str, ...]) -> DeploymentSpec:
    """Return the deployment of a flow in the current folder."""
    from dataflow.entrypoints import load_flow

    folder = os.getcwd()
    flow = load_flow(place, folder)
    made: DeploymentSpec = flow.to_deployment(
        name, entrypoint=place, source=folder, cron=cron or None, interval=interval or None,
        timezone=timezone, work_pool_name=pool, parameters=dict(map(parameter, params)) or None)
    return made


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
