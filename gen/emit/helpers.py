"""The small functions of the emitted C that its steps call: primitives, instructions, words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..numeric import PRIMITIVES, Primitive
from ..sets import dsp, mve
from ..sets.mve_block import Block

WORDS = ("load_word", "store_word", "load_any", "store_any")


@dataclass(frozen=True)
class Helpers:
    """The small functions that the steps of one library call, callees first."""

    primitives: tuple[Primitive, ...]
    instructions: tuple[dsp.Instruction | Block, ...]
    words: tuple[str, ...]

    def prefixed(self, text: str, prefix: str) -> str:
        """`text` with the model's prefix before every helper: two models may share a translation unit."""
        names = (*(p.name for p in (*self.primitives, *self.instructions)), *self.words)
        return re.sub(rf"\b({'|'.join(names)})\(", rf"{prefix}_\1(", text) if names else text


def helpers_of(texts: Iterable[str]) -> Helpers:
    steps = list(texts)
    bodies = [*steps, *(block.c for block in mve.called(steps))]
    wanted: set[str] = set()
    pending = list(bodies)
    while pending:
        found = set(re.findall(r"\b([a-z_0-9]+)\(", pending.pop())) & PRIMITIVES.keys() - wanted
        wanted |= found
        pending += [PRIMITIVES[n].c for n in found]
    words = tuple(name for name in WORDS if any(f"{name}(" in body for body in bodies))
    vectors: tuple[dsp.Instruction | Block, ...] = (*dsp.called(bodies), *mve.called(bodies))
    return Helpers(tuple(p for name, p in PRIMITIVES.items() if name in wanted), vectors, words)
