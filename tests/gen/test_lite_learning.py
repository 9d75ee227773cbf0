"""Learning on top of int8 .tflite files: what stays the file's, what does not, and that C does the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ctools import UNDEFINED, ChipBatch, HostBatch
from lite import Author, compiled
from lite_nets import accepted_lite, lite_model
from numpy.typing import NDArray
from play import play

from synapcc.gen.compile import Compiled
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.program import Step
from synapcc.gen.ops import layer
from synapcc.gen.spec import Accumulate, Feedback, Loss, RuleSpec
from synapcc.gen.spec.own import Update
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.run.emulator import Emulator

SETTINGS = {
    "O2": ("ref", "-O2"),
    "sanitized": ("ref", "-O0", *UNDEFINED),
    "dsp": ("dsp", "-O0", *UNDEFINED),
}
SAMPLES = 6


@pytest.mark.parametrize("setting", [pytest.param("O2", marks=pytest.mark.long), "sanitized", "dsp"])
def test_random_files_learn_alike_on_this_computer(setting: str, tmp_path: Path) -> None:
    models = list(accepted_lite(100 * list(SETTINGS).index(setting), 5, tmp_path))
    kernels, *flags = SETTINGS[setting]
    batch = HostBatch([c.plan for c, _ in models], tmp_path / "c", *flags, kernels=kernels)
    try:
        assert sum(play(batch, i, seed) for i, (_, seed) in enumerate(models)) >= 8 * len(models)
    finally:
        batch.close()


@pytest.mark.parametrize("kernels", [pytest.param("ref", marks=pytest.mark.long), "dsp"])
def test_random_files_learn_alike_on_the_virtual_m4(kernels: str, tmp_path: Path) -> None:
    models = list(accepted_lite(1000, 5, tmp_path))
    batch = ChipBatch([c.plan for c, _ in models], tmp_path / "c", "gcc", kernels)
    assert sum(play(batch, i, seed) for i, (_, seed) in enumerate(models)) >= 8 * len(models)


@pytest.mark.long
@pytest.mark.parametrize("part", range(15))
def test_many_random_files(part: int, tmp_path: Path) -> None:
    models = list(accepted_lite(10_000 + 100 * part, 20, tmp_path))
    kernels, *flags = list(SETTINGS.values())[part % len(SETTINGS)]
    batch = HostBatch([c.plan for c, _ in models], tmp_path / "c", *flags, kernels=kernels)
    try:
        assert sum(play(batch, i, seed) for i, (_, seed) in enumerate(models)) >= 8 * len(models)
    finally:
        batch.close()


def layers_of(c: Compiled) -> list[str]:
    """The layers with weights, in order."""
    return [n.name for n in c.graph.nodes if layer(n.op).weighted]


def litert(data: bytes, x: NDArray[np.int8], tensors: list[int]) -> list[NDArray[np.int8]]:
    """What LiteRT's reference kernels leave in the tensors, [n, size] each."""
    machine = Interpreter(
        model_content=data,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
        num_threads=1,
    )
    machine.allocate_tensors()
    given, rows = machine.get_input_details()[0], []
    for sample in x:
        machine.set_tensor(given["index"], sample.reshape(given["shape"]))
        machine.invoke()
        rows.append([machine.get_tensor(t).ravel().copy() for t in tensors])
    return [np.array([row[i] for row in rows]) for i in range(len(tensors))]


def emulated(c: Compiled, x: NDArray[np.int8]) -> tuple[dict[str, NDArray[np.generic]], NDArray[np.int16]]:
    """What each layer with weights says, behind its fused activation, and the scores."""
    machine, seen = Emulator(c.plan, len(x), read_only=True), {}
    names = layers_of(c)

    def after(program: str, position: int) -> None:
        step = c.plan.programs[program].items[position]
        if program == "forward" and isinstance(step, Step):
            before = c.graph.producer(next(n for n in c.graph.nodes if n.name == step.node).inputs[0])
            if step.node in names:
                seen[step.node] = machine[step.args["y"]].copy()
            elif step.kernel == "clip.forward" and before is not None and before.name in names:
                seen[before.name] = machine[step.args["y"]].copy()

    machine.load({c.plan.inputs[0]: x})
    machine.run("infer", after=after)
    return seen, machine[c.plan.logits].copy()


