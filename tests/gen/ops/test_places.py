"""Convolutions whose input has a zero point, beyond the map: sums that start by the place of a window."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ctools import UNDEFINED, HostBatch
from one_step import batch_plan, compare, emulator

from synapcc.gen.emit.flash import stored
from synapcc.gen.ops import Case, _places, kernel
from synapcc.gen.ops._window import Window

SEEN = {
    "ref": {"forward"},
    "dsp": {"forward", "forward_dual", "forward_rows", "forward_depthwise"},
    "mve": {"forward", "forward_depthwise"},
}


def bordered(rng: np.random.Generator, count: int, lanes: int = 0) -> list[tuple[str, Case]]:
    """Cases that shift, with a zero point and windows beyond the map; `lanes` of them depthwise as dsp sums
    it, which are rare."""
    found: list[tuple[str, Case]] = []
    while len(found) < count:
        case = kernel("conv2d.forward").case(rng)
        a = case.attrs
        g = Window.from_attrs(a)
        if "rounds" in a or not a.get("x_zero") or not g.beyond:
            continue
        deep = g.groups == g.channels == a["filters"] and g.channels % 4 == 0
        lane = deep and g.dilation_h == g.dilation_w == 1
        if lane or len(found) + lanes < count:
            lanes -= lane
            found.append(("conv2d.forward", case))
    return found


@pytest.mark.parametrize(
    "kernels", [pytest.param(s, marks=pytest.mark.long) if s == "mve" else s for s in SEEN]
)
def test_nothing_differs(kernels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a table takes: emitted C against the emulator, under the sanitizer."""
    monkeypatch.setattr(_places, "SHARE", 0)
    rng = np.random.default_rng(17)
    plan, placed = batch_plan("cases", bordered(rng, 60, 3), rng, as_models=1.0)
    variants = stored(plan, kernels).variants
    seen = Counter(v.macro for v in variants if "places" in v.numbers)
    copied = sum(v.numbers.get("patch", 0) for v in variants if v.kernel_set == "mve")  # zero points around
    assert {*seen} == SEEN[kernels] and sum(seen.values()) + copied > 50, seen
    batch = HostBatch([plan], tmp_path, "-O0", *UNDEFINED, kernels=kernels)
    try:
        compare(batch, plan, placed)
    finally:
        batch.close()


def test_starts_are_the_sums_of_what_lies_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an input that is nothing but zero points, outputs are those of the biases, alike at all places."""
    monkeypatch.setattr(_places, "SHARE", 0)
    rng, several = np.random.default_rng(18), 0
    plan, placed = batch_plan("cases", bordered(rng, 60), rng, as_models=1.0)
    machine = emulator(plan)
    for p in placed:
        machine[p.tensors["x"]][0] = p.case.attrs["x_zero"]
    machine.run("infer")
    for p in [p for p in placed if "row" not in p.tensors]:
        t, a = {role: plan[name] for role, name in p.tensors.items()}, p.case.attrs
        g = Window.from_attrs(a)
        found = _places.places(g, t, a)
        assert found and len(found.starts) == found.numbers["places"]
        several += len(found.starts) > 1
        y = machine[p.tensors["y"]][0].reshape(g.positions, -1)
        assert np.array_equal(y, np.broadcast_to(y[0], y.shape))
    assert several > 25


def test_a_table_takes_at_most_half_of_what_the_weights_take() -> None:
    rng, tabled = np.random.default_rng(19), 0
    plan, placed = batch_plan("cases", bordered(rng, 100), rng, as_models=1.0)
    for p in placed:
        t = {role: plan[name] for role, name in p.tensors.items()}
        found = _places.places(Window.from_attrs(p.case.attrs), t, p.case.attrs)
        assert found is None or 2 * found.starts.nbytes <= t["w"].nbytes
        tabled += found is not None
    assert 0 < tabled < len(placed)
