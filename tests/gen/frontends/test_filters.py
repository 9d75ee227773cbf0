"""What filters promise: the response that was designed, limits that are never met, means that are exact."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
from counts import counted
from fronts import HEAD, front_of, network, spec_of, stream

from synapcc.gen.compile import compile_model
from synapcc.gen.frontends import FrontTape, write
from synapcc.gen.frontends._norm import norms
from synapcc.gen.frontends.biquad import SHAPES, coefficients, response
from synapcc.gen.ir.plan import PUSH
from synapcc.gen.ir.program import Builder, Step
from synapcc.gen.ops import kernel
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.frontend import signals

ONE = 2**30
WINDOW = '[[frontend.block]]\nname = "input"\nkind = "window"\nlength = 80\n'


def block(kind: str, *lines: str, name: str = "f") -> str:
    return f'[[frontend.block]]\nname = "{name}"\nkind = "{kind}"\n' + "\n".join(lines) + "\n"


def front(*blocks: str, rate: int = 250, channels: int = 1, push: int = 5) -> str:
    return HEAD.format(rate=rate, channels=channels, push=push) + "".join(blocks) + WINDOW


def designed(shape: str, f: float, q: float, rate: float, at: float) -> complex:
    """The gain at a frequency of the analogue prototype under the bilinear transform, warped at f."""
    s = 1j * math.tan(math.pi * at / rate) / math.tan(math.pi * f / rate)
    below = s * s + s / q + 1
    return {"low": 1, "high": s * s, "band": s / q, "notch": s * s + 1}[shape] / below


@counted(60, 3000)
def test_a_biquad_has_the_response_that_was_designed(count: int) -> None:
    """Coefficients have 30 bits: the gain is off by (6 + 2 |H|) / |a(z)| of the last one at most."""
    rng = np.random.default_rng(count)
    for _ in range(count):
        rate = float(rng.uniform(100, 1000))
        shape, f, q = str(rng.choice(SHAPES)), rate * 2.0 ** -rng.uniform(1.1, 9), float(rng.uniform(0.3, 20))
        numbers = coefficients(shape, f, q, rate)
        assert all(-(2**31) <= n < 2**31 for n in numbers)
        for at in rate * np.array([1e-4, 0.01, 0.1, 0.3, 0.49, f / rate]):
            z = cmath.exp(-2j * math.pi * at / rate)
            poles = abs(1 + numbers[3] / ONE * z + numbers[4] / ONE * z * z)
            wanted = designed(shape, f, q, rate, at)
            error = abs(response(numbers, at, rate) - wanted)
            assert error <= (6 + 2 * abs(wanted)) / ONE / poles, (shape, f, q, rate, at)
        ends = {"low": (1, 0), "high": (0, 1), "band": (0, 0), "notch": (1, 1)}[shape]
        assert abs(response(numbers, 0, rate)) == ends[0]  # to the last bit
        assert abs(abs(response(numbers, rate / 2, rate)) - ends[1]) < 1e-6


@counted(40, 1000)
def test_a_norm_is_a_bound_that_is_nearly_reached(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(count):
        rate, shape = 500.0, str(rng.choice(SHAPES))
        numbers = coefficients(shape, rate * 2.0 ** -rng.uniform(1.1, 7), float(rng.uniform(0.3, 8)), rate)
        b, a = [n / ONE for n in numbers[:3]], [n / ONE for n in numbers[3:]]
        h, h1, h2 = [], 0.0, 0.0
        for n in range(20_000):
            v = (b[n] if n < 3 else 0.0) - a[0] * h1 - a[1] * h2
            h1, h2 = v, h1
            h.append(v)
        gain, noise = norms(numbers[:3], numbers[3:])
        assert sum(map(abs, h)) <= gain <= sum(map(abs, h)) * (1 + 1e-4) and noise >= 1


@pytest.mark.parametrize("a", [(0, ONE), (2 * ONE, ONE - 1), (-2 * ONE, ONE), (0, -ONE), (ONE, -1)])
def test_a_filter_that_is_not_stable_has_no_norm(a: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not stable"):
        norms((ONE, 0, 0), a)


def worst(numbers: tuple[int, int, int, int, int], n: int) -> np.ndarray:
    """The samples that drive a filter to the highest value that it can have: rails, by the signs of its
    response turned round."""
    h, h1, h2 = [], 0.0, 0.0
    for k in range(n):
        v = ((numbers[k] if k < 3 else 0) - numbers[3] * h1 - numbers[4] * h2) / ONE
        h1, h2 = v, h1
        h.append(v)
    return np.where(np.array(h[::-1]) > 0, 2**15 - 1, -(2**15)).astype(np.int16)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("f", "q"), [(0.5, 0.7071), (50.0, 8.0), (12.0, 0.5), (3.0, 20.0)])
def test_no_input_drives_a_biquad_to_its_limits(shape: str, f: float, q: float) -> None:
    """The worst samples that there are come within a few steps of the limits, and are never held there."""
    text = front(block("biquad", f'shape = "{shape}"', f"frequency = {f}", f"q = {q}"))
    x = worst(coefficients(shape, f, q, 250.0), 6000)
    y = signals(front_of(text), x, "numpy")[1]["input"]
    b = Builder()
    with b.program(PUSH, ""):
        write(FrontTape(b, front_of(text)))
    held = b.values["front_f"].format
    assert held is not None
    top = int(np.abs(y.astype(np.int64)).max())
    assert top < held.hi and top > held.hi * 0.99 - 2**12, (top, held.hi)


@counted(40, 2000)
def test_filters_are_those_in_real_numbers(count: int) -> None:
    """Integers against the same steps in real numbers: apart by what rounding adds, as it is bounded."""
    rng = np.random.default_rng(count)
    for _ in range(count):
        f, q = round(250 * 2.0 ** -rng.uniform(1.2, 8), 3), round(float(rng.uniform(0.4, 5)), 3)
        made = [
            (block("biquad", f'shape = "{rng.choice(SHAPES)}"', f"frequency = {f}", f"q = {q}"), None),
            (block("one_pole", f'shape = "{rng.choice(["low", "high"])}"', f"frequency = {f}"), 2.0),
            (block("moving_average", f"length = {rng.uniform(8, 100):.3f}"), 1.0),
            (block("median", "size = 5") + block("difference", name="g"), 0.0),
        ][int(rng.integers(4))]
        text = front(made[0], channels=2)
        x = stream(rng, 400, 2)
        got = signals(front_of(text), x, "numpy")[1]["input"]
        want, steps = real(text, x)
        allowed = made[1]
        if allowed is None:
            a = next(s.attrs for s in steps if s.kernel == "filter.biquad")
            numbers = [round(a[n] * ONE) for n in ("b0", "b1", "b2", "a1", "a2")]
            allowed = norms((numbers[0], numbers[1], numbers[2]), (numbers[3], numbers[4]))[1] + 1
        assert np.abs(got - want).max() <= allowed + 1e-3, text


def real(text: str, x: np.ndarray) -> tuple[np.ndarray, list[Step]]:
    """The last signal before the window in real numbers, in units of a signal; and the steps."""
    from dataclasses import replace

    b = Builder()
    with b.program(PUSH, ""):
        tape = FrontTape(b, replace(front_of(text), push=len(x)))
        write(tape)
    steps = [i for i in b.programs[PUSH].items if isinstance(i, Step)]
    values = {
        n: np.zeros((1, v.size), np.uint32 if v.role == "counter" else np.float64)
        for n, v in b.values.items()
    }
    values[tape.raw][...] = x.reshape(1, -1)
    for s in steps:
        kernel(s.kernel).real({role: values[n] for role, n in s.args.items()}, s.attrs)
    return values[tape.feeds[0].x.name].reshape(len(x), -1) * 256, steps


def test_a_constant_ends_in_a_constant() -> None:
    """What is rounded off is kept, so a low pass ends at the very input, and a high pass at nothing."""
    x = np.full(8000, -12345, np.int16)
    for kind, shape, end in (
        ("biquad", "low", -12345 * 256),
        ("biquad", "high", 0),
        ("one_pole", "low", -12345 * 256),
        ("one_pole", "high", 0),
    ):
        text = front(block(kind, f'shape = "{shape}"', "frequency = 1.5"))
        last = signals(front_of(text), x, "numpy")[1]["input"][-1, 0]
        assert abs(int(last) - end) <= 1, (kind, shape, last)


def test_reset_by_init_and_a_state_from_elsewhere() -> None:
    """A state at any of its limits is legal: sums are proven on it, and what filters hold stays within."""
    text = front(
        block("biquad", 'shape = "high"', "frequency = 0.5"), block("moving_average", "length = 40", name="g")
    )
    plan = compile_model(
        network((20,)), spec_of(text), {"input": np.random.default_rng(0).normal(0, 1, (8, 20))}
    ).plan
    machine, rng = Emulator(plan), np.random.default_rng(1)
    for _ in range(30):
        for t in plan.space("state"):
            machine[t.name][...] = rng.choice([t.lo, t.hi, 0], machine[t.name].shape)
        machine.put_state(machine.state[0].tobytes())
        machine.run(
            PUSH, inputs={"front_samples": rng.choice([-(2**15), 2**15 - 1], (1, 5)).astype(np.int16)}
        )
        for t in plan.space("state"):
            assert t.lo <= machine[t.name].min() and machine[t.name].max() <= t.hi, t.name