def test_what_stands_before_the_first_layer_that_learns_is_litert_s(tmp_path: Path) -> None:
    compared = bytes_ = 0
    for seed in range(2000, 2080):
        try:
            c, data, net = lite_model(seed, tmp_path, rule="last", feedback=Feedback(), options=())
        except CompileError:
            continue
        x = np.random.default_rng(seed).integers(-128, 128, (SAMPLES, c.plan[c.plan.inputs[0]].count))
        got, _ = emulated(c, x.astype(np.int8))
        frozen = layers_of(c)[: layers_of(c).index(c.learned[0])]
        for name, want in zip(
            frozen, litert(data, x.astype(np.int8), net.layers[: len(frozen)]), strict=True
        ):
            assert np.array_equal(got[name], want), f"seed {seed}, {name}"
            compared, bytes_ = compared + 1, bytes_ + len(np.unique(want))
    assert compared >= 20 and bytes_ > 200


def test_before_it_learns_it_answers_as_the_file(tmp_path: Path) -> None:
    """Where any of its layers learn with 16-bit weights: at least 99 % of the answers. Where the file
    scores several classes highest, each of them is its answer."""
    same = total = moved = 0
    for seed in range(3000, 3100):  # until there are enough, whatever share of them is refused
        if total >= 40 * 40:
            break
        try:
            c, data, net = lite_model(seed, tmp_path, weights="int16")
        except CompileError:
            continue
        if c.spec.rule == "prototype":  # whose rows are not the file's
            continue
        x = np.random.default_rng(seed).integers(-128, 128, (40, c.plan[c.plan.inputs[0]].count))
        want = litert(data, x.astype(np.int8), [net.layers[-1]])[0]
        _, scores = emulated(c, x.astype(np.int8))
        top = want.max(axis=1)
        same += int(np.sum(want[np.arange(40), scores.argmax(axis=1)] == top))
        total, moved = total + 40, moved + len(np.unique(want.argmax(axis=1)))
    assert total >= 40 * 40 and moved >= 2 * total / 40
    assert same >= 0.99 * total, f"{same} of {total}"


def test_a_step_in_integers_is_that_in_real_numbers(tmp_path: Path) -> None:
    """Of the lowest layer, taught through the layers above it, which are the file's: what many samples change
    of its weights and biases, by direction and by length. Single ones stray: masks are those of integers."""
    fixed: dict[str, object] = {"rule": "bp", "weights": "int16", "rounding": "stochastic", "headroom": 2.0}
    fixed |= {"rates": (), "rate": 9, "decay": None, "store": None, "replay": None, "untied": ()}
    fixed |= {"feedback": Feedback(), "options": (), "loss": Loss()}
    cosines, lengths = [], []
    for seed in range(4000, 4060):
        try:
            lowest = layers_of(lite_model(seed, tmp_path, **fixed, layers="all")[0])[0]
            c, _, _ = lite_model(seed, tmp_path, **fixed, layers=(lowest,))
        except CompileError:
            continue
        if len(layers_of(c)) < 2:
            continue
        real, integers, way = steps(c)
        for name in (f"{lowest}_weight", f"{lowest}_bias"):
            a, b = real[name], integers[name]
            # Else integers hardly say where it points: of less than a tenth, samples cancel each other.
            least = max(16 * c.plan[name].meaning.step, 0.1 * np.sqrt(np.mean(way[name] ** 2)))
            if np.sqrt(np.mean(a**2)) >= least:
                cosines.append(np.sum(a * b) / np.sqrt(np.sum(a**2) * np.sum(b**2)))
                lengths.append(np.sqrt(np.sum(b**2) / np.sum(a**2)))
    assert len(cosines) >= 40
    assert min(cosines) > 0.8 and np.median(cosines) > 0.99, sorted(cosines)[:5]
    assert 0.97 < np.median(lengths) < 1.03 and np.all(
        np.abs(np.log2(np.quantile(lengths, [0.1, 0.9]))) < 0.3
    )


