"""[keep]: what of the state is kept in flash, and how much flash it gets."""

from __future__ import annotations

from dataclasses import dataclass

from .table import Table

MOST_BLOCKS = 2048  # that firmware/keep.c counts


@dataclass(frozen=True, slots=True)
class Keep:
    """A store in flash that a cut of the power does not harm.

    samples: whether the wearer's samples are kept too, which are personal data
    blocks:  erase blocks that the store gets; 0: the fewest that hold it
    migrate: whether firmware of another Plan may take over what it knows of it
    """

    samples: bool = False
    blocks: int = 0
    migrate: bool = False


def read_keep(table: Table) -> Keep:
    """The table [keep] of a rule file; what it does not say has its default."""
    own = table.table("keep", Keep)
    blocks = own.integer("blocks", 3, MOST_BLOCKS, 0)
    return Keep(own.flag("samples", False), blocks, own.flag("migrate", False))
