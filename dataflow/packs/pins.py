"""What housekeeping must not remove: partitions and runs that somebody pinned.

Lives here: the file ``pins.json`` in a storage's root. Does not live here: what
is removed (``collecting.py``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from dataflow.exceptions import ResultStorageError
from dataflow.result_storage import ResultStorage

FILE = "pins.json"


@dataclass(frozen=True, slots=True)
class Pins:
    """What stays whatever the budget."""

    partitions: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()

    def with_(self, *, partition: str | None = None, run: str | None = None) -> Pins:
        """Return these pins with one more."""
        return Pins(self.partitions | ({partition} if partition is not None else set()),
                    self.runs | ({run} if run is not None else set()))

    def without(self, *, partition: str | None = None, run: str | None = None) -> Pins:
        """Return these pins with one less."""
        return Pins(self.partitions - {partition}, self.runs - {run})


def read_pins(storage: ResultStorage) -> Pins:
    """Return the pins of a storage.

    Raises
    ------
    ResultStorageError
        The file is damaged: nothing may be removed until it is mended.
    """
    try:
        fields = json.loads(storage.read(FILE))
        return Pins(frozenset(fields["partitions"]), frozenset(fields["runs"]))
    except FileNotFoundError:
        return Pins()
    except (ValueError, TypeError, KeyError) as error:
        raise ResultStorageError(
            f"The pins of the result storage {storage.location} cannot be read ({error}). What to "
            f"do: mend or delete {storage.location}/{FILE}; until then nothing is removed.",
            location=storage.location, reason="pins") from error


def write_pins(storage: ResultStorage, pins: Pins) -> None:
    """Replace the pins of a storage."""
    fields = {"partitions": sorted(pins.partitions), "runs": sorted(pins.runs)}
    storage.write(FILE, [json.dumps(fields, indent=1).encode()])
