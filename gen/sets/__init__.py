"""Kernel sets: the same arithmetic at several speeds.

A set is a row of `SETS`, a folder of templates of its name, and what each kernel answers when it is asked for
it (Kernel.variant). What a set does not print, the one that it falls back on does. The Plan and its digest do
not know the set, and no set changes a bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import CompileError
from ..target.board import Board, Core

REF, M0, DSP, MVE, AUTO = "ref", "m0", "dsp", "mve", "auto"


@dataclass(frozen=True, slots=True)
class KernelSet:
    """A kernel set.

    needs:    what a core must have, in words
    cores:    those that may have it; empty: every core
    feature:  the field of a board's Core that says whether it has it; empty: all of these cores do
    fallback: the set that prints what this one does not; empty for `ref` alone, which prints everything
    """

    name: str
    needs: str = ""
    cores: tuple[str, ...] = ()
    feature: str = ""
    fallback: str = ""

    def runs_on(self, core: Core) -> bool:
        """Whether the core has what it takes."""
        has = core.cpu in self.cores and (not self.feature or bool(getattr(core, self.feature)))
        return not self.cores or has


_ROWS = (
    KernelSet(REF),
    # Every core could run it, but one that has products of 64 bits is faster without.
    KernelSet(M0, needs="need of products of 32 bits", cores=("cortex-m0", "cortex-m0plus"), fallback=REF),
    # A Cortex-M33 may come without the DSP extension: what is built for one runs on portable C.
    KernelSet(DSP, "DSP instructions", ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"), "", REF),
    KernelSet(MVE, "Helium", ("cortex-m55",), "mve", DSP),
)

SETS: dict[str, KernelSet] = {row.name: row for row in _ROWS}
"""Every kernel set by name, the fastest last."""

CHOICES = (AUTO, *SETS)


def chain(name: str) -> tuple[str, ...]:
    """The set and those that it falls back on, one behind another; the last is `ref`."""
    row = SETS[name]
    return (name, *chain(row.fallback)) if row.fallback else (name,)


def able(board: Board | None) -> tuple[str, ...]:
    """The sets that the board's core has what it takes for, the fastest last; without a board `ref` alone."""
    return tuple(row.name for row in SETS.values() if (row.runs_on(board.core) if board else not row.cores))


def select(choice: str, board: Board | None) -> str:
    """The set that `choice` means: auto is the fastest of the board's core, and ref where there is no board.

    Raises CompileError for a set that there is not, or that the board's core could only run slowly.
    """
    if choice == AUTO:
        return able(board)[-1]
    if choice not in SETS:
        raise CompileError(
            "kernels", f'there is no kernel set "{choice}"', f"sets: {', '.join((AUTO, *SETS))}"
        )
    if board is not None and choice not in able(board):
        what = f"a {board.core.cpu} has no {SETS[choice].needs}"
        others = " or ".join((AUTO, *reversed(able(board))))
        raise CompileError(board.name, f"kernel set {choice}: {what}", f"take --kernels {others}")
    return choice
