"""The core `portable` on a RISC-V of 32 bits: compiled by zig, run by unicorn, the emulator's bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_nets import golden_plan
from play import play
from random_nets import ANY, accepted
from riscv import RiscvBatch


@pytest.mark.parametrize(
    "level", ["-O2", *(pytest.param(o, marks=pytest.mark.long) for o in ("-O0", "-O3", "-Os"))]
)
@pytest.mark.parametrize("count", [2, pytest.param(60, marks=pytest.mark.long)])
def test_it_learns_on_rv32imc(level: str, count: int, tmp_path: Path) -> None:
    """Golden and random networks under their rules live as the emulator does, step by step."""
    lives = [(golden_plan(name), 2) for name in ("ring", "byte", "pair")]
    lives += [(c.plan, seed) for c, seed in accepted(ANY, count)]
    batch = RiscvBatch([plan for plan, _ in lives], tmp_path, level)
    steps = [play(batch, i, seed) for i, (_, seed) in enumerate(lives)]
    assert min(steps) > 3
