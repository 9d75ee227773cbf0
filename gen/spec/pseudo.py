"""[pseudo]: when a sample without a label is learned under the network's own verdict."""

from __future__ import annotations

from dataclasses import dataclass

from .table import Table

MOST_MARGIN = 2.0**15


@dataclass(frozen=True, slots=True)
class Pseudo:
    """margin: by how much the winner must lead, in the network's scores."""

    margin: float


def read_pseudo(table: Table) -> Pseudo | None:
    """[pseudo], or None where the file has none."""
    if table.get("pseudo") is None:
        return None
    own = table.subtable("pseudo", ("margin",))
    if own.get("margin") is None:
        hint = "give a number: by how much the winner must lead, in the network's scores, as 2.0"
        raise own.error("margin", "is missing", hint)
    return Pseudo(own.number("margin", 0.0, MOST_MARGIN, 0.0))
