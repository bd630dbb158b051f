"""Values that are named like secrets are not written down."""

from __future__ import annotations

import pytest

from dataflow.masking import HIDDEN, masked


@pytest.mark.parametrize("path", [
    "password", "cfg.db_password", "API_KEY", "apiKey", "settings['access_key']", "AUTH_TOKEN",
    "load(secret)", "headers['X-Token']", "Credentials",
])
def test_value_named_like_a_secret_is_hidden(path: str) -> None:
    assert masked(path, "'s3cr3t'") == HIDDEN


@pytest.mark.parametrize("path", ["tokenizer", "rate", "passes", "key", "monkey",
                                  "compass", "dsnapshot"])
def test_value_named_otherwise_is_told(path: str) -> None:
    assert masked(path, "7") == "7"
