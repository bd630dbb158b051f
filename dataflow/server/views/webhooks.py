"""The route of webhooks: signed calls of others that become events.

Lives here: the route. Does not live here: signatures, and what a call becomes
(``triggers/webhooks.py``).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dataflow.exceptions import RequestRefused
from dataflow.server.routes import PREFIX, Call, Guard, Route
from dataflow.server.shapes.pages import Shape
from dataflow.triggers.webhooks import accept

_TODO = {
    400: "Send JSON, a form or a text, in UTF-8.",
    401: "Sign the call with the secret that the trigger names.",
    503: "Try again later; who runs the service finds the reason in its log.",
}


class Taken(Shape):
    """A call that was taken."""

    event_id: str
    new: Annotated[bool, Field(description="false: this call was taken before.")]


def hook(call: Call) -> Taken:
    """Take a call."""
    answer = accept(call.path["name"], call.headers, call.raw, call.store, call.now_s)
    if answer.event_id is None:
        raise RequestRefused(answer.text, status=answer.status,
                             what_to_do=_TODO.get(answer.status, "Send it otherwise."))
    return Taken(event_id=answer.event_id, new=answer.status == 202)


ROUTES = (
    Route(method="POST", path=f"{PREFIX}/webhooks/{{name}}", name="hook", view=hook, gives=Taken,
          status=202, guard=Guard.SIGNATURE, errors=(401,),
          about="Take a signed call (`X-Dataflow-Signature`, or GitHub's "
                "`X-Hub-Signature-256`) as an event."),
)
