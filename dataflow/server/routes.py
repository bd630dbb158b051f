"""What a route is: a method, a path, what is asked and what is answered.

Lives here: the value, finding the route of a request, the values that a view gets and
gives. Does not live here: the routes (``table.py``), the document made from them
(``openapi.py``).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from dataflow.server.paths import segments
from dataflow.server.problems import NO_ROUTE, Problem
from dataflow.store import Store

if TYPE_CHECKING:
    from dataflow.server.metrics import Metrics

Model = TypeVar("Model", bound=BaseModel)
PREFIX = "/api/v1"


class Guard(enum.Enum):
    """Who may ask."""

    TOKEN = "token"
    NOBODY = "nobody"
    """Anybody may: the answer tells nothing."""
    SIGNATURE = "signature"
    """The view checks a signature of the body."""


class NoQuery(BaseModel):
    """A request without a query."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What views work with: the store, and what is known of this process."""

    store: Store
    clock: Callable[[], float]
    metrics: Metrics
    document: Mapping[str, Any] = field(default_factory=dict)  # OpenAPI


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that passed the gate and whose parts were checked."""

    site: Site
    route: Route
    path: Mapping[str, str]
    query: BaseModel = field(default_factory=NoQuery)
    body: BaseModel | None = None
    raw: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case

    @property
    def store(self) -> Store:
        """Return the store."""
        return self.site.store

    @property
    def now_s(self) -> float:
        """Return epoch seconds."""
        return self.site.clock()

    def asked(self, kind: type[Model]) -> Model:
        """Return the query, which is of that kind."""
        assert isinstance(self.query, kind)
        return self.query

    def given(self, kind: type[Model]) -> Model:
        """Return the body, which is of that kind."""
        assert isinstance(self.body, kind)
        return self.body


@dataclass(frozen=True, slots=True)
class Text:
    """An answer that is no JSON of a model."""

    body: bytes
    media: str


class Tail(Protocol):
    """What a stream of events shows: asked again and again for what is new."""

    def step(self) -> Sequence[bytes]:
        """Return events that are new, as they are sent; it may block."""

    @property
    def ended(self) -> bool:
        """Tell whether nothing more will come."""


Answer = BaseModel | Text | Tail | Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path.

    Parameters
    ----------
    path
        With names in braces, each of which stands for one part.
    name
        Of the operation, in the document.
    about
        What it does, in one line.
    view
        Answers; it may block, and raises errors of ours.
    gives
        The answer; None: a text of ``media``.
    takes
        The body; None: there is none, or (with Guard.SIGNATURE) the view reads it.
    errors
        Statuses beside those that every route may have.
    makes
        Path of what was made, with the ``{id}`` of the answer: its header Location.
    quick
        The view never blocks, and is called in the loop: it answers also where all threads
        are busy.
    """

    method: str
    path: str
    name: str
    about: str
    view: Callable[[Call], Answer]
    gives: type[BaseModel] | None = None
    status: int = 200
    query: type[BaseModel] = NoQuery
    takes: type[BaseModel] | None = None
    errors: Sequence[int] = ()
    media: str = "application/json"
    guard: Guard = Guard.TOKEN
    makes: str | None = None
    quick: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the parts of the path."""
        return tuple(self.path[1:].split("/"))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names in the path."""
        return tuple(part[1:-1] for part in self.parts if part.startswith("{"))

    @property
    def streams(self) -> bool:
        """Tell whether the answer goes on until something ends."""
        return self.media == "text/event-stream"


@dataclass(frozen=True, slots=True)
class Found:
    """The route of a request, and what its path says."""

    route: Route
    path: Mapping[str, str]


class Router:
    """Finds routes.

    Parameters
    ----------
    routes
        Where two fit a path, the one with fewer names in it counts.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_length: dict[int, list[Route]] = {}
        for route in sorted(routes, key=lambda each: len(each.names)):
            self._by_length.setdefault(len(route.parts), []).append(route)

    def find(self, method: str, path: str) -> Found | Problem:
        """Return the route of a request, or what is wrong with it; HEAD is found as GET."""
        wanted = "GET" if method == "HEAD" else method
        fitting = self._fitting(path)
        for route, names in fitting:
            if route.method == wanted and not (method == "HEAD" and route.streams):
                return Found(route, names)
        if not fitting:
            return NO_ROUTE
        methods = {route.method for route, _ in fitting}
        if any(route.method == "GET" and not route.streams for route, _ in fitting):
            methods.add("HEAD")
        return Problem(
            status=405, kind="MethodRefused", what="This path knows no such method.",
            what_to_do=f"It knows {', '.join(sorted(methods))}.",
            headers={"Allow": ", ".join(sorted(methods))})

    def is_open(self, method: str, path: str) -> bool:
        """Tell whether a request needs no token."""
        found = self.find(method, path)
        return isinstance(found, Found) and found.route.guard is not Guard.TOKEN

    def _fitting(self, path: str) -> list[tuple[Route, dict[str, str]]]:
        parts = segments(path)
        if parts is None:
            return []
        found = [(route, names) for route in self._by_length.get(len(parts), ())
                 if (names := _match(route.parts, parts)) is not None]
        least = min((len(names) for _, names in found), default=0)
        return [(route, names) for route, names in found if len(names) == least]


def _match(template: Sequence[str], parts: Sequence[str]) -> dict[str, str] | None:
    names = {}
    for expected, part in zip(template, parts, strict=True):
        if expected.startswith("{"):
            names[expected[1:-1]] = part
        elif expected != part:
            return None
    return names
