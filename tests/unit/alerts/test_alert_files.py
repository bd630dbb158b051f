"""Alerts and channels in files of settings: where they are read, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.alerts import Alert, configured, open_channel
from dataflow.alerts.reach import Reach
from dataflow.exceptions import ChannelRefused, SettingsError
from dataflow.settings import get_settings

TABLES = '''
[channels]
ops = "json://hooks.example.com/s3cret"
mail = "mailto://me:${MAIL_PASSWORD}@mail.example"

[[alerts]]
on = "failed"
match = "tag:prod"
channels = ["ops", "mail"]

[[alerts]]
longer_than = "2x median"
channels = ["slack://a/b/c"]
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAIL_PASSWORD", "s3cret")
    return tmp_path


def test_tables_are_read_beside_settings_and_are_none(folder: Path) -> None:
    (folder / "dataflow.toml").write_text(
        'log_level = "ERROR"\nalerts_allow_private = ["10.0.0.0/8", "localhost"]\n' + TABLES)
    found = configured()
    assert found.alerts == (Alert(match="tag:prod", channels=["ops", "mail"]),
                            Alert(longer_than="2x median", channels=["slack://a/b/c"]))
    assert found.channels == {"ops": "json://hooks.example.com/s3cret",
                              "mail": "mailto://me:s3cret@mail.example"}
    assert found.shown_channels == {"ops": "json://hooks.example.com/…",
                                    "mail": "mailto://mail.example/…"}
    assert "s3cret" not in repr(found)
    settings = get_settings()
    assert (settings.log_level, settings.alerts_allow_private) == (
        "ERROR", ("10.0.0.0/8", "localhost"))


def test_nothing_written_is_nothing() -> None:
    assert (configured().alerts, configured().channels) == ((), {})


def test_the_project_names_channels_first_and_alerts_of_all_files_hold(
    folder: Path, dataflow_home: Path
) -> None:
    dataflow_home.mkdir(parents=True)
    (dataflow_home / "dataflow.toml").write_text(
        '[channels]\nops = "json://home.example"\nme = "json://me.example"\n'
        '[[alerts]]\nchannels = ["me"]\n')
    (folder / "pyproject.toml").write_text(
        '[tool.dataflow.channels]\nops = "json://project.example"\n'
        '[[tool.dataflow.alerts]]\non = "crashed"\nchannels = ["ops"]\n')
    found = configured()
    assert found.channels == {"ops": "json://project.example", "me": "json://me.example"}
    assert found.alerts == (Alert(on="crashed", channels=["ops"]), Alert(channels=["me"]))
    assert get_settings().log_level == "INFO"


def test_dataflow_config_points_at_the_projects_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "dataflow.toml").write_text('log_level = "ERROR"\n')
    elsewhere = folder / "elsewhere.toml"
    elsewhere.write_text('log_level = "DEBUG"\n[channels]\nops = "json://a.example"\n')
    monkeypatch.setenv("DATAFLOW_CONFIG", str(elsewhere))
    assert get_settings().log_level == "DEBUG"
    assert get_settings().sources["log_level"] == str(elsewhere)
    assert configured().channels == {"ops": "json://a.example"}
    elsewhere.write_text('log_level = "CRITICAL"\n')
    assert get_settings().log_level == "CRITICAL"
    elsewhere.unlink()
    with pytest.raises(SettingsError, match="DATAFLOW_CONFIG = '.*elsewhere.toml' names no file"):
        get_settings()


@pytest.mark.parametrize("text, said", [
    ("[[alerts]]\nchanels = ['a']\n",
     r"dataflow\.toml, \[\[alerts\]\] number 1 sets 'chanels'.*Did you mean 'channels'\?"),
    ("[[alerts]]\non = 'failed'\n", r"\[\[alerts\]\] number 1 names no channels"),
    (("[channels]\na = 'json://x'\n[[alerts]]\nchannels = ['a']\n[[alerts]]\non = 'fail'\n"
     "channels = ['a']\n"), r"\[\[alerts\]\] number 2: Alert\(on='fail'\)"),
    ("[channels]\nslack-ops = 'json://x'\n[[alerts]]\nchannels = ['slack-opps']\n",
     r"names the channel 'slack-opps', which is not in \[channels\]\. Did you mean 'slack-ops'\?"),
    ("[channels]\na = 'no url'\n", r"\[channels\] a cannot be used: write name = \"URL\""),
    ("[channels]\na = 5\n", r"\[channels\] a cannot be used"),
    ("[channels]\n'a b' = 'json://s3cret'\n", r"\[channels\] \*\*\* cannot be used"),
    ("[channels]\na = 'json://${NOT_THERE}@x'\n", "variable NOT_THERE, which is not set"),
    ("chanels = 1\n", "sets 'chanels', which is no setting"),
    ("channels = 1\n", "sets 'channels', which is no setting"),
    ("[alerts]\non = 'failed'\n", "sets 'alerts_on', which is no setting"),
])
def test_what_cannot_be_used_is_refused_with_its_place(
    folder: Path, text: str, said: str
) -> None:
    (folder / "dataflow.toml").write_text(text)
    with pytest.raises(SettingsError, match=said) as caught:
        configured()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("written, value", [
    ("true", True), ("1", True), ("off", False), ("10.0.0.0/8, ::1,hooks.internal",
                                                  ("10.0.0.0/8", "::1", "hooks.internal")),
    ('["localhost"]', ("localhost",)),
])
def test_private_addresses_are_allowed_by_a_variable(
    written: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAFLOW_ALERTS_ALLOW_PRIVATE", written)
    assert get_settings().alerts_allow_private == value


def test_a_network_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLOW_ALERTS_ALLOW_PRIVATE", "10.0.0.1/8")
    with pytest.raises(SettingsError, match="10.0.0.1/8 has host bits set; write hosts"):
        get_settings()


def test_a_channel_is_opened_by_name_and_an_unknown_one_is_refused(folder: Path) -> None:
    (folder / "dataflow.toml").write_text(TABLES)
    assert open_channel("ops").shown == "json://hooks.example.com/…"
    with pytest.raises(ChannelRefused, match=r"There is no channel 'opps'\. Did you mean 'ops'\? "
                                             r"Known are: mail, ops\."):
        open_channel("opps")
    with pytest.raises(ChannelRefused, match="None is named: write"):
        open_channel("opps", named={})


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://h.example/x", "ftp://h.example",
                                 "dict://h.example:11211/", "FILE://x", "nothing://here"])
def test_a_url_that_is_no_channel_is_refused(url: str) -> None:
    with pytest.raises(ChannelRefused, match="cannot be a channel|no URL that apprise can use"):
        open_channel(url, named={}, reach=Reach())


@pytest.mark.parametrize("url, said", [
    ("json://h.example?method=DELETE", "method=DELETE cannot be used"),
    ("json://h.example?+Host=evil.example", "one of its headers"),
    ("json://h.example?+X=a%0d%0aY:b", "one of its headers"),
    ("json://h.example?+X%20Y=a", "one of its headers"),
    ("json://127.1/", "leads to 127.0.0.1, which is spelled in another way"),
])
def test_a_webhook_that_cannot_be_sent_is_refused_when_it_is_opened(url: str, said: str) -> None:
    with pytest.raises(ChannelRefused, match=said):
        open_channel(url, named={}, reach=Reach())


def test_without_apprise_webhooks_work_and_others_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    assert open_channel("https://h.example/x", named={}, reach=Reach()).shown == (
        "https://h.example/…")
    with pytest.raises(ChannelRefused, match=r"slack://… needs apprise.*'dataflow\[alerts\]'"):
        open_channel("slack://T/B/C", named={}, reach=Reach())
