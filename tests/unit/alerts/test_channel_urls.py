"""What may be shown of a channel's URL, and texts without what may not."""

from __future__ import annotations

import pytest

from dataflow.alerts.channel_urls import has_secrets, shown, without

SECRET = "s3cretT0ken"


@pytest.mark.parametrize("channel, text, secret", [
    ("slack-ops", "slack-ops", False),
    (f"slack://{SECRET}/T/B", "slack://…", True),
    (f"discord://{SECRET}/{SECRET}", "discord://…", True),
    (f"https://hooks.slack.com/services/T0/B0/{SECRET}", "https://hooks.slack.com/…", True),
    (f"jsons://user:{SECRET}@h.example:8443/x?+X-Key={SECRET}", "jsons://h.example:8443/…", True),
    (f"mailto://me:{SECRET}@mail.example?to=a@b.example", "mailto://mail.example/…", True),
    (f"mailto://me:12/{SECRET}@mail.example", "mailto://…", True),
    (f"mailto://me:12?{SECRET}@mail.example", "mailto://…", True),
    (f"json://{SECRET}%40x@[2606:4700::1]/", "json://[2606:4700::1]/…", True),
    (f"json://h.example\\@{SECRET}", "json://…", True),
    (f"JSON://h.example?{SECRET}", "json://h.example/…", True),
    ("json://h.example", "json://h.example/…", False),
    ("json://h.example:80/", "json://h.example:80/…", False),
    (f"no url: {SECRET} with words", "***", False),
    (f"a b://{SECRET}", "***", True),
])
def test_a_channel_is_shown_without_its_secrets(channel: str, text: str, secret: bool) -> None:
    assert (shown(channel), has_secrets(channel)) == (text, secret)
    assert SECRET not in shown(channel)


@pytest.mark.parametrize("channel", [
    f"slack://{SECRET}/T/B", f"jsons://user:{SECRET}@h.example/x", f"json://h.example/{SECRET}",
    f"https://h.example/?key={SECRET}", f"json://h.example/?%2BX-Key={SECRET}",
    f"mailto://me:{SECRET}@mail.example",
])
def test_a_text_is_freed_of_a_channels_url_and_its_parts(channel: str) -> None:
    for text in (channel, f"failed for {channel}!", f"POST /{SECRET} said no", f"{SECRET}!",
                 f"{SECRET}%21"):
        assert SECRET not in without(text, channel)
    escaped = channel.replace(SECRET, f"{SECRET}%21")
    assert SECRET not in without(f"{SECRET}! {SECRET}%21", escaped)
    assert without("connection to h.example refused", channel) == "connection to h.example refused"