def steps(c: Compiled) -> tuple[dict[str, NDArray[np.float64]], ...]:
    """How the state changes while all calibration samples are learned: in real numbers, and in integers; and
    the way that real numbers take, sample by sample."""
    real, machine = RealMachine(c.abstract.values, c.abstract.programs, 1), Emulator(c.plan)
    (name,) = c.plan.inputs
    learned = [t.name for t in c.plan.space("state") if t.role in ("weight", "bias")]
    start = {n: real.state[n][0].copy() for n in learned}
    begun = {n: c.plan[n].meaning.real(machine[n][0]) for n in learned}
    way, last = {n: np.zeros_like(v) for n, v in start.items()}, dict(start)
    for x, label in zip(c.calibration[name], c.calibration["label"], strict=True):
        real.load({name: x.reshape(1, -1), "label": np.array([[label]])})
        real.run("learn")
        machine.learn({name: x.astype(np.float32)[None]}, [int(label)])
        for n in learned:
            way[n] += np.abs(real.state[n][0] - last[n])
            last[n] = real.state[n][0].copy()
    return (
        {n: real.state[n][0] - start[n] for n in learned},
        {n: c.plan[n].meaning.real(machine[n][0]) - begun[n] for n in learned},
        way,
    )


def test_a_layer_may_learn_on_what_is_always_zero(tmp_path: Path) -> None:
    """Behind a ReLU whose zero point is the largest integer stands nothing but zero."""
    a, rng = Author(), np.random.default_rng(0)
    x, h, y = (a.tensor(n, (1, 4), scale=0.1, zero=z) for n, z in (("x", 0), ("h", 127), ("y", 0)))
    for name, data, into in (("first", x, h), ("last", h, y)):
        w = a.tensor(f"{name}/w", (4, 4), scale=0.01, data=rng.integers(-127, 128, (4, 4)))
        a.op(
            "FULLY_CONNECTED",
            [data, w],
            [into],
            "FullyConnectedOptions",
            fusedActivationFunction=int(into == h),
        )
    c = compiled(a.bytes([x], [y]), tmp_path, RuleSpec("last"))
    machine = Emulator(c.plan)
    machine.learn({c.graph.inputs[0]: np.ones((1, 4), np.int8)}, [1])
    assert machine["y_bias"].any() and not machine["y_saturated"].any()


@pytest.mark.parametrize(
    ("weight", "bias", "learns"),
    [
        ("-rate * teach * pre", "", True),
        ("-rate * sign(teach) * pre", "", False),
        ("-rate * teach * pre - 2^-9 * W", "", False),
        ("-rate * teach * abs(pre)", "", False),
        ("-rate * teach * pre", "-rate * teach - 2^-6 * b", False),
        ("-rate * teach * post * pre", "", False),
    ],
)
def test_equations_of_layers_whose_scales_are_the_file_s(
    weight: str, bias: str, learns: bool, tmp_path: Path
) -> None:
    """The layer's own update learns; what else shifts is refused with a caret, and with what would learn."""
    own = {"rule": "own", "update": Update(weight, bias), "feedback": Feedback(), "options": ()}
    for seed in (2002, 2003):
        if learns:
            c, *_ = lite_model(seed, tmp_path, **own)
            assert any(s.kernel == "dense.update" for _, s in c.abstract.steps())
            continue
        with pytest.raises(CompileError, match=r"shifts, and .* which is no power of two") as told:
            lite_model(seed, tmp_path, **own)
        assert told.value.hint.endswith('learn by "-rate * teach[o] * pre[i]" alone') and told.value.excerpt


def test_changes_at_the_file_s_scales_add_up(tmp_path: Path) -> None:
    """Sums of one sample: weights and biases learn at the rates that x leaves them, as before."""
    own = {"rule": "last", "feedback": Feedback(), "options": ()}
    made = shared = 0
    for seed in range(2000, 2040):
        try:
            plain, *_ = lite_model(seed, tmp_path, **own)
            added, *_ = lite_model(seed, tmp_path, **own, accumulate=Accumulate(1))
        except CompileError:
            continue
        machines, rng = [Emulator(plain.plan), Emulator(added.plan)], np.random.default_rng(seed)
        for _ in range(4):
            x = {n: rng.integers(-128, 128, (1, plain.plan[n].shape[0])) for n in plain.plan.inputs}
            label = [int(rng.integers(plain.plan.classes))]
            for machine in machines:
                machine.learn({n: v.astype(plain.plan[n].dtype) for n, v in x.items()}, label)
        for t in plain.plan.space("state"):
            assert np.array_equal(machines[0][t.name], machines[1][t.name]), (seed, t.name)
        shared += any("x_zero" in s.attrs for _, _, s in added.plan.ops() if s.kernel == "dense.update")
        made += 1
        if made >= 4 and shared:
            break
    assert made >= 4 and shared
