"""Settings: where each value comes from, and what is said of a bad one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.exceptions import SettingsError
from dataflow.settings import NAMES, get_settings, temporary_settings, variable
from dataflow.settings_files import write
from dataflow.settings_plain import plain
from dataflow.settings_sources import load


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.upper().startswith("DATAFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    return tmp_path


def test_nothing_set_gives_defaults_that_say_so(folder: Path) -> None:
    settings = get_settings()
    assert settings.home == folder / "user" / ".dataflow"
    assert settings.store_location == str(folder / "user" / ".dataflow" / "dataflow.db")
    assert (settings.log_level, settings.task_runner, settings.log_prints) == ("INFO", None, False)
    assert settings.sources == dict.fromkeys(NAMES, "default")


def test_environment_wins_over_dotenv_over_toml_over_pyproject(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text(
        '[tool.dataflow]\ntask_runner = "a"\nlog_level = "ERROR"\nlog_prints = true\n'
        "tasks_default_retries = 1\n"
    )
    (folder / "dataflow.toml").write_text('task_runner = "b"\nlog_level = "WARNING"\n'
                                          "[tasks]\ndefault_retries = 2\n")
    (folder / ".env").write_text("DATAFLOW_TASK_RUNNER=c\nDATAFLOW_LOG_LEVEL=debug\nOTHER=1\n")
    monkeypatch.setenv("DATAFLOW_TASK_RUNNER", "d")
    settings = get_settings()
    assert (settings.task_runner, settings.sources["task_runner"]) == ("d", "environment")
    assert (settings.log_level, settings.sources["log_level"]) == ("DEBUG", str(folder / ".env"))
    assert settings.tasks_default_retries == 2
    assert settings.sources["tasks_default_retries"] == str(folder / "dataflow.toml")
    assert settings.log_prints is True
    assert settings.sources["log_prints"] == f"{folder / 'pyproject.toml'} [tool.dataflow]"


@pytest.mark.parametrize("given", [
    {}, {"DATAFLOW_HOME": "~/data"}, {"DATAFLOW_HOME": "here", "DATAFLOW_STORE": "sqlite:///x.db"},
    {"DATAFLOW_HOME": "", "DATAFLOW_STORE": ""}, {"DATAFLOW_STORE": " "},
    {"DATAFLOW_HOME": "/a/../b", "DATAFLOW_OTHER": "1"},
])
@pytest.mark.parametrize("project", [None, "[project]\nname = 'theirs'\n"])
def test_settings_where_next_to_nothing_is_set_are_the_same_without_the_checks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], project: str | None
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    if project is not None:
        (folder / "pyproject.toml").write_text(project)
    found = plain()
    assert found == load({}) and found is not None
    assert found.sources == load({}).sources


@pytest.mark.parametrize("variable", ["DATAFLOW_LOG_LEVEL", "dataflow_home"])
@pytest.mark.parametrize("value", ["bad", "DEBUG"])
def test_any_other_variable_is_checked(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert plain() is None


@pytest.mark.parametrize("file", [
    ".env", "dataflow.toml", "pyproject.toml", "user/.dataflow/dataflow.toml"])
def test_any_file_that_may_say_something_is_read(folder: Path, file: str) -> None:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("[tool.dataflow]\n")
    assert plain() is None


def test_a_change_of_the_environment_or_a_file_is_seen_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = get_settings()
    assert get_settings() is first
    monkeypatch.setenv("DATAFLOW_HOME", "~/elsewhere")
    assert get_settings().home == folder / "user" / "elsewhere"
    (folder / "dataflow.toml").write_text("tasks_default_retries = 3\n")
    assert get_settings().tasks_default_retries == 3
    (folder / "dataflow.toml").unlink()
    assert get_settings().tasks_default_retries == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATAFLOW_TASKS_DEFAULT_RETRIES", "many"),
        ("DATAFLOW_TASKS_DEFAULT_RETRIES", "-1"),
        ("DATAFLOW_TASKS_DEFAULT_RETRY_DELAY_SECONDS", "nan"),
        ("DATAFLOW_TASKS_DEFAULT_RETRY_DELAY_SECONDS", "-0.5"),
        ("DATAFLOW_LOG_LEVEL", "LOUD"),
        ("DATAFLOW_LOG_PRINTS", "perhaps"),
    ],
)
def test_a_bad_variable_is_refused_with_its_name_source_and_value(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        get_settings()
    error = caught.value
    assert (error.variable, error.source, error.value) == (name, "environment", value)
    assert name in str(error) and repr(value) in str(error) and "environment" in str(error)


def test_a_bad_value_in_a_file_names_the_file(folder: Path) -> None:
    (folder / "dataflow.toml").write_text("[tasks]\ndefault_retries = true_\n")
    with pytest.raises(SettingsError, match=r"dataflow\.toml is no valid TOML"):
        get_settings()
    (folder / "dataflow.toml").write_text('log_level = "x"\n')
    with pytest.raises(SettingsError, match=(
            r"DATAFLOW_LOG_LEVEL = 'x' \(from .*dataflow\.toml, line 1\)")):
        get_settings()


def test_an_unknown_key_in_a_file_is_refused_with_the_known_ones(folder: Path) -> None:
    (folder / "dataflow.toml").write_text('task_runer = "dask"\n')
    with pytest.raises(SettingsError, match=(
            r"sets 'task_runer', which is no setting\. Did you mean 'task_runner'\?.*Known are")):
        get_settings()


def test_a_pyproject_of_someone_else_is_left_alone(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.other]\nlog_level = "x"\n')
    assert get_settings().sources["log_level"] == "default"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLOW_HOME", "")
    monkeypatch.setenv("DATAFLOW_LOG_LEVEL", "")
    assert get_settings().sources["home"] == "default"
    assert get_settings().log_level == "INFO"


def test_every_setting_has_a_variable_of_its_own() -> None:
    assert [variable(name) for name in NAMES][:2] == ["DATAFLOW_HOME", "DATAFLOW_STORE"]


def test_importing_settings_does_not_import_pydantic() -> None:
    code = "import sys, dataflow.settings; sys.exit('pydantic_settings' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_in_the_home_hold_in_every_folder_and_yield_to_the_project(folder: Path) -> None:
    home = folder / "user" / ".dataflow"
    home.mkdir(parents=True)
    (home / "dataflow.toml").write_text('log_level = "ERROR"\nlog_prints = true\n')
    (folder / "dataflow.toml").write_text('log_level = "DEBUG"\n')
    settings = get_settings()
    assert (settings.log_level, settings.log_prints) == ("DEBUG", True)
    assert settings.sources["log_prints"] == str(home / "dataflow.toml")
    (home / "dataflow.toml").write_text("log_prints = false\n")
    assert get_settings().log_prints is False


def test_a_home_that_is_set_in_the_home_is_refused(folder: Path) -> None:
    home = folder / "user" / ".dataflow"
    home.mkdir(parents=True)
    (home / "dataflow.toml").write_text('home = "/elsewhere"\n')
    with pytest.raises(SettingsError, match="says where this file is"):
        get_settings()


@pytest.mark.parametrize("file, text, line", [
    (".env", "# first\n\nexport DATAFLOW_LOG_LEVEL=loud\n", 3),
    ("dataflow.toml", 'store = "x"\n\n[log]\n# a comment\nlevel = "loud"\n', 5),
    ("pyproject.toml", '[tool.other]\nlog_level = 1\n[tool.dataflow]\nlog_level = "loud"\n', 4),
    ("pyproject.toml", '[tool]\ndataflow.log_level = "loud"\n', 2),
])
def test_a_bad_value_names_the_line_of_its_file(
    folder: Path, file: str, text: str, line: int
) -> None:
    (folder / file).write_text(text)
    with pytest.raises(SettingsError, match=rf"{file}.*, line {line}\) cannot be used") as caught:
        get_settings()
    assert caught.value.line == line


def test_lists_are_written_with_commas_or_as_in_toml(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAFLOW_LOGGING_EXTRA_LOGGERS", "httpx, botocore")
    monkeypatch.setenv("DATAFLOW_TASKS_DEFAULT_RETRY_DELAY_SECONDS", "[1, 2.5]")
    settings = get_settings()
    assert settings.logging_extra_loggers == ("httpx", "botocore")
    assert settings.tasks_default_retry_delay_seconds == (1.0, 2.5)
    monkeypatch.setenv("DATAFLOW_TASKS_DEFAULT_RETRY_DELAY_SECONDS", "4")
    assert get_settings().tasks_default_retry_delay_seconds == 4.0
    (folder / "dataflow.toml").write_text('logging_extra_loggers = ["a"]\n')
    monkeypatch.delenv("DATAFLOW_LOGGING_EXTRA_LOGGERS")
    assert get_settings().logging_extra_loggers == ("a",)


def test_temporary_settings_win_over_everything_nest_and_go(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAFLOW_LOG_LEVEL", "ERROR")
    before = get_settings()
    with temporary_settings(log_level="DEBUG", tasks_default_retries=2) as inner:
        assert inner is get_settings()
        assert (inner.log_level, inner.tasks_default_retries) == ("DEBUG", 2)
        assert inner.sources["log_level"] == "temporary_settings"
        with temporary_settings({"DATAFLOW_LOG_LEVEL": "critical"}):
            assert get_settings().log_level == "CRITICAL"
            assert get_settings().tasks_default_retries == 2
        assert get_settings().log_level == "DEBUG"
    assert get_settings() == before


@pytest.mark.parametrize("changes, text", [
    ({"log_levle": "DEBUG"}, "Did you mean 'log_level'"),
    ({"tasks_default_retries": "many"}, r"'many' \(from temporary_settings\)"),
])
def test_temporary_settings_that_are_bad_change_nothing(changes: dict[str, str], text: str) -> None:
    before = get_settings()
    with pytest.raises(SettingsError, match=text):
        with temporary_settings(changes):
            raise AssertionError("not reached")
    assert get_settings() == before


def test_a_change_of_a_file_keeps_its_comments_and_places(folder: Path) -> None:
    path = folder / "dataflow.toml"
    path.write_text('# mine\nlog_level = "INFO"  # quiet\n\n[tasks]\ndefault_retries = 1 # few\n')
    write(path, {"log_level": "DEBUG", "tasks_default_retries": 3, "log_prints": True})
    text = path.read_text()
    assert "# mine\n" in text and 'log_level = "DEBUG"  # quiet\n' in text
    assert "[tasks]\ndefault_retries = 3 # few\n" in text
    settings = get_settings()
    assert (settings.log_level, settings.tasks_default_retries, settings.log_prints) == (
        "DEBUG", 3, True)
    write(path, {"tasks_default_retries": None})
    assert get_settings().tasks_default_retries == 0 and "# mine\n" in path.read_text()
