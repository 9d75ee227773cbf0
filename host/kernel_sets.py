"""Which kernel sets there are for a board, and which one a folder was compiled with."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from synapcc.gen.boards import Board
from synapcc.gen.plan import Plan

REF = "ref"
_SETS = "synapcc.gen.kernels"


def kernel_sets(board: Board) -> tuple[str, ...]:
    """The kernel sets that `board` can run, the fastest last."""
    if importlib.util.find_spec(_SETS) is None:
        return (REF,)
    sets: Any = importlib.import_module(_SETS)
    return tuple(dict.fromkeys((REF, sets.select(sets.AUTO, board))))


def render_options(kernels: str, board: Board) -> dict[str, str]:
    """What to hand to gen.emit.render for the set `kernels`; "" is the fastest."""
    sets = kernel_sets(board)
    return {"kernels": kernels or sets[-1]} if importlib.util.find_spec(_SETS) else {}


def compiled_with(project: Path, plan: Plan) -> str:
    """The kernel set of an output folder."""
    library = json.loads((project / "lib" / plan.model / "library.json").read_text(encoding="utf-8"))
    return str(library.get("kernels", REF))
