"""``OnFile``: a file appeared, or changed.

Lives here: the definition. Does not live here: looking (``looking.py``), what is new
(``sightings.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, ClassVar, Literal

from dataflow.triggers.definition import (
    checked_globs,
    checked_seconds,
    checked_word,
    compact,
    refuse,
)
from dataflow.triggers.trigger import Reactive

TEMPORARY = (".*", "*.part", "*.partial", "*.tmp", "*.temp", "*.crdownload", "*.swp", "*~")
"""Names of files that somebody is still at."""

WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "r2", "memory"})
"""Protocols whose files appear whole."""

SETTLE_S = 2.0
_VARIABLE = re.compile(r"\$\{\w+\}")
_SECRET = re.compile(r"(?i)secret|password|passwd|token|credential|key$")


@dataclass(frozen=True, slots=True)
class OnFile(Reactive):
    """A file appeared in a place, or changed there.

    Each file makes one event, also after a restart; when it changes, another one.

    Parameters
    ----------
    url
        A folder or prefix (all that lies beneath it), a glob (``/data/in/*.csv``,
        ``s3://bucket/in/**/*.parquet``) or one file: a whole path, ``s3://`` or another URL of
        fsspec.
    every : seconds or ``"1m"``, default 10
        How often to look.
    settle : seconds, optional
        A file counts when two looks so far apart found the same size and time of it.
        Default 2; 0 where files appear whole, as in S3.
    existing : {"skip", "run"}, default "skip"
        What becomes of files that are there when the trigger is registered.
    on : {"both", "appeared", "changed"}, default "both"
        Which of the two counts.
    ignore
        Globs of names of files and folders that do not count; by default hidden and
        temporary ones (:data:`TEMPORARY`). ``()``: all count.
    options
        For the file system (``{"endpoint": "http://…"}``). A secret stands there as
        ``${VARIABLE}`` of the environment of the process that looks.
    """

    kind: ClassVar[str] = "file"
    run_of_event: ClassVar[bool] = False

    url: str
    every: float = field(default=10.0, kw_only=True)
    settle: float | None = field(default=None, kw_only=True)
    existing: Literal["skip", "run"] = field(default="skip", kw_only=True)
    on: Literal["both", "appeared", "changed"] = field(default="both", kw_only=True)
    ignore: tuple[str, ...] | str | Sequence[str] = field(default=TEMPORARY, kw_only=True)
    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)

    def __post_init__(self) -> None:
        """Check the options."""
        super(OnFile, self).__post_init__()
        self._set(
            url=_checked_url(self.url),
            every=checked_seconds("every", self.every, least=0.1),
            settle=None if self.settle is None else checked_seconds("settle", self.settle),
            existing=checked_word("existing", self.existing, ("skip", "run")),
            on=checked_word("on", self.on, ("both", "appeared", "changed")),
            ignore=checked_globs("ignore", self.ignore), options=_checked_options(self.options))

    @property
    def settle_s(self) -> float:
        """Return how long a file must have stayed as it is."""
        if self.settle is not None:
            return self.settle
        scheme, mark, _ = self.url.partition("://")
        return 0.0 if mark and scheme in WHOLE else SETTLE_S

    @property
    def place(self) -> str:
        """Return what tells where it looks, and at what: the same place is seen once."""
        facts = [self.url, self.existing, list(self.ignore)]
        return blake2b(compact(facts).encode(), digest_size=8).hexdigest()

    def describe(self) -> str:
        """Return it in words."""
        what = {"both": "appears or changes", "appeared": "appears", "changed": "changes"}[self.on]
        return self.counts_in_words(f"a file at {self.url} {what}")


def _checked_url(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        refuse("url", value, "is no place: give a path, s3://bucket/prefix or another URL of "
                             "fsspec")
    _, mark, rest = value.partition("://")
    if mark and not rest.strip("/"):
        refuse("url", value, "names no place after its protocol")
    if not mark and not value.startswith(("/", "~")):
        refuse("url", value, "is relative, and the process that looks may stand in another "
                             "folder: give the whole path")
    if mark and "@" in rest.partition("/")[0]:
        refuse("url", value.rpartition("@")[2], "had a user or password before it, which everybody "
               "could read who sees the deployment: give it in options, as ${VARIABLE}")
    return value


def _checked_options(value: object) -> dict[str, Any]:
    from dataflow.deployments.json_values import json_copy

    if not isinstance(value, Mapping):
        refuse("options", value, "is not a mapping")
    try:
        copied: dict[str, Any] = json_copy(value, "options")
    except ValueError as error:
        refuse("options", type(value).__name__, f"cannot be written as JSON: {error}")
    for name, each in copied.items():
        if _SECRET.search(name) and isinstance(each, str) and not _VARIABLE.fullmatch(each):
            refuse(f"options[{name!r}]", "…", "would be read by everybody who sees the deployment: "
                                             "name a variable of the environment, '${VARIABLE}'")
    return copied
