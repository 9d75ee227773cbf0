"""The input quantiser: the same bytes in C and numpy; and features that are too different for one scale."""

from __future__ import annotations

import math
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from ctools import compile_host
from quantisers import MAIN, hard_floats
from random_nets import ANY, accepted

from synapcc.gen import emit
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.format import Scaled
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.quantiser import (
    LIMIT,
    AffineQuantiser,
    InputQuantiser,
    Quantiser,
    misfit,
    uneven,
)
from synapcc.gen.stages.plan_file import load_plan

Rng = np.random.Generator
SAMPLES = 200

# ---- the arithmetic -----------------------------------------------------------------------------------


def random_quantiser(rng: Rng, size: int) -> Quantiser:
    """One pair, one a channel in either order, or one an element; signs, zeros, 2^-60 to 2^60."""
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    count = int(rng.choice(divisors))
    inner = int(rng.choice([d for d in divisors if size // count % d == 0]))
    reach = float(rng.choice([3, 60]))
    scale = rng.choice([-1, 1], count) * 2.0 ** rng.uniform(-reach, reach, count)
    scale[rng.random(count) < 0.1] = 0.0
    offset = rng.normal(0, 1, count) * 2.0 ** rng.uniform(-reach, reach, count) * rng.integers(0, 2, count)
    at = np.arange(size) // inner % count
    return Quantiser.of(offset[at], scale[at])


def random_affine(rng: Rng) -> AffineQuantiser:
    """Any scale that a file may have, every fourth a power of two, where ties are common."""
    log = rng.uniform(-9, 2) if rng.integers(3) else rng.uniform(-100, 100)
    scale = float(np.float32(2.0 ** (log if rng.integers(4) else round(log))))
    return AffineQuantiser(scale, int(rng.choice([-128, 0, 127, rng.integers(-128, 128)])))


def with_quantiser(plan: Plan, name: str, q: InputQuantiser | None) -> Plan:
    """`plan` as if its input `name` had that quantiser."""
    tensors = plan.tensors
    if isinstance(q, AffineQuantiser):
        meaning = Scaled((q.scale,), (q.zero,))
        tensors = tuple(replace(t, meaning=meaning) if t.name == name else t for t in tensors)
    own = {name: q} if isinstance(q, Quantiser) else {}
    return replace(plan, tensors=tensors, quantisers=own, _by_name={})


@pytest.mark.parametrize(
    "flags", [("-O0",), ("-O2",), ("-std=gnu99", "-O3", "-march=native", "-ffp-contract=fast")]
)
def test_the_emitted_quantiser_gives_the_bytes_of_the_hosts(flags: tuple[str, ...], tmp_path: Path) -> None:
    compared, seen = 0, set[int]()
    for compiled, seed in accepted(ANY, 14):
        rng = np.random.default_rng([31, seed])
        name = compiled.plan.inputs[0]
        size = compiled.plan[name].shape[0]
        given = random_quantiser(rng, size) if seed % 4 else random_affine(rng) if seed % 8 else None
        plan = with_quantiser(compiled.plan, name, given)
        assert load_plan(plan.canonical, "plan").quantiser(name) == plan.quantiser(name)
        assert given in (None, plan.quantiser(name))
        folder = tmp_path / f"m{seed}"
        folder.mkdir()
        files = emit.render(plan, None, "test", quantiser=True)
        for path in (p for p in files if p.endswith(".h")):
            (folder / Path(path).name).write_bytes(files[path])
        source = folder / "main.c"
        source.write_text(MAIN.format(model=plan.model, name=name, size=size, ctype="int8_t"))
        program = compile_host([source], folder / "main", f"-I{folder}", *flags)
        x = hard_floats(rng, plan.quantiser(name), size, SAMPLES)
        done = subprocess.run([program], input=x.tobytes(), capture_output=True, check=True)
        got = np.frombuffer(done.stdout, np.int8).reshape(SAMPLES, size)
        want = plan.quantiser(name).integers(x)
        assert np.array_equal(got, want), (seed, plan.quantiser(name), x[got != want][:5])
        compared += got.size
        seen |= set(want.ravel().tolist())
    assert compared > 20_000 and len(seen) == 256


def test_a_quantiser_is_what_its_definition_says() -> None:
    """In exact arithmetic, rounded by hand: two roundings to float32, then to the nearest, ties to even."""
    rng = np.random.default_rng(8)
    for _ in range(40):
        q = random_quantiser(rng, 12)
        x = hard_floats(rng, q, 12, 5)
        for i, (offset, scale) in enumerate(zip(*q.each(12), strict=True)):
            for value, got in zip(x[:, i], q.integers(x)[:, i], strict=True):
                with np.errstate(all="ignore"):
                    v = float(np.float32(np.float32(value - offset) * scale))
                want = 0 if np.isnan(v) else 127 if v > 127 else -128 if v < -128 else round(v)
                assert got == want, (value, offset, scale)


def test_an_affine_quantiser_is_what_its_definition_says() -> None:
    """One division rounded to float32, then exact arithmetic: halves away from zero."""
    rng, seen = np.random.default_rng(10), set[int]()
    for _ in range(60):
        q = random_affine(rng)
        x = hard_floats(rng, q, 20, 10).ravel()
        for value, got in zip(x, q.integers(x), strict=True):
            with np.errstate(all="ignore"):
                v = value / np.float32(q.scale)
            if np.isfinite(v):
                steps = Fraction(float(v))
                away = math.floor(abs(steps) + Fraction(1, 2))
                want = min(max((away if steps > 0 else -away) + q.zero, -128), 127)
            else:
                want = q.zero if np.isnan(v) else 127 if v > 0 else -128
            assert got == want, (value, q)
            seen.add(int(got))
    assert len(seen) > 200


@pytest.mark.parametrize("scale", [0.1, 2.0**-101, 2.0**101])
def test_a_scale_that_no_input_has_is_refused(scale: float) -> None:
    plan = next(c.plan for c, _ in accepted(0, 1))
    name = plan.inputs[0]
    load_plan(with_quantiser(plan, name, AffineQuantiser(0.5, 3)).canonical, "plan")
    with pytest.raises(SynapccError, match=f"{name} has (a|the) scale"):
        load_plan(with_quantiser(plan, name, AffineQuantiser(scale, 3)).canonical, "plan")
    both = replace(with_quantiser(plan, name, AffineQuantiser(0.5, 3)), quantisers={name: Quantiser.power(3)})
    with pytest.raises(SynapccError, match="a quantiser and a scale"):
        load_plan(replace(both, _by_name={}).canonical, "plan")


def test_the_shortest_table_is_kept() -> None:
    rng = np.random.default_rng(9)
    channels = rng.normal(0, 1, (2, 3)).astype(np.float32)
    first, last = np.repeat(channels, 20, axis=1), np.tile(channels, 20)
    assert (Quantiser.of(*first).inner, len(Quantiser.of(*first).scale)) == (20, 3)
    assert (Quantiser.of(*last).inner, len(Quantiser.of(*last).scale)) == (1, 3)
    assert Quantiser.of(np.zeros(8), np.full(8, 0.5)) == Quantiser.power(-1)
    for _ in range(200):
        size = int(rng.integers(1, 40))
        q = random_quantiser(rng, size)
        assert Quantiser.of(*q.each(size)) == q and misfit(q, size, LIMIT) == ""


@pytest.mark.parametrize(
    "bad",
    [
        Quantiser((0.0,), (float("nan"),)),
        Quantiser((0.1,), (1.0,)),  # no float32
        Quantiser((0.0, 0.0), (1.0,)),
        Quantiser((0.0,) * 5, (1.0,) * 5),
        Quantiser((0.0,), (2.0**120,)),
        Quantiser((0.0,), (1e-45,)),
        Quantiser((2.0**101,), (1.0,)),
        Quantiser((0.0,), (1.0,), 0),
    ],
)
def test_a_plan_with_a_quantiser_that_cannot_be_is_refused(bad: Quantiser) -> None:
    plan = next(c.plan for c, _ in accepted(0, 20) if c.plan[c.plan.inputs[0]].shape[0] % 5)
    name = plan.inputs[0]
    damaged = replace(plan, quantisers={name: bad}, _by_name={})
    with pytest.raises(SynapccError, match=f"quantiser of {name}"):
        load_plan(damaged.canonical, "plan")
    with pytest.raises(SynapccError, match="is no input"):
        load_plan(replace(damaged, quantisers={plan.logits: bad}, _by_name={}).canonical, "plan")


# ---- features of different size -----------------------------------------------------------------------


def columns(*sizes: float, at: float = 0.0, n: int = 300) -> np.ndarray:
    return np.random.default_rng(2).normal(at, 1, (n, len(sizes))) * np.array(sizes)


def test_features_that_drown_are_named() -> None:
    found = uneven("x", columns(1, 1000, 3, 0.5))
    assert found and found.features == (3, 0, 2) and 1000 < found.ratio < 4000
    assert "input x:" in str(found) and "features 3, 0, 2 keep" in str(found)
    offset = uneven("x", columns(1, 1) + 500)  # small beside their own offset: as bad
    assert offset and sorted(offset.features) == [0, 1]
    maps = columns(*([1] * 12 + [100] * 12)).reshape(300, 2, 3, 4)
    found = uneven("x", maps)
    assert found and (found.axis, found.features) == (0, (0,)) and "feature 0 of axis 1 keeps" in str(found)
    found = uneven("x", np.moveaxis(maps, 1, 3))
    assert found and (found.axis, found.features) == (2, (0,))
    many = uneven("x", columns(*([1] * 9), 1000))
    assert many and "and 3 more" in str(many)


def test_even_inputs_are_not_warned_of() -> None:
    rng = np.random.default_rng(3)
    image = np.zeros((300, 784))
    image[:, 200:500] = rng.random((300, 300))
    image[4, 17], image[9, 20] = 0.004, 0.9  # pixels at the border, hardly ever there
    for x in (
        columns(1, 16, 3, 0.9),
        image,
        np.ones((40, 5)),
        columns(1.0),
        columns(0, 1, 2),
        rng.random((1, 9)),
    ):
        assert uneven("x", x) is None
    outlier = columns(1, 1, 1)
    outlier[5, 1] = 500
    assert uneven("x", outlier) is None
