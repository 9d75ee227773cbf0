"""[sparse]: layers of which some rows learn, and the others stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..words import short, what_is
from .table import Table

Share = float | tuple[int, ...]
"""Of a layer's rows, filters of a convolution: the share that learns, or which ones by number."""
Sparse = tuple[tuple[str, Share], ...]


def read_sparse(table: Table) -> Sparse:
    """(layer, which of its rows learn), by name; nothing where there is no [sparse]."""
    value = table.get("sparse")
    if value is None:
        return ()
    if not isinstance(value, dict) or not value:
        hint = "write [sparse] on a line of its own, below it fc1 = 0.25"
        raise table.error("sparse", f"is {what_is(value)}", hint)
    own = Table(table.where, "sparse", value, list(value))
    return tuple((name, _share(own, name)) for name in sorted(value))


def sparse_table(sparse: Sparse) -> Mapping[str, Any]:
    """`sparse` as a rule file says it."""
    return {name: list(share) if isinstance(share, tuple) else share for name, share in sparse}


def _share(table: Table, name: str) -> Share:
    value = table.get(name)
    if isinstance(value, float) and 0 < value < 1:
        return value
    rows = [v for v in value if type(v) is int and v >= 0] if isinstance(value, list) else []
    if rows and rows == value and len(set(rows)) == len(rows):
        return tuple(sorted(rows))
    hint = "give the share of its rows that learn, as 0.25, or their numbers, as [0, 3, 5], each once"
    raise table.error(short(name), f"is {what_is(value)}", hint)
