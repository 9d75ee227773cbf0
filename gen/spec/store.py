"""[store]: the wearer's labelled samples, how many, in which order they are relearned, and which one goes."""

from __future__ import annotations

from dataclasses import dataclass

from .table import Table

BALANCED, OLDEST = "balanced", "oldest"


@dataclass(frozen=True, slots=True)
class Store:
    """A ring of `samples` labelled samples of the wearer, relearned by `rehearse` in this order.

    drop: which one makes room when it is full: one of a class that most have, or the oldest of all
    """

    samples: int
    order: str = "sequential"
    drop: str = BALANCED


def read_store(table: Table, classes: bool) -> Store:
    """classes: whether labels are learned; numbers have no classes to balance, and the oldest sample goes."""
    own = table.table("store", Store)
    samples = own.integer("samples", 1, 2**16 - 1, None)
    order = own.choice("order", ("sequential", "shuffled"), "sequential")
    return Store(samples, order, own.choice("drop", (BALANCED, OLDEST), BALANCED if classes else OLDEST))
