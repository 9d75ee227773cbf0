"""The compiled engine against numpy, byte for byte over all memory: kernels alone, and whole lives."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from golden_nets import SPECS, golden_plan
from one_step import batch_plan, cases, emulator, first_difference
from play import emulate
from primitives import draw, meaning
from random_nets import accepted, life

from synapcc.gen.compile import Compiled
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Step
from synapcc.gen.numeric import PRIMITIVES
from synapcc.gen.ops import Case, _dense_loops, _loops, kernels
from synapcc.host import engine, examples
from synapcc.host.bench import roofline
from synapcc.host.bench.emulator import bench_emulator, text
from synapcc.host.link.checksum import SUMS, Checksum, sums
from synapcc.host.run import engines
from synapcc.host.run.emulator import Emulator

numba: Any = pytest.importorskip("numba", reason="numba is not installed: pip install 'synapcc[fast]'")

CASES = 200
VECTORS = 4000
LACKING: set[str] = set()  # kernels without a loop form: none
LOOPS = sorted(set(kernels()) - LACKING)
DEAR = (
    "conv2d.forward",
    "conv2d.transposed",
    "conv2d.update",
)  # numba takes as long for each as for ten others
FORMS = 1  # compiled forms of each loop that are held to numpy; all of them where it may take minutes


def _some(name: str, forms: int, each: int, rng: np.random.Generator) -> list[tuple[str, Case]]:
    """Random cases of a kernel that are so many compiled forms of each of its loops."""
    from synapcc.host.engine.tape import source

    found: dict[str, set[str]] = {}
    out = []
    for case in cases(rng, each, [name]):
        plan = batch_plan("k", [case], rng)[0]
        assert not engine.missing(plan), f"{name} has no loop form for {case[1].attrs}"
        (step,) = plan.programs["infer"].items
        assert isinstance(step, Step)
        text = source(plan, step)[0].text
        of_loop = found.setdefault(text[text.index(".loop") : text.index(".body)")], set())
        if text in of_loop or len(of_loop) < forms:
            of_loop.add(text)
            out.append(case)
    loop, loops = kernels()[name].loop, 0
    while loop:
        loop, loops = loop.otherwise, loops + 1
    assert len(found) == loops, f"{name}: {loops} loops, cases of {len(found)}"
    return out


def test_every_kernel_has_a_loop() -> None:
    assert {name for name, k in kernels().items() if not vars(type(k)).get("loop")} == LACKING


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.long] * (n in DEAR)) for n in LOOPS])
def test_a_loop_says_what_the_array_form_says(name: str) -> None:
    _hold(name, FORMS, CASES, 3)


@pytest.mark.long
@pytest.mark.parametrize("devices", (1, 7))
@pytest.mark.parametrize("name", LOOPS)
def test_every_form_of_a_loop(name: str, devices: int) -> None:
    _hold(name, 1000, CASES, devices)


def _hold(name: str, forms: int, each: int, devices: int) -> None:
    rng = np.random.default_rng(len(name))
    chosen = _some(name, forms, each, rng)
    plan, placed = batch_plan("k", chosen, rng)
    want, got = (emulator(plan, devices, engine=chosen) for chosen in ("numpy", "compiled"))
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
    for p, rows in draw(PRIMITIVES.values(), VECTORS):
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


def _small(drawn: Iterable[tuple[Compiled, int]], count: int) -> list[tuple[Compiled, int]]:
    """Those with the fewest steps: numba compiles each for a second or more."""
    return sorted(drawn, key=lambda d: sum(1 for _ in d[0].plan.ops()))[:count]


@pytest.mark.parametrize("count", (1, pytest.param(60, marks=pytest.mark.long)))
def test_any_network_lives_the_same_life(count: int) -> None:
    """Networks of every layer, under any rule: no kernel of theirs sends a Plan back to numpy."""
    for compiled, seed in _small(accepted(95_000, max(count, 12)), count):
        plan = compiled.plan
        assert not engine.missing(plan), f"seed {seed}"
        machines = [Emulator(plan, engine=chosen) for chosen in ("numpy", "compiled")]
        for deed in life(plan, seed):
            said = [emulate(machine, deed) for machine in machines]
            if said[0] and said[1]:
                assert np.array_equal(said[0].scores, said[1].scores), f"seed {seed}, {deed.what}"
            _same(*machines)


@pytest.mark.parametrize("devices", (1, 3, 7))
def test_threads_share_devices_unevenly(devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever number of cores: every device runs once, and those that stand aside do not."""
    monkeypatch.setattr(engine, "cores", lambda: 4)
    plan = golden_plan("pair")
    want, got = (Emulator(plan, devices, engine=chosen) for chosen in ("numpy", "compiled"))
    inputs, labels = _samples(plan, np.random.default_rng(devices), 5, devices)
    active = np.random.default_rng(3).integers(0, 2, (5, devices)).astype(bool)
    for machine in (want, got):
        machine.learn_many(inputs, labels, active)
        machine.run("rehearse") if "rehearse" in plan.entries else None
    _same(want, got)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_a_life_is_the_same(name: str) -> None:
    """Every entry program, some devices at a time; loops, flags, decay, replay and stores among them."""
    plan = golden_plan(name)
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


