"""``dataflow config``: the settings, where each came from, and changing them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from dataflow.cli.options import Output, output_option
from dataflow.cli.rendering import print_json, print_table
from dataflow.exceptions import SettingsError
from dataflow.masking import HIDDEN
from dataflow.postgres import shown
from dataflow.settings import NAMES, get_settings, variable
from dataflow.settings_value import PREFIX, SECRETS, named

_project_option = click.option(
    "--project", is_flag=True,
    help="Change dataflow.toml in this folder (or DATAFLOW_CONFIG), not the one in DATAFLOW_HOME.")


@click.group()
def config() -> None:
    """Look at the settings and change them."""


@config.command()
@click.option("--show-sources/--hide-sources", default=True,
              help="Whether to say where each value came from.")
@click.option("--show-defaults/--hide-defaults", default=True,
              help="Whether to show what nobody has set.")
@output_option
def view(output: Output, show_sources: bool, show_defaults: bool) -> None:
    """Show each setting, its value, and where the value came from."""
    settings = get_settings()
    values = {name: _seen(name, getattr(settings, name)) for name in NAMES
              if show_defaults or settings.sources[name] != "default"}
    for slip in _slips():
        click.echo(f"Warning: {slip}", err=True)
    if output == "json":
        print_json([
            {"name": variable(name), "value": _plain(value), "source": settings.sources[name]}
            for name, value in values.items()
        ])
        return
    columns = 3 if show_sources else 2
    print_table(
        ("setting", "value", "source")[:columns],
        [
            (variable(name), _text(value), settings.sources[name])[:columns]
            for name, value in values.items()
        ],
    )


@config.command(name="set")
@click.argument("assignments", metavar="NAME=VALUE...", nargs=-1, required=True)
@_project_option
def set_(assignments: tuple[str, ...], project: bool) -> None:
    """Set settings: NAME is log_level, tasks.default_retries or DATAFLOW_LOG_LEVEL.

    They are written to dataflow.toml in DATAFLOW_HOME and hold in every folder
    where the environment and the project's own files do not say otherwise.
    """
    from dataflow.settings_files import write
    from dataflow.settings_sources import checked

    given: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"{assignment!r} is not of the form NAME=VALUE")
        given[_name(name, project)] = value
    values = checked(given, "the command line")
    path = _file(project)
    write(path, values)
    for name, value in values.items():
        click.echo(f"Set {variable(name)} = {_text(_seen(name, value))} in {path}")
    _say_what_wins(values, path)


@config.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_project_option
def unset(names: tuple[str, ...], project: bool) -> None:
    """Take settings out of dataflow.toml, so that the next source or the default holds."""
    from dataflow.settings_files import names_in, write

    wanted = [_name(name, project) for name in names]
    path = _file(project)
    there = names_in(path)
    for name in wanted:
        if name not in there:
            raise SettingsError(f"{path} does not set {variable(name)}.", source=str(path),
                                variable=variable(name))
    write(path, dict.fromkeys(wanted))
    for name in wanted:
        click.echo(f"Unset {variable(name)} in {path}")
    _say_what_wins(wanted, path)


def _name(given: str, project: bool) -> str:
    name = named(given.strip(), "the command line")
    if name == "home" and not project:
        raise SettingsError(
            "DATAFLOW_HOME says where these settings are kept, so it cannot be one of them. Set "
            "it in the environment, or for one folder with --project.", variable="DATAFLOW_HOME")
    return name


def _file(project: bool) -> Path:
    if not project:
        return get_settings().file
    from dataflow.settings_tables import project_path

    return project_path().absolute()


def _say_what_wins(names: Any, path: Path) -> None:
    """Say where another source still has the last word."""
    settings = get_settings()
    for name in names:
        source = settings.sources[name]
        if source not in (str(path), "default"):
            held = _text(_seen(name, getattr(settings, name)))
            click.echo(f"Note: {variable(name)} = {held} is what holds here, from {source}",
                       err=True)


def _slips() -> list[str]:
    """Return what is said of variables that begin like ours and are a letter off a setting."""
    said = []
    for name in sorted(os.environ):
        if not name.startswith(PREFIX) or name.startswith(f"{PREFIX}_"):
            continue
        try:
            named(name)
        except SettingsError as error:
            if error.nearest:
                said.append(f"the environment has {name}, which is no setting; did you mean "
                            f"{variable(error.nearest)}?")
    return said


def _seen(name: str, value: object) -> object:
    """Return what may be shown of a setting."""
    return HIDDEN if name in SECRETS and value is not None else value


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else _shown(str(value))


def _shown(value: str) -> str:
    """Return a value without the password of a URL."""
    return shown(value) if "://" in value else value


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, bool | int | float) else _shown(str(value))
