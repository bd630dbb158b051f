"""Reading and validating the sources of settings.

Lives here: the order of sources, the types of the values, the texts of errors.
Imported by ``settings.py`` on first use, since pydantic-settings takes 80 ms.
Does not live here: the settings themselves (``settings_value.py``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, ItemsView, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dataflow.exceptions import SettingsError
from dataflow.settings_value import NAMES, Settings, variable

Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]


class _Model(BaseSettings):
    """The types of the settings; it is given the merged values and reads no source itself."""

    model_config = SettingsConfigDict(env_prefix="DATAFLOW_", env_ignore_empty=True)

    home: Path = Field(default_factory=lambda: Path("~/.dataflow"))
    store: str | None = Field(default=None, min_length=1)
    task_runner: str | None = Field(default=None, min_length=1)
    log_level: Level = "INFO"
    log_prints: bool = False
    tasks_default_retries: int = Field(default=0, ge=0)
    tasks_default_retry_delay_seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def load() -> Settings:
    """Read all sources. Raises SettingsError."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for source, read in _sources():
        for name, value in _read(source, read):
            if name not in values:
                values[name], sources[name] = value, source
    try:
        model = _Model(**values)
    except ValidationError as error:
        raise _refusal(error, values, sources) from error
    chosen = {name: getattr(model, name) for name in NAMES}
    chosen["home"] = _absolute(model.home)
    return Settings(**chosen, sources={name: sources.get(name, "default") for name in NAMES})


def _sources() -> Iterator[tuple[str, Callable[[str], dict[str, Any]]]]:
    """Yield each source's name and what reads it, the strongest first."""
    yield "environment", _read_environment
    yield _shown(".env"), _read_dotenv
    if Path("dataflow.toml").is_file():
        yield _shown("dataflow.toml"), _read_toml
    if Path("pyproject.toml").is_file():
        yield f"{_shown('pyproject.toml')} [tool.dataflow]", _read_pyproject


def _read_environment(source: str) -> dict[str, Any]:
    return _ours(EnvSettingsSource(_Model)())


def _read_dotenv(source: str) -> dict[str, Any]:
    return _ours(DotEnvSettingsSource(_Model, env_file=Path(".env"))())


def _read_toml(source: str) -> dict[str, Any]:
    return _known(TomlConfigSettingsSource(_Model, Path("dataflow.toml")).toml_data, source)


def _read_pyproject(source: str) -> dict[str, Any]:
    table = TomlConfigSettingsSource(_Model, Path("pyproject.toml")).toml_data
    for name in ("tool", "dataflow"):
        table = table.get(name, {})
    return _known(table, source)


def _ours(variables: dict[str, Any]) -> dict[str, Any]:
    """Keep the variables that are settings: those of others may begin like ours."""
    return {name: value for name, value in variables.items() if name in NAMES}


def _known(table: dict[str, Any], source: str) -> dict[str, Any]:
    """Return a file's settings by name; a name that is none is refused, being a slip."""
    flat = dict(_flat(table))
    unknown = sorted(flat.keys() - set(NAMES))
    if unknown:
        raise SettingsError(
            f"{source} sets {unknown[0]!r}, which is no setting. Known are: {', '.join(NAMES)}.",
            source=source, variable=unknown[0], value=flat[unknown[0]],
        )
    return flat


def _read(source: str, read: Callable[[str], dict[str, Any]]) -> ItemsView[str, Any]:
    try:
        return read(source).items()
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source} is no valid TOML: {error}", source=source) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source} cannot be read: {error}", source=source) from error


def _flat(table: dict[str, Any], front: str = "") -> Iterator[tuple[str, Any]]:
    """Join the names of nested tables: ``[tasks] default_retries`` is tasks_default_retries."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{front}{name}_")
        else:
            yield front + name, value


def _refusal(
    error: ValidationError, values: dict[str, Any], sources: dict[str, str]
) -> SettingsError:
    first = error.errors(include_url=False, include_context=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "?"
    return SettingsError(
        f"{variable(name)} = {values.get(name)!r} (from {sources.get(name, '?')}) cannot be used: "
        f"{first['msg'][0].lower()}{first['msg'][1:]}.",
        variable=variable(name), source=sources.get(name), value=values.get(name),
    )


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # no home directory can be found
        raise SettingsError(
            f"DATAFLOW_HOME = {str(path)!r} cannot be used: {error}. Give an absolute path.",
            variable="DATAFLOW_HOME", source="default", value=str(path),
        ) from error


def _shown(name: str) -> str:
    return str(Path(name).absolute())
