"""The files of a service: its token, and the note that it leaves."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from dataflow.claims import owner_of_this_process
from dataflow.exceptions import ServerError, SettingsError
from dataflow.server import notes
from dataflow.server.tokens import known_token, token_of
from dataflow.settings import get_settings
from dataflow.settings_value import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def test_a_token_is_made_once_and_for_its_owner_alone(settings: Settings) -> None:
    assert known_token(settings) is None and not settings.home.exists()
    made = token_of(settings)
    assert token_of(settings) == made == known_token(settings) and len(made) >= 40
    assert stat.S_IMODE((settings.home / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    assert [each.name for each in settings.home.iterdir()] == ["token"]


def test_several_that_start_at_once_have_the_same_token(settings: Settings) -> None:
    found: list[str] = []
    together = threading.Barrier(8)

    def start() -> None:
        together.wait()
        found.append(token_of(settings))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1
    assert [each.name for each in settings.home.iterdir()] == ["token"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o700 | 0o077])
def test_a_file_that_others_may_read_is_mended_and_said_so(
        settings: Settings, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    made = token_of(settings)
    (settings.home / "token").chmod(mode)
    assert token_of(settings) == made
    assert stat.S_IMODE((settings.home / "token").stat().st_mode) == 0o600
    assert "could be read by others" in caplog.text and made not in caplog.text


def _link(path: Path) -> None:
    (path.parent / "other").write_text("x" * 32)
    path.symlink_to("other")


@pytest.mark.parametrize("make", [
    _link, lambda path: path.symlink_to("nowhere"), Path.mkdir, os.mkfifo,
    lambda path: path.write_text(""), lambda path: path.write_text("short"),
    lambda path: path.write_text("two words that are long enough"),
    lambda path: path.write_bytes(b"\xff" * 40)])
def test_what_is_no_token_file_is_refused(settings: Settings, make: Any) -> None:
    settings.home.mkdir()
    make(settings.home / "token")
    with pytest.raises(ServerError, match="DATAFLOW_API_TOKEN"):
        token_of(settings)


def test_the_token_of_the_settings_is_shown_nowhere(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    from dataflow.cli import main

    secret = "Very-secret.0123456789"
    monkeypatch.chdir(tmp_path)
    assert main(("config", "set", f"api_token={secret}")) == 0
    monkeypatch.setenv("DATAFLOW_API_TOKEN", secret + "x")
    assert main(("config", "set", f"api_token={secret}")) == 0
    assert main(("config", "view")) == 0 and main(("config", "view", "--json")) == 0
    assert token_of(get_settings()) == secret + "x" and secret not in repr(get_settings())
    shown = capsys.readouterr()
    assert secret not in shown.out + shown.err and "DATAFLOW_API_TOKEN" in shown.out


@pytest.mark.parametrize("token", ["short-secret", "secret with spaces in it", "sécret" * 5])
def test_a_token_that_is_none_is_refused_without_showing_it(
        monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("DATAFLOW_API_TOKEN", token)
    with pytest.raises(SettingsError, match="16 to 512 visible characters") as caught:
        get_settings()
    assert token not in str(caught.value) + str(caught.value.__cause__) + repr(vars(caught.value))


def test_a_note_is_read_while_its_process_lives_and_removed_by_it_alone(tmp_path: Path) -> None:
    assert notes.read(tmp_path) is None
    left = notes.leave(tmp_path, "http://127.0.0.1:1/api/v1", "2026-11-28T00:00:00+00:00")
    assert notes.read(tmp_path) == left and left.owner == owner_of_this_process()
    assert [each.name for each in tmp_path.iterdir()] == ["server.json"]
    note = tmp_path / "server.json"
    host, pid, start = left.owner.split(":", 2)
    facts = json.loads(note.read_text())
    note.write_text(json.dumps({**facts, "owner": f"another-host:{pid}:{start}"}))
    notes.remove(tmp_path)
    assert note.exists()  # of another host: nobody knows from here
    note.write_text(json.dumps({**facts, "owner": f"{host}:{pid}:{start}9"}))
    assert notes.read(tmp_path) is None  # the same number, another process
    notes.leave(tmp_path, "http://127.0.0.1:2/api/v1", "2026-11-28T00:00:00+00:00")
    notes.remove(tmp_path)
    assert not note.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"address": 1}', "\x00",
                                  '{"address": "a", "pid": 1, "owner": 5, "started": "x"}'])
def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "server.json").write_text(text)
    assert notes.read(tmp_path) is None
