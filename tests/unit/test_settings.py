"""Settings: where each value comes from, and what is said of a bad one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.exceptions import SettingsError
from dataflow.settings import NAMES, get_settings, variable


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
    with pytest.raises(SettingsError, match=r"DATAFLOW_LOG_LEVEL = 'x' \(from .*dataflow\.toml\)"):
        get_settings()


def test_an_unknown_key_in_a_file_is_refused_with_the_known_ones(folder: Path) -> None:
    (folder / "dataflow.toml").write_text('task_runer = "dask"\n')
    with pytest.raises(SettingsError, match=r"sets 'task_runer', which is no setting.*task_runner"):
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
