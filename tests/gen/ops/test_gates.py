"""What gates hear is the derivative of one step of time, and integers come near it."""

from __future__ import annotations

import numpy as np
import pytest

from synapcc.gen.ops import kernel
from synapcc.gen.ops.recurrent import EARLY, GATES, STATES

STEP, UNITS = 1e-6, 6
TAUGHT = tuple(cell for cell in GATES if cell != EARLY)


def drawn(cell: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    arrays = {role: rng.normal(0, 1.5, (1, GATES[cell] * UNITS)) for role in ("p", "q")}
    return arrays | ({"h": rng.uniform(-0.9, 0.9, (1, UNITS))} if cell in STATES else {})


def stepped(cell: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    own = {role: v.copy() for role, v in arrays.items()}
    y = np.zeros((1, UNITS))
    kernel(f"recurrent.{cell}").real({**own, "y": y}, {})
    return y


@pytest.mark.parametrize("cell", TAUGHT)
def test_signals_are_derivatives_of_one_step(cell: str) -> None:
    rng = np.random.default_rng(3)
    arrays, d = drawn(cell, rng), rng.normal(0, 1, (1, UNITS))
    k = kernel(f"gates.{cell}")
    out = {role: np.zeros((1, GATES[cell] * UNITS)) for role in k.writes if role not in k.optional}
    k.real({**arrays, "d": d, **out}, {})
    for role, signal in zip(("p", "q"), (out["g"], out.get("gq", out["g"])), strict=True):
        for i in range(GATES[cell] * UNITS):
            sides = []
            for by in (STEP, -STEP):
                moved = {r: v.copy() for r, v in arrays.items()}
                moved[role][0, i] += by
                sides.append(float(np.sum(d * stepped(cell, moved))))
            assert abs((sides[0] - sides[1]) / (2 * STEP) - signal[0, i]) < 1e-7, (role, i)


@pytest.mark.parametrize("cell", TAUGHT)
def test_integers_are_near(cell: str) -> None:
    """States to a few units of Q15 or Q11, int8 to one of Q7, signals to a 2^-12 of the largest."""
    rng = np.random.default_rng(5)
    fracs = {"p": 11, "q": 9} | ({"h": STATES[cell].frac} if cell in STATES else {})
    for _ in range(20):
        exact = {role: np.rint(v * 2.0 ** fracs[role]) for role, v in drawn(cell, rng).items()}
        real = {role: v * 2.0 ** -fracs[role] for role, v in exact.items()}
        ints = {role: v.astype(np.int16) for role, v in exact.items()}
        ups = {"p_up": 1, "q_up": 3}
        d = np.rint(rng.uniform(-(2**14), 2**14, (1, UNITS)))
        gates = kernel(f"gates.{cell}")
        for role in gates.writes:
            real[role], ints[role] = np.zeros((1, GATES[cell] * UNITS)), np.zeros_like(ints["p"])
        for role in gates.optional:
            real[role] = np.rint(rng.uniform(-(2**12), 2**12, (1, UNITS)))
            ints[role] = real[role].astype(np.int16)
        gates.real({**real, "d": d}, {})
        gates.integer({**ints, "d": d.astype(np.int16)}, ups)
        for role in gates.changing:
            assert np.max(np.abs(real[role] - ints[role])) <= 8, role
        y, y8 = np.zeros((1, UNITS)), np.zeros((1, UNITS), np.int8)
        own = [{r: v for r, v in side.items() if r not in gates.changing} for side in (real, ints)]
        kernel(f"recurrent.{cell}").real({**own[0], "y": y}, {})
        kernel(f"recurrent.{cell}").integer({**own[1], "y": y8}, ups)
        assert np.max(np.abs(np.minimum(y * 2**7, 127) - y8)) <= 0.6
        if cell in STATES:
            assert np.max(np.abs(own[0]["h"] * 2.0 ** fracs["h"] - own[1]["h"])) <= 4
