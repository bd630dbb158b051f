"""``OnWebhook``: somebody called.

Lives here: the definition. Does not live here: taking the call (``webhooks.py``), its
signature (``webhook_signatures.py``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

from dataflow.triggers.definition import refuse
from dataflow.triggers.trigger import Reactive

WEBHOOK_EVENTS = "dataflow.webhook."
"""How the names of events of webhooks begin."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True, slots=True)
class OnWebhook(Reactive):
    """A signed call came in for this name.

    Parameters
    ----------
    name
        Of the webhook: the last part of its address, ``/api/v1/webhooks/<name>``.
    secret
        ``"${NAME}"``: a variable of the environment of the service, which holds what
        callers sign with. The secret itself stands nowhere.
    """

    kind: ClassVar[str] = "webhook"
    run_of_event: ClassVar[bool] = False

    name: str
    secret: str = field(kw_only=True)

    def __post_init__(self) -> None:
        """Check the options."""
        super(OnWebhook, self).__post_init__()
        if not _NAME.fullmatch(str(self.name)):
            refuse("name", self.name, "is no name of a webhook: letters, digits, '-', '_' and '.', "
                                      "100 at most")
        if not _VARIABLE.fullmatch(str(self.secret)):
            refuse("secret", "…", "must name a variable of the environment, '${GITHUB_SECRET}': "
                                  "the secret itself would be read by everybody who sees the "
                                  "deployment")

    @property
    def variable(self) -> str:
        """Return the name of the variable that holds the secret."""
        return self.secret[2:-1]

    @property
    def event_name(self) -> str:
        """Return the name of its events."""
        return WEBHOOK_EVENTS + self.name

    def describe(self) -> str:
        """Return it in words."""
        return self.counts_in_words(f"a call of webhook {self.name}")