@pytest.mark.parametrize("name", sorted(SPECS))
@pytest.mark.parametrize("chosen", ("numpy", "compiled"))
def test_samples_are_judged_before_they_are_learned(name: str, chosen: str) -> None:
    plan = golden_plan(name)
    single, many = (Emulator(plan, 3, engine=e) for e in ("numpy", chosen))
    if plan.learning != "learn" or not plan.shared:
        with pytest.raises(SynapccError, match=r"arena of its own|no label"):
            many.judge_many({k: np.zeros((2, 3, plan[k].shape[0]), np.int8) for k in plan.inputs}, [0, 0])
        return
    inputs, labels = _samples(plan, np.random.default_rng(6), 7, 3)
    for part in (slice(0, 4), slice(4, 7)):
        said = many.judge_many({k: x[part] for k, x in inputs.items()}, labels[part])
        for i in range(part.start, part.stop):
            want = single.infer({k: x[i] for k, x in inputs.items()})
            single.learn({k: x[i] for k, x in inputs.items()}, labels[i])
            for got, wanted in zip(said, want, strict=True):
                assert got.dtype == wanted.dtype and np.array_equal(got[i - part.start], wanted), name
    _same(single, many)


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


def test_auto_counts_what_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long run is not begun in numpy because nothing ran before it."""
    plan = golden_plan("pair")
    monkeypatch.setattr(engines, "PAYS", 20)
    inputs, labels = _samples(plan, np.random.default_rng(5), 6, 4)
    for count, compiled in ((5, False), (6, True)):
        want, got = Emulator(plan, 4, engine="numpy"), Emulator(plan, 4)
        for machine in (want, got):
            machine.learn_many({k: x[:count] for k, x in inputs.items()}, labels[:count])
        assert ("_engine" in vars(got._engines)) == compiled
        _same(want, got)


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = golden_plan("pair")
    with pytest.raises(SynapccError, match="take auto, numpy, compiled"):
        Emulator(plan, engine="gpu")
    shared = Emulator(plan, 3, read_only=True, engine="compiled")
    with pytest.raises(SynapccError, match="learn changes the state"):
        shared.run("learn")
    with monkeypatch.context() as patch:
        patch.delattr(type(kernels()["dense.forward"]), "loop")
        with pytest.raises(SynapccError, match=r"kernel dense\.forward has no loop form for it"):
            Emulator(plan, engine="compiled")
    monkeypatch.setattr(engine, "unusable", lambda: ("numba is not installed", engine.HINT))
    with pytest.raises(SynapccError, match="numba is not installed"):
        Emulator(plan, engine="compiled")
    assert Emulator(plan).engine == "numpy"


def test_bench_holds_states_together() -> None:
    report = bench_emulator([("a pair", golden_plan("pair"), (1, 3))], 30)
    assert [(r["devices"], r["differing"]) for r in report["rows"]] == [(1, 0), (3, 0)]
    assert all(r[name] > 0 for r in report["rows"] for name in ("numpy", "compiled", "c"))
    assert "a pair" in text(report) and report["versions"]["numba"] == numba.__version__


def test_a_roofline_is_what_steps_need_of_measured_peaks() -> None:
    plan = golden_plan("pair")
    need, longer = roofline.work(plan, 1), roofline.work(plan, 100)
    weights = sum(math.prod(plan[s.args["w"]].shape) for _, _, s in plan.ops() if s.kernel == "dense.forward")
    assert need["macs"] == longer["macs"] > weights > 0
    given = sum(plan[n].nbytes for n in plan.inputs)
    assert (
        need["bytes"] - given == 2 * (plan.state_bytes + plan.arena_bytes) == 100 * (longer["bytes"] - given)
    )
    peak = {"macs": 10.0 * need["macs"], "bytes": 4.0 * need["bytes"]}
    assert roofline.shares({"compiled": 1.0, **need}, peak) == ["10 %", "25 %"]
    assert roofline.shares({"compiled": 0.0, **need}, peak) == ["-", "-"]
    found = roofline.peaks(engine.cores())
    assert min(found["macs"], found["bytes"]) > 1e8 and "multiply-accumulates" in roofline.told(found)


def test_windows_are_what_their_text_says() -> None:
    """Blocks of filters and counts of positions of every tile, and what is left of them."""
    from synapcc.host.engine import jit

    jit._prepare()
    space: dict[str, Any] = {"windows": _loops.windows, "windows_onto": _loops.windows_onto}
    exec("def on(*a):\n    windows(*a)\ndef onto(*a):\n    windows_onto(*a)", space)
    compiled = [numba.njit(error_model="numpy")(space[name]) for name in ("on", "onto")]
    rng = np.random.default_rng(8)
    for blocks, count in itertools.product((1, 2, 3, 7, 11), (1, 3, 4, 8, 13)):
        n, runs, pairs, every = 8 * blocks, int(rng.integers(1, 4)), int(rng.integers(1, 6)), 6
        w = rng.integers(-(2**15), 2**15, (runs, pairs, 2 * n + 16 * int(rng.integers(2)))).astype(np.int16)
        x = rng.integers(-(2**15), 2**15, 300).astype(np.int16)
        start = rng.integers(-(2**30), 2**30, n).astype(np.int32)
        offsets, out = rng.integers(0, 90, runs), rng.integers(-(2**30), 2**30, 20 * n + 8).astype(np.int32)
        with np.errstate(over="ignore"):
            for text_of, run, apart, begin in (
                (_loops.windows, compiled[0], n + 1, start),
                (_loops.windows_onto, compiled[1], 8, n),
            ):
                want, got = out.copy(), out.copy()
                given = (3, apart, begin, w, x, 5, 2, offsets, every, count)
                text_of(want, *given)
                run(got, *given)
                assert np.array_equal(want, got), (text_of.__name__, blocks, count)


def test_rows_are_what_their_text_says() -> None:
    """Whole registers and what is left of them, rows together and alone, changes that overflow 16 bits."""
    from synapcc.host.engine import jit

    jit._prepare()
    for text_of in _loops.HELPERS:
        jit._helper(text_of)
    space: dict[str, Any] = {"dots": _dense_loops.dots, "subtract": _dense_loops.subtract_products}
    exec("def sums(*a):\n    dots(*a)\ndef less(*a):\n    return subtract(*a)", space)
    sums_of, less = (numba.njit(error_model="numpy")(space[name]) for name in ("sums", "less"))
    rng, met, free = np.random.default_rng(9), 0, 0
    for n, rows in itertools.product((1, 2, 31, 32, 33, 64, 95), (1, 4, 7)):
        whole, more = _loops.blocks(n), int(rng.integers(3))
        seen = np.zeros(whole, np.int16)
        seen[:n] = rng.integers(-255, 256, n)
        start, shift = rng.integers(-(2**30), 2**30, rows).astype(np.int32), int(rng.integers(1, 16))
        mul, add = rng.integers(0, 2**32, (2, whole // 2 + 1), dtype=np.uint32)
        with np.errstate(over="ignore"):
            for kind, top in ((np.int8, 2**7), (np.int16, 2**15)):
                w = rng.integers(-top, top, (rows, n + more)).astype(kind)
                want, got = np.zeros(rows, np.int32), np.zeros(rows, np.int32)
                _dense_loops.dots(want, w, seen, start, n)
                sums_of(got, w, seen, start, n)
                assert np.array_equal(want, got), (kind, n, rows)
            low, high = ((-(2**15), 2**15 - 1), (-16384, 16383), (-1, 1))[int(rng.integers(3))]
            factor, key = int(rng.integers(-(2**15), 2**15)) >> (16 - shift), np.uint32(rng.integers(2**32))
            assert _dense_loops.fits(w, factor, shift, low, high)
            one, other, i = w.copy(), w.copy(), rows - 1
            given = (i, n, factor, seen, shift, key, mul, add, low, high)
            said = _dense_loops.subtract_products(one, *given)
            assert said == less(other, *given) and np.array_equal(one, other), (n, shift, low)
            met, free = met + int(said), free + n - int(said)
    assert met > 100 and free > 100


@pytest.mark.long
def test_the_networks_of_the_examples() -> None:
    """Convolutions frozen and learned, perceptrons: states equal to numpy's and the emitted C's."""
    report = bench_emulator(examples.networks(), 300)
    assert len(report["rows"]) == 6 and not any(r["differing"] or r["reason"] for r in report["rows"])
