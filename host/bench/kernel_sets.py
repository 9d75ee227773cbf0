"""Which kernel sets there are for a board, and which one a folder was compiled with."""

from __future__ import annotations

import json
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.gen.files.userfile import read_text
from synapcc.gen.ir.plan import Plan
from synapcc.gen.sets import able
from synapcc.gen.target.boards import Board

MAX_LIBRARY = 1 << 16


def kernel_sets(board: Board) -> tuple[str, ...]:
    """The kernel sets that `board` can run, the fastest last."""
    return able(board)


def compiled_with(project: Path, plan: Plan) -> str:
    """The kernel set of an output folder."""
    file = project / "lib" / plan.model / "library.json"
    hint = "compile the model again"
    try:
        return str(json.loads(read_text(file, MAX_LIBRARY, SynapccError, hint))["kernels"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise SynapccError(str(file), "names no kernel set", hint) from None
