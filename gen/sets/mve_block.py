"""What a row of the table of Helium blocks is: gen/sets/mve.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..numeric import Int

Lanes = NDArray[np.integer]

WIDTH = 120  # of a line of the emitted file
LANES = 4
"""Sums that a block makes at once: as many as there are even registers for."""


@dataclass(frozen=True, slots=True)
class Block:
    """A row of the table.

    params:   (C type, name) of each parameter
    py:       the meaning: what it makes of arrays of these names; sums modulo 2^32
    c:        the body in portable C
    local:    what stands before the instructions
    asm:      the instructions, %[name] their operands
    operands: outputs, inputs and what is overwritten, as GNU C says them
    after:    what stands behind the instructions
    """

    name: str
    doc: str
    params: tuple[tuple[str, str], ...]
    py: Callable[..., Int]
    c: str
    asm: tuple[str, ...]
    operands: tuple[str, str, str]
    ret: str = "void"
    local: str = ""
    after: str = ""

    @property
    def c_function(self) -> str:
        """The definition in GNU C, as it stands in the emitted file."""
        params = ", ".join(
            f"{ctype}{'' if ctype.endswith('*') else ' '}{name}" for ctype, name in self.params
        )
        lines = [f'        "{line}\\n\\t"' for line in self.asm[:-1]] + [f'        "{self.asm[-1]}"']
        outputs, inputs, clobbers = self.operands
        return (
            f"/* {self.doc} */\n"
            f"{_broken(f'static inline {self.ret} {self.name}({params})')}\n{{\n"
            "#if defined(__ARM_FEATURE_MVE)\n"
            f"{_indented(self.local)}"
            "    __asm__ __volatile__(\n" + "\n".join(lines) + "\n"
            f"        : {outputs}\n        : {inputs}\n        : {clobbers});\n"
            f"{_indented(self.after)}"
            "#else\n"
            f"{_indented(self.c)}"
            "#endif\n}\n"
        ).replace(" \n", "\n")


def _broken(line: str) -> str:
    """A line in as many as it takes, each behind a comma."""
    if len(line) <= WIDTH:
        return line
    at = line.rindex(", ", 0, WIDTH)
    return f"{line[: at + 1]}\n{_broken('    ' + line[at + 2 :])}"


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.strip().split("\n")) if text.strip() else ""
