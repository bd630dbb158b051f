"""What a request is answered with that is not answered as it wants.

Lives here: the value, its JSON, and which error of ours means which status. Does not
live here: any check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataflow.exceptions import (
    CallError,
    DataflowError,
    DefinitionError,
    DeploymentNotFound,
    RequestRefused,
    RunNotFound,
    ScheduleError,
    StoreError,
)

BUSY_S = 2
"""After so many seconds it is worth asking again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a request was not done.

    Parameters
    ----------
    kind
        A word for programs.
    what
        What is wrong, in words; no traceback, and nothing that must not be shown.
    what_to_do
        In words.
    parts
        (where, what) of each part that is wrong.
    """

    status: int
    kind: str
    what: str
    what_to_do: str
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: Sequence[tuple[str, str]] = ()

    def to_json(self, where: str) -> dict[str, Any]:
        """Return the body of the answer; ``where`` is the request's method and path."""
        return {"error": {
            "status": self.status, "kind": self.kind, "what": self.what, "where": where,
            "what_to_do": self.what_to_do,
            "parts": [{"where": part, "what": text} for part, text in self.parts]}}


NO_ROUTE = Problem(
    status=404, kind="NoRoute", what="There is nothing under this path.",
    what_to_do="GET /api/v1/openapi.json lists the paths there are.")
TOO_LARGE = Problem(
    status=413, kind="TooLarge", what="The body of the request is too large.",
    what_to_do="Send less; data belongs where the worker is, and a reference to it here.")
BUSY = Problem(
    status=503, kind="Busy", what="More is asked at the moment than can be answered.",
    what_to_do="Ask again a little later.", headers={"Retry-After": str(BUSY_S)})
FAILED = Problem(
    status=500, kind="Failed", what="The service failed at this request.",
    what_to_do="Look into the log of the service: it says what happened.")


def problem_of(error: BaseException) -> Problem | None:
    """Return what an error of ours means for who asked; None where it is a mistake of ours."""
    if isinstance(error, RequestRefused):
        fields = vars(error)
        return Problem(status=fields.get("status", 422), kind="RequestRefused", what=str(error),
                       what_to_do=fields.get("what_to_do", ""), headers=fields.get("headers", {}),
                       parts=fields.get("problems", ()))
    kind = type(error).__name__
    if isinstance(error, (RunNotFound, DeploymentNotFound)):
        return Problem(status=404, kind=kind, what=str(error),
                       what_to_do="List what there is, and take an id or a name from it.")
    if isinstance(error, StoreError):
        return Problem(status=503, kind=kind, what=str(error),
                       what_to_do="Ask again later, or look after the run store.",
                       headers={"Retry-After": str(BUSY_S)})
    if isinstance(error, (CallError, DefinitionError, ScheduleError)):
        return Problem(status=422, kind=kind, what=str(error),
                       what_to_do="Change what is named here, and send it again.")
    if isinstance(error, DataflowError):
        return Problem(status=409, kind=kind, what=str(error),
                       what_to_do="Look at what it names.")
    return None
