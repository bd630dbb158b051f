"""Sizes and ages as people write and read them: ``500M``, ``30d``.

Lives here: click types and the reverse. Does not live here: any command.
"""

from __future__ import annotations

import re

import click

_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
          "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_AGES = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Size(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """Bytes: ``500M``, ``1.5G``, ``2GiB``."""

    name = "SIZE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the bytes."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", str(value).strip().upper())
        if found is None or found[2] not in _SIZES:
            self.fail(f"{value!r} is no size. Write 500M, 1.5G or 2GiB.", param, ctx)
        return int(float(found[1]) * _SIZES[found[2]])


class Age(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """Seconds: ``30d``, ``12h``, ``45min``."""

    name = "AGE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", str(value).strip().lower())
        if found is None or found[2] not in _AGES:
            self.fail(f"{value!r} is no age. Write 30d, 12h or 45min.", param, ctx)
        return float(found[1]) * _AGES[found[2]]


def size_text(size_bytes: int) -> str:
    """Return a size, e.g. ``1.23 GB``."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.3g} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1000
    return f"{size:,.3g} TB"
