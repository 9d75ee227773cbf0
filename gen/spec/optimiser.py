"""[accumulate] and [momentum]: what the changes of many samples do together."""

from __future__ import annotations

from dataclasses import dataclass

from .table import Table

MOST_SAMPLES = 256
MOST_SHIFT = 8  # of a momentum of 1 - 2^-shift


@dataclass(frozen=True, slots=True)
class Accumulate:
    """Weights change once in `samples` learned samples, by the sum of what each would change."""

    samples: int


@dataclass(frozen=True, slots=True)
class Momentum:
    """Weights change by a velocity, which keeps 1 - 2^-shift of itself from change to change."""

    shift: int


def read_accumulate(table: Table) -> Accumulate | None:
    """[accumulate], or None where the file has none."""
    if table.get("accumulate") is None:
        return None
    own = table.subtable("accumulate", ("samples",))
    return Accumulate(own.integer("samples", 2, MOST_SAMPLES, None))


def read_momentum(table: Table) -> Momentum | None:
    """[momentum], or None where the file has none."""
    if table.get("momentum") is None:
        return None
    own = table.subtable("momentum", ("shift",))
    return Momentum(own.integer("shift", 1, MOST_SHIFT, None))
