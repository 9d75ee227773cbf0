"""The compiled engine against numpy, byte for byte over all memory: kernels alone, and whole lives."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from golden_nets import SPECS, golden_plan
from one_step import batch_plan, cases, emulator, first_difference
from primitives import draw, meaning

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.numeric import PRIMITIVES
from synapcc.gen.ops import kernels
from synapcc.host import engine, examples
from synapcc.host.bench.emulator import bench_emulator, text
from synapcc.host.link.checksum import SUMS, Checksum, sums
from synapcc.host.run import engines
from synapcc.host.run.emulator import Emulator

numba: Any = pytest.importorskip("numba", reason="numba is not installed: pip install 'synapcc[fast]'")

CASES = 12
VECTORS = 4000
LOOPS = sorted(name for name, k in kernels().items() if vars(type(k)).get("loop"))
ARRAYS = {"spread_high", "spread_low", "even_lead", "shifted_top", "root_reciprocal", "sigmoid_curve"}
ARRAYS |= {"scale_half_up", "scale_half_up_wide", "scale_fine"}  # of kernels without loop forms
HELD = [p for name, p in PRIMITIVES.items() if name not in ARRAYS and p.py.__module__.endswith("numeric")]


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_says_what_the_array_form_says(name: str) -> None:
    rng = np.random.default_rng(len(name))
    drawn = cases(rng, CASES, [name])
    known = [case for case in drawn if not engine.missing(batch_plan("k", [case], rng)[0])]
    assert len(known) > CASES // 3
    plan, placed = batch_plan("k", known, rng)
    want, got = (emulator(plan, 3, engine=chosen) for chosen in ("numpy", "compiled"))
    for machine in (want, got):
        machine.run("infer")
    for space in ("state", "arena"):
        a, b = (getattr(m, space) for m in (want, got))
        told = a.tobytes() == b.tobytes() or first_difference(
            plan, placed, space, a[0].tobytes(), b[0].tobytes()
        )
        assert told is True, told


def test_primitives_say_the_same_as_arrays_and_as_compiled_numbers() -> None:
    """The vectors that hold numpy and C together, one number at a time."""
    from synapcc.host.engine import jit

    jit._prepare()
    for p, rows in draw(HELD, VECTORS):
        kinds = [f"np.{'u' * (c[0] == 'u')}int32(rows[k, {i}])" for i, (c, *_) in enumerate(p.args)]
        space: dict[str, Any] = {"np": np, "py": p.py}
        exec(
            f"def run(rows, out):\n    for k in range(len(rows)):\n        out[k] = py({', '.join(kinds)})",
            space,
        )
        out = np.zeros(len(rows), np.int64)
        numba.njit(error_model="numpy")(space["run"])(rows, out)
        differ = np.flatnonzero((out & 0xFFFFFFFF).astype(np.uint32) != meaning(p, rows))
        assert not len(differ), f"{p.name}{tuple(rows[differ[0]].tolist())}: {out[differ[0]]}"


def test_the_checksum_of_compiled_code_is_that_of_numpy() -> None:
    """States of all lengths: the text that the engine compiles, and the array form."""
    from synapcc.host.engine import jit

    jit._prepare()
    compiled, rng = numba.njit(error_model="numpy")(sums), np.random.default_rng(8)
    for size in (*range(24), 4095, 4096, 17308, 70001):
        for low, high in ((0, 256), (255, 256), (0, 2)):
            state = rng.integers(low, high, size).astype(np.uint8)
            words, out = state[: size // 4 * 4].view(np.uint32), np.zeros(SUMS, np.uint64)
            compiled(state, words, out)
            assert out.astype("<u8").tobytes() == Checksum(size)(state), size


def _samples(plan: Plan, rng: np.random.Generator, n: int, devices: int) -> tuple[dict[str, Any], Any]:
    sizes = {name: plan[name].shape[0] for name in plan.inputs}
    inputs = {k: rng.integers(-128, 128, (n, devices, s)).astype(np.int8) for k, s in sizes.items()}
    return inputs, rng.integers(0, plan.classes, (n, devices))


def _same(want: Emulator, got: Emulator) -> None:
    for t in want.plan.tensors:
        assert np.array_equal(want[t.name], got[t.name]), f"{t.name} differs"
    for block in ("state", "arena", "infer_arena"):
        assert getattr(want, block).tobytes() == getattr(got, block).tobytes(), block


@pytest.mark.parametrize("name", sorted(SPECS))
def test_a_life_is_the_same(name: str) -> None:
    """Every entry program, some devices at a time; loops, flags, decay, replay and stores among them."""
    plan = golden_plan(name)
    if missing := engine.missing(plan):
        with pytest.raises(SynapccError, match=f"kernel {missing[0]} has no loop form for it"):
            Emulator(plan, engine="compiled")
        return
    rng = np.random.default_rng(7)
    want, got = (Emulator(plan, 5, engine=chosen) for chosen in ("numpy", "compiled"))
    assert (want.engine, got.engine) == ("numpy", "compiled")
    for _ in range(12):
        inputs, labels = _samples(plan, rng, 3, 5)
        active = rng.integers(0, 2, (3, 5)).astype(bool)
        said = np.full((2, 3, 5, SUMS), 7, np.uint64)
        for machine, checksums in zip((want, got), said, strict=True):
            machine.learn_many(inputs, labels, active, checksums)
            for device in np.flatnonzero(active[2]):
                proof = Checksum(plan.state_bytes)(machine.state[device])
                assert checksums[2, device].astype("<u8").tobytes() == proof
            assert np.all((checksums == 7).all(axis=2) == ~active)
            machine.learn({k: x[0] for k, x in inputs.items()}, labels[0], active[1])
            machine.infer({k: x[1] for k, x in inputs.items()}, active[2])
            for program in set(plan.entries) - {"infer", "learn"}:
                machine.load({k: x[2] for k, x in inputs.items()}, labels[2])
                machine.run(program)
        assert np.array_equal(*said)
        _same(want, got)


def test_many_steps_are_steps_one_by_one() -> None:
    plan = golden_plan("pair")
    inputs, labels = _samples(plan, np.random.default_rng(3), 9, 4)
    single, many = Emulator(plan, 4, engine="numpy"), Emulator(plan, 4, engine="numpy")
    for i in range(9):
        single.learn({k: x[i] for k, x in inputs.items()}, labels[i])
    many.learn_many(inputs, labels)
    _same(single, many)
    name = plan.inputs[0]
    for given, taught, told in (
        ({name: inputs[name][:, :2]}, labels, "4, ...], n samples a device"),
        (inputs, labels[:, :3], "label has shape"),
        (inputs, labels + plan.classes, "class"),
    ):
        before = many.state.copy()
        with pytest.raises(SynapccError, match=told.replace("[", "\\[")):
            many.learn_many(given, taught)
        assert np.array_equal(before, many.state)


def test_auto_changes_its_engine_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = golden_plan("pair")
    monkeypatch.setattr(engines, "PAYS", 20)
    inputs, labels = _samples(plan, np.random.default_rng(4), 12, 4)
    want, got = Emulator(plan, 4, engine="numpy"), Emulator(plan, 4)
    used = []
    for i in range(12):
        used.append(got.engine)
        for machine in (want, got):
            machine.learn({k: x[i] for k, x in inputs.items()}, labels[i])
    assert used == ["numpy"] * 5 + ["compiled"] * 7
    _same(want, got)
    copied = pickle.loads(pickle.dumps(got))
    for machine in (want, copied):
        machine.learn({k: x[0] for k, x in inputs.items()}, labels[0])
    _same(want, copied)


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = golden_plan("pair")
    with pytest.raises(SynapccError, match="take auto, numpy, compiled"):
        Emulator(plan, engine="gpu")
    shared = Emulator(plan, 3, read_only=True, engine="compiled")
    with pytest.raises(SynapccError, match="learn changes the state"):
        shared.run("learn")
    monkeypatch.setattr(engine, "installed", lambda: False)
    with pytest.raises(SynapccError, match="numba is not installed"):
        Emulator(plan, engine="compiled")
    assert Emulator(plan).engine == "numpy"


def test_bench_holds_states_together() -> None:
    report = bench_emulator([("a pair", golden_plan("pair"), (1, 3))], 30)
    assert [(r["devices"], r["differing"]) for r in report["rows"]] == [(1, 0), (3, 0)]
    assert all(r[name] > 0 for r in report["rows"] for name in ("numpy", "compiled", "c"))
    assert "a pair" in text(report) and report["versions"]["numba"] == numba.__version__


@pytest.mark.long
def test_the_networks_of_the_examples() -> None:
    """Convolutions frozen and learned, perceptrons: states equal to numpy's and the emitted C's."""
    report = bench_emulator(examples.networks(), 300)
    assert len(report["rows"]) == 6 and not any(r["differing"] or r["reason"] for r in report["rows"])
