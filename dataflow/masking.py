"""Texts of values that must not be written down: passwords, tokens, keys.

Lives here: telling them by their names. Does not live here: what is written
(``call_facts.py``, ``code_identity/``). Digests are not masked: that a secret
changed can be told, what it is cannot.
"""

from __future__ import annotations

import re

HIDDEN = "***"
_SECRET = re.compile(
    r"(?:^|[^a-z])(?:pass(?:word|wd|phrase)?|secrets?|tokens?|credentials?|api_?key|"
    r"(?:private|access|secret|auth)_?key|dsn)(?:$|[^a-z])", re.IGNORECASE)


def masked(path: str, text: str) -> str:
    """Return the text of a value, or a mask where the path to it names a secret.

    ``db.password``, ``API_KEY``, ``headers['Authorization-Token']`` do; ``tokenizer`` does not.
    """
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", path)
    return HIDDEN if _SECRET.search(plain) else text
