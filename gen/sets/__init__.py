"""Kernel sets: the same arithmetic at several speeds.

A set is a folder of templates and what each kernel answers when it is asked for it (Kernel.variant). The Plan
and its digest do not know the set, and no set changes a bit.
"""

from __future__ import annotations

from ..errors import CompileError
from ..target.board import Board

REF, DSP, AUTO = "ref", "dsp", "auto"
CHOICES = (AUTO, REF, DSP)
DSP_CORES = ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
"""Cores with the DSP extension. A Cortex-M33 may come without: what is built for one runs on portable C."""


def select(choice: str, board: Board | None) -> str:
    """The set that `choice` means: auto is the fastest of the board's core, and ref where there is no board.

    Raises CompileError for a set that there is not, or that the board's core could only run slowly.
    """
    able = board is not None and board.core.cpu in DSP_CORES
    if choice == AUTO:
        return DSP if able else REF
    if choice not in CHOICES:
        raise CompileError("kernels", f'there is no kernel set "{choice}"', f"sets: {', '.join(CHOICES)}")
    if choice == DSP and board is not None and not able:
        what = f"a {board.core.cpu} has no DSP instructions"
        raise CompileError(board.name, f"kernel set dsp: {what}", "take --kernels auto or ref")
    return choice
