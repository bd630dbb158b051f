"""Pages of lists, what asks for one, and the body of an answer that is an error.

Lives here: what all lists share. Does not live here: what stands in a cursor (the views).
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from dataflow.server.shapes.moments import Number

Item = TypeVar("Item")
PAGE = 50
LARGEST_PAGE = 200


class Shape(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class PageQuery(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[Number, Field(ge=1, le=LARGEST_PAGE, description="At most so many.")] = PAGE
    cursor: Annotated[str | None, Field(
        min_length=1, max_length=2000,
        description="`next` of the page before; the first page where it is missing.")] = None


class Page(Shape, Generic[Item]):
    """Some of a list."""

    items: list[Item]
    next: Annotated[str | None, Field(
        description="Cursor of the page that follows; null: this is the last.")] = None


class Part(Shape):
    """A part of a request that is wrong."""

    where: str
    what: str


class ErrorFacts(Shape):
    """Why a request was not done."""

    status: int
    kind: Annotated[str, Field(description="A word for programs.")]
    what: str
    where: Annotated[str, Field(description="Method and path of the request.")]
    what_to_do: str
    parts: list[Part] = []


class ErrorBody(Shape):
    """The answer to a request that was not done."""

    error: ErrorFacts
