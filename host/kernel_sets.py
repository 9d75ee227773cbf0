"""Which kernel sets there are for a board, and which one a folder was compiled with."""

from __future__ import annotations

import json
from pathlib import Path

from synapcc.gen.boards import Board
from synapcc.gen.kernels import AUTO, REF, select
from synapcc.gen.plan import Plan


def kernel_sets(board: Board) -> tuple[str, ...]:
    """The kernel sets that `board` can run, the fastest last."""
    return tuple(dict.fromkeys((REF, select(AUTO, board))))


def compiled_with(project: Path, plan: Plan) -> str:
    """The kernel set of an output folder."""
    library = json.loads((project / "lib" / plan.model / "library.json").read_text(encoding="utf-8"))
    return str(library["kernels"])
