"""[mark]: windows that were answered are kept for some time, so that a label may come for them late."""

from __future__ import annotations

from dataclasses import dataclass

from .table import Table


@dataclass(frozen=True, slots=True)
class Mark:
    """pending: how many windows are kept; within: ms that a label's moment may lie from its window's; deny:
    whether somebody may also say which class a window was not."""

    pending: int
    within: float
    deny: bool = False


def read_mark(table: Table) -> Mark | None:
    """[mark], or None where the file has none. CompileError where nothing could be labelled."""
    if table.get("mark") is None:
        return None
    own = table.subtable("mark", ("pending", "within", "deny"))
    if table.get("frontend") is None:
        hint = "give a front end, or leave [mark] out: learn takes a sample with its label"
        raise own.error("pending", "is of windows of a front end, and there is no [frontend]", hint)
    within = own.number("within", 1.0, 1e5, 150.0, "ms")
    return Mark(own.integer("pending", 1, 255, 8), within, own.flag("deny", False))
