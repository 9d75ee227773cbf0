"""[state]: what recurrent layers remember between calls."""

from __future__ import annotations

from dataclasses import dataclass

from .table import Table


@dataclass(frozen=True, slots=True)
class State:
    """keep: each window begins where the one before it ended, until `reset`; else from zero."""

    keep: bool = False


def read_state(table: Table) -> State | None:
    """[state], or None where the file has none, or asks for nothing."""
    if table.get("state") is None:
        return None
    own = table.subtable("state", ("keep",))
    return State(True) if own.flag("keep", False) else None
