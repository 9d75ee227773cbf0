"""The compiled engine against numpy, byte for byte over all memory: kernels alone, and whole lives of nets."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from one_step import batch_plan, cases, emulator, first_difference

from synapcc.gen.errors import SynapccError
from synapcc.gen.ops import kernels
from synapcc.host import engine
from synapcc.host.run.emulator import Emulator

pytest.importorskip("numba", reason="numba is not installed: pip install 'synapcc[fast]'")

CASES = 12
LOOPS = sorted(name for name, k in kernels().items() if vars(type(k)).get("loop"))


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_says_what_the_array_form_says(name: str) -> None:
    rng = np.random.default_rng(len(name))
    plan, placed = batch_plan("k", cases(rng, CASES, [name]), rng)
    want, got = (emulator(plan, 3, engine=chosen) for chosen in ("numpy", "compiled"))
    for machine in (want, got):
        machine.run("infer")
    for space in ("state", "arena"):
        a, b = (getattr(m, space).tobytes() for m in (want, got))
        assert a == b, first_difference(plan, placed, space, *(getattr(m, space)[0].tobytes() for m in (want, got)))
