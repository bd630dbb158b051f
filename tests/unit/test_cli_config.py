"""``dataflow config``: what it writes, what it refuses, what it says still wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.cli import main
from dataflow.settings import get_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_set_is_kept_in_the_home_and_holds_in_every_folder(
    dataflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["config", "set", "DATAFLOW_LOG_LEVEL=debug", "tasks.default_retries=2"]) == 0
    assert f"Set DATAFLOW_LOG_LEVEL = DEBUG in {dataflow_home}" in capsys.readouterr().out
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = get_settings()
    assert (settings.log_level, settings.tasks_default_retries) == ("DEBUG", 2)
    assert settings.sources["log_level"] == str(dataflow_home / "dataflow.toml")


def test_unset_gives_the_default_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "set", "log_level=ERROR", "log_prints=yes"]) == 0
    assert main(["config", "unset", "log_level"]) == 0
    settings = get_settings()
    assert (settings.log_level, settings.log_prints) == ("INFO", True)
    assert main(["config", "unset", "log_level"]) == 1
    assert "does not set DATAFLOW_LOG_LEVEL" in capsys.readouterr().err


def test_set_for_the_project_changes_the_file_of_this_folder(folder: Path) -> None:
    (folder / "dataflow.toml").write_text("# ours\nlog_level = 'INFO'\n")
    assert main(["config", "set", "--project", "log_level=ERROR", "home=here"]) == 0
    assert (folder / "dataflow.toml").read_text().startswith("# ours\nlog_level = ")
    assert get_settings().sources["log_level"] == str(folder / "dataflow.toml")


@pytest.mark.parametrize("assignment, code, text", [
    ("log_levle=DEBUG", 1, "Did you mean 'log_level'?"),
    ("log_level=LOUD", 1, "DATAFLOW_LOG_LEVEL = 'LOUD' (from the command line) cannot be used"),
    ("log_level", 2, "is not of the form NAME=VALUE"),
    ("home=/elsewhere", 1, "DATAFLOW_HOME says where these settings are kept"),
])
def test_what_cannot_be_set_is_refused_and_nothing_is_written(
    assignment: str, code: int, text: str, dataflow_home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["config", "set", "log_prints=true", assignment]) == code
    assert text in capsys.readouterr().err
    assert not dataflow_home.exists()


def test_set_says_where_another_source_has_the_last_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATAFLOW_LOG_LEVEL", "ERROR")
    assert main(["config", "set", "log_level=DEBUG"]) == 0
    assert "DATAFLOW_LOG_LEVEL = ERROR is what holds here, from environment" in (
        capsys.readouterr().err)


def test_view_hides_defaults_and_sources_and_names_slips_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATAFLOW_LOG_LEVL", "DEBUG")
    monkeypatch.setenv("DATAFLOW_LOG_PRINTS", "1")
    assert main(["config", "view", "--hide-defaults", "--hide-sources"]) == 0
    shown = capsys.readouterr()
    assert "DATAFLOW_LOG_PRINTS" in shown.out and "environment" not in shown.out
    assert "DATAFLOW_LOG_LEVEL" not in shown.out
    assert "DATAFLOW_LOG_LEVL, which is no setting; did you mean DATAFLOW_LOG_LEVEL?" in shown.err


@pytest.mark.parametrize("output", ["table", "json"])
def test_view_shows_no_password_of_a_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    monkeypatch.setenv("DATAFLOW_STORE", "postgresql://me:secret@host/db?password=secret")
    assert main(["config", "view", "--output", output]) == 0
    text = capsys.readouterr().out
    assert "secret" not in text and "postgresql://me:" in text
