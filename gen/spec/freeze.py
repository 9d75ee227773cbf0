"""[freeze]: when learning pauses."""

from __future__ import annotations

from dataclasses import dataclass

from .table import Table

MOST_AFTER = 2**16
LEAST_SHARE = -8  # 2^-8


@dataclass(frozen=True, slots=True)
class Freeze:
    """Learning pauses while less than `share` of the samples are wrong.

    below: a sample of which no element of the error is as large is right
    after: so many samples that are all right, and it pauses
    share: a power of two; a wrong sample takes back 1 / share - 1 right ones
    """

    below: float
    after: int = 64
    share: float = 0.125


def read_freeze(table: Table) -> Freeze | None:
    """[freeze], or None where the file has none."""
    if table.get("freeze") is None:
        return None
    own = table.subtable("freeze", ("below", "after", "share"))
    below = own.power_of_two("below", -15, 15, 0.0)
    if not below:
        hint = 'give a power of two: a sample of which no element of the error is as large is right, "2^-2"'
        raise own.error("below", "is missing", hint)
    after = own.integer("after", 1, MOST_AFTER, 64)
    return Freeze(below, after, own.power_of_two("share", LEAST_SHARE, -1, 0.125))
