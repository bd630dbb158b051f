"""Reading and validating the sources of settings.

Lives here: the order of sources, the types of the values, the texts of errors.
Imported by ``settings.py`` on first use, since pydantic-settings takes 80 ms.
Does not live here: the settings themselves (``settings_value.py``), where in a
file a setting stands (``settings_files.py``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dataflow.exceptions import SettingsError
from dataflow.masking import HIDDEN
from dataflow.settings_files import flat, line_of
from dataflow.settings_plain import absolute
from dataflow.settings_tables import is_whole, project_file
from dataflow.settings_value import NAMES, SECRETS, Settings, named, variable

PROJECT_TABLE = "[tool.dataflow]"


def _listed(value: Any) -> Any:
    """Take ``a, b`` and ``[1, 2]`` of a variable as lists."""
    if not isinstance(value, str):
        return value
    return [each for part in value.strip().strip("[]").split(",") if (each := part.strip(" \"'"))]


def _delays(value: Any) -> Any:
    if isinstance(value, str):
        found = _listed(value)
        return found if "[" in value or "," in value else value
    return value


Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Delays = Annotated[Seconds | tuple[Seconds, ...], NoDecode, BeforeValidator(_delays)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


def _hosts(value: Any) -> Any:
    """Take ``true``, and ``localhost, 10.0.0.0/8`` as hosts; refuse a network that is none."""
    if isinstance(value, str) and value.strip().lower() in _SWITCHES:
        return _SWITCHES[value.strip().lower()]
    found = _listed(value)
    for each in found if isinstance(found, list | tuple) else ():
        if isinstance(each, str) and "/" in each:
            try:
                ip_network(each)
            except ValueError as error:
                raise ValueError(f"{error}; write hosts, addresses or networks as 10.0.0.0/8"
                                 ) from error
    return found


_SWITCHES = {"true": True, "1": True, "yes": True, "on": True,
             "false": False, "0": False, "no": False, "off": False}
Hosts = Annotated[bool | tuple[str, ...], NoDecode, BeforeValidator(_hosts)]


def _token(value: Any) -> Any:
    """Refuse a token that can be guessed, or that no header can carry."""
    if isinstance(value, str) and not re.fullmatch(r"[!-~]{16,512}", value):
        raise ValueError("a token has 16 to 512 visible characters of ASCII, none of them a space")
    return value


class _Model(BaseSettings):
    """The types of the settings; it is given the merged values and reads no source itself."""

    model_config = SettingsConfigDict(env_prefix="DATAFLOW_", env_ignore_empty=True,
                                      hide_input_in_errors=True)

    home: Path = Field(default_factory=lambda: Path("~/.dataflow"))
    store: str | None = Field(default=None, min_length=1)
    task_runner: str | None = Field(default=None, min_length=1)
    log_level: Level = "INFO"
    log_prints: bool = False
    logging_extra_loggers: Names = ()
    logging_to_console: bool = True
    logging_to_store: bool = True
    tasks_default_retries: int = Field(default=0, ge=0)
    tasks_default_retry_delay_seconds: Delays = 0.0
    flows_default_retries: int = Field(default=0, ge=0)
    flows_default_retry_delay_seconds: Seconds = 0.0
    results_location: str | None = Field(default=None, min_length=1)
    results_persist_by_default: bool = False
    results_default_serializer: str = Field(default="pickle", min_length=1)
    tasks_default_persist_result: bool | None = None
    tasks_refresh_cache: bool = False
    tasks_disable_caching: bool = False
    alerts_allow_private: Hosts = False
    alerts_timeout_seconds: float = Field(default=15.0, gt=0, allow_inf_nan=False)
    alerts_send: Literal["auto", "off"] = "auto"
    api_token: Annotated[str | None, BeforeValidator(_token)] = None
    api_host: str = Field(default="127.0.0.1", min_length=1)
    api_port: int = Field(default=4207, ge=0, le=65535)
    api_allowed_hosts: Names = ()

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


class _Merged:
    """What the sources say, the strongest first: values and where each came from."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}

    def take(self, source: str, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if name not in self.values:
                self.values[name], self.sources[name] = value, source

    def model(self) -> _Model:
        try:
            return _Model(**self.values)
        except ValidationError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: ValidationError) -> SettingsError:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        source = self.sources.get(name, "?")
        line = line_of(source, name)
        where = source if line is None else f"{source}, line {line}"
        value = HIDDEN if name in SECRETS else self.values.get(name)
        return SettingsError(
            f"{variable(name)} = {value!r} (from {where}) cannot be used: "
            f"{first['msg'][0].lower()}{first['msg'][1:]}.",
            variable=variable(name), source=source, line=line, value=value,
        )


def load(temporary: Mapping[str, Any]) -> Settings:
    """Read all sources. Raises SettingsError."""
    merged = _Merged()
    merged.take("temporary_settings", temporary)
    for source, read in _sources():
        merged.take(source, _read(source, read))
    home = absolute(merged.model().home)
    own = home / "dataflow.toml"
    project = project_file()
    if own.is_file() and (project is None or own != project.absolute()):
        table = _read(str(own), _read_toml)
        if "home" in table:
            raise SettingsError(
                f"{own} sets 'home', which says where this file is. Set DATAFLOW_HOME in the "
                "environment or in the project's files.", source=str(own), variable="home")
        merged.take(str(own), table)
    model = merged.model()
    chosen = {name: getattr(model, name) for name in NAMES}
    chosen["home"] = home
    return Settings(**chosen,
                    sources={name: merged.sources.get(name, "default") for name in NAMES})


def checked(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return values with the settings' types. Raises SettingsError for the first that is bad."""
    merged = _Merged()
    merged.take(source, values)
    model = merged.model()
    return {name: getattr(model, name) for name in values}


def _sources() -> Iterator[tuple[str, Callable[[str], dict[str, Any]]]]:
    """Yield each source's name and what reads it, the strongest first."""
    yield "environment", _read_environment
    yield _shown(".env"), _read_dotenv
    if (project := project_file()) is not None:
        yield str(project.absolute()), _read_toml
    if Path("pyproject.toml").is_file():
        yield f"{_shown('pyproject.toml')} {PROJECT_TABLE}", _read_pyproject


def _read_environment(source: str) -> dict[str, Any]:
    return _ours(EnvSettingsSource(_Model)())


def _read_dotenv(source: str) -> dict[str, Any]:
    return _ours(DotEnvSettingsSource(_Model, env_file=Path(".env"))())


def _read_toml(source: str) -> dict[str, Any]:
    return _known(TomlConfigSettingsSource(_Model, Path(source)).toml_data, source)


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
    found = dict(flat({name: value for name, value in table.items()
                       if not is_whole(name, value)}))
    for name in found:
        named(name, source)
    return found


def _read(source: str, read: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read(source)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{source} is no valid TOML: {error}", source=source) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source} cannot be read: {error}", source=source) from error


def _shown(name: str) -> str:
    return str(Path(name).absolute())
