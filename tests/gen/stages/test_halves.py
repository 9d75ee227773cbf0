"""Activations that are never, or barely, negative: which they are, what they gain, that they cost nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_nets import barely_negative, random_calibration, rectified_graph

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.emit.flash import stored
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.format import Meaning, NoPowerOfTwo, PowerOfTwo, misfit
from synapcc.gen.ir.graph import Attr, Graph, Node, Tensor
from synapcc.gen.ops import kernel
from synapcc.gen.ops._requantise import ZEROS
from synapcc.gen.ops.table import FUNCTIONS, SAMPLED
from synapcc.gen.spec import BEST, FAST, INFERENCE_ONLY, RuleSpec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.gen.stages.halves import ZERO, floors, zero_point
from synapcc.host.run.emulator import Emulator

FROZEN = RuleSpec(INFERENCE_ONLY)
RELU: dict[str, Attr] = {"lo": 0.0, "hi": np.inf}


def net(*nodes: tuple[str, str, tuple[str, ...], dict[str, Attr]], width: int = 6) -> Graph:
    """Vectors of `width`, dense layers and what stands between: (op, output, inputs, attributes)."""
    rng, made, tensors = np.random.default_rng(5), [], {"x": Tensor("x", (width,))}
    for op, y, inputs, attrs in nodes:
        sizes = [tensors[i].shape[0] for i in inputs]
        constants = ()
        if op == "dense":
            constants = (f"{y}_w", f"{y}_b")
            for name, shape in zip(constants, ((width, sizes[0]), (width,)), strict=True):
                tensors[name] = Tensor(name, shape, rng.normal(0, 0.6, shape))
        tensors[y] = Tensor(y, (sum(sizes) if op == "concat" else width,))
        made.append(Node(op, f"{y}_node", (*inputs, *constants), y, attrs))
    return Graph("net", ("x",), nodes[-1][1], tensors, tuple(made))


def samples(n: int = 300, width: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(6)
    return {"x": rng.normal(size=(n, width)).astype(np.float32), "label": rng.integers(0, width, n)}


def zeros(c: Compiled) -> set[str]:
    """The tensors of the Plan whose integers begin at zero."""
    return {t.name for t in c.plan.tensors if isinstance(t.meaning, PowerOfTwo) and t.meaning.zero == ZERO}


def dense(y: str, x: str) -> tuple[str, str, tuple[str, ...], dict[str, Attr]]:
    return "dense", y, (x,), {}


def relu(y: str, x: str, hi: float = np.inf) -> tuple[str, str, tuple[str, ...], dict[str, Attr]]:
    return "clip", y, (x,), {**RELU, "hi": hi}


def curve(y: str, x: str, fn: str = "silu") -> tuple[str, str, tuple[str, ...], dict[str, Attr]]:
    alpha, beta = SAMPLED.get(fn, (0.0, 0.0))
    return "table", y, (x,), {"fn": fn, "alpha": alpha, "beta": beta}


CHAIN = (dense("a", "x"), relu("b", "a"), dense("c", "b"), relu("d", "c"), dense("z", "d"))
CURVES = (dense("a", "x"), curve("b", "a"), dense("c", "b"), curve("d", "c", "gelu"), dense("z", "d"))


@pytest.mark.parametrize(
    "nodes, want",
    [
        (CHAIN, {"a_node", "c_node"}),
        ((dense("a", "x"), relu("b", "a", 0.7), dense("z", "b")), {"a_node", "b_node"}),  # holds it at 0.7
        ((dense("a", "x"), ("clip", "b", ("a",), {"lo": -1.0, "hi": np.inf}), dense("z", "b")), set()),
        ((dense("a", "x"), relu("b", "a"), ("concat", "j", ("a", "b"), {}), dense("z", "j")), set()),
        (
            (dense("a", "x"), relu("b", "a"), ("concat", "j", ("b", "b"), {}), dense("z", "j")),
            {"a_node", "j_node"},
        ),
        ((dense("a", "x"), relu("b", "a"), ("concat", "j", ("b", "x"), {}), dense("z", "j")), set()),
        ((dense("a", "x"), relu("b", "a"), ("add", "s", ("b", "x"), {}), dense("z", "s")), {"a_node"}),
        (
            (dense("a", "x"), relu("b", "a"), ("add", "s", ("b", "b"), {}), dense("z", "s")),
            {"a_node", "s_node"},
        ),
        (
            (dense("a", "x"), relu("b", "a"), ("add", "s", ("b", "x"), {}), relu("r", "s"), dense("z", "r")),
            {"a_node", "s_node"},
        ),
        ((dense("a", "x"), relu("b", "a"), ("mul", "s", ("b", "b"), {}), dense("z", "s")), set()),
        ((dense("a", "x"), relu("z", "a")), set()),  # scores
    ],
)
def test_which_they_are(
    nodes: tuple[tuple[str, str, tuple[str, ...], dict[str, Attr]], ...], want: set[str]
) -> None:
    assert zeros(compile_model(net(*nodes), FROZEN, samples(), quantise=BEST)) == want


def barely(c: Compiled) -> set[str]:
    """The activations of the Plan that have some integers below zero."""
    named = (t for t in c.plan.tensors if t.role == "activation" and isinstance(t.meaning, PowerOfTwo))
    return {t.name for t in named if ZERO < t.meaning.zero < 0}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "nodes, want",
    [
        (CURVES, {"b_node", "d_node"}),
        *(
            ((dense("a", "x"), curve("b", "a", fn), dense("z", "b")), {"b_node"})
            for fn in ("hardswish", "elu", "celu", "gelu_tanh", "mish")
        ),
        ((dense("a", "x"), curve("b", "a", "tanh"), dense("z", "b")), set()),
        ((dense("a", "x"), curve("b", "a", "sigmoid"), dense("z", "b")), set()),
        (
            (dense("a", "x"), curve("b", "a"), ("add", "s", ("b", "b"), {}), dense("z", "s")),
            {"b_node", "s_node"},
        ),
        ((dense("a", "x"), curve("b", "a"), ("add", "s", ("b", "x"), {}), dense("z", "s")), {"b_node"}),
        (
            (dense("a", "x"), curve("b", "a"), ("concat", "j", ("b", "b"), {}), dense("z", "j")),
            {"b_node", "j_node"},
        ),
        ((dense("a", "x"), curve("b", "a"), ("concat", "j", ("b", "x"), {}), dense("z", "j")), set()),
        ((dense("a", "x"), curve("b", "a"), ("mul", "s", ("b", "b"), {}), dense("z", "s")), set()),
        ((dense("a", "x"), curve("b", "a"), curve("c", "b"), dense("z", "c")), {"c_node"}),
        ((dense("a", "x"), curve("z", "a")), set()),  # scores
    ],
)
def test_which_are_barely_negative(
    nodes: tuple[tuple[str, str, tuple[str, ...], dict[str, Attr]], ...], want: set[str]
) -> None:
    c = compile_model(net(*nodes), FROZEN, samples(), quantise=BEST)
    assert barely(c) == want and zeros(c) == set()


def test_a_learned_layer_reads_no_barely_negative_one() -> None:
    last, bp = RuleSpec("last", weights="int16"), RuleSpec("bp", layers=("a_node",), weights="int16")
    assert barely(compile_model(net(*CURVES), last, samples(), quantise=BEST)) == {"b_node"}
    c = compile_model(net(*CURVES), bp, samples(), quantise=BEST)  # a signal asks what a table is of
    assert barely(c) == {"b_node", "d_node"} and "table.feedback" in {s.kernel for _, _, s in c.plan.ops()}


def test_a_floor_is_just_below_what_its_function_can_be() -> None:
    x = np.linspace(-60.0, 60.0, 200_001)
    for f in FUNCTIONS:
        for alpha in (0.3, 1.0, 2.0, -0.5) if f.name in ("elu", "celu") else (0.0,):
            if f.floor and (floor := f.floor(alpha)) > -np.inf:
                assert 0.0 <= np.min(f.value(x, alpha, 0.0)) - floor < 1e-4, f.name
    assert next(f.floor for f in FUNCTIONS if f.name == "celu")(-0.5) == -np.inf  # type: ignore[misc]


@pytest.mark.parametrize("floor", [-0.17, -0.2785, -0.375, -1.0, -3.0])
def test_a_zero_point_only_where_it_brings_something(floor: float) -> None:
    """All of what lies below zero is held; symmetric integers hold what they can."""
    used = 0
    for top in np.exp(np.random.default_rng(8).uniform(np.log(0.1), np.log(50.0), 300)):
        for frac in range(-2, 9):
            zero, lowest = zero_point(floor, float(top), frac), max(floor, -top) * 2.0**frac
            used += zero != 0
            if zero:
                assert zero == ZERO + np.ceil(-lowest) < 0 and np.floor(top * 2.0**frac + 0.5) > 127
            else:
                assert np.floor(top * 2.0**frac + 0.5) <= 127 or lowest <= -127
    assert used > 100 and zero_point(0.0, 1.0, 3) == ZERO


def test_nothing_that_learning_needs_is_one() -> None:
    """A learned layer reads no zero point, and a signal on its way back asks whether y is above 0."""
    last = RuleSpec("last", weights="int16")
    assert zeros(compile_model(net(*CHAIN), last, samples(), quantise=BEST)) == {"a_node"}
    first = RuleSpec("bp", layers=("a_node",), weights="int16")
    assert zeros(compile_model(net(*CHAIN), first, samples(), quantise=BEST)) == set()


def test_fast_knows_none() -> None:
    fast, best = (compile_model(net(*CHAIN), FROZEN, samples(), quantise=q) for q in (FAST, BEST))
    assert barely(compile_model(net(*CURVES), FROZEN, samples(), quantise=FAST)) == set()
    assert (
        zeros(fast) == set() and fast.plan.digest == compile_model(net(*CHAIN), FROZEN, samples()).plan.digest
    )
    assert (fast.quantise, best.quantise) == (FAST, BEST) and fast.plan.digest != best.plan.digest
    with pytest.raises(CompileError, match="'better' is no way to quantise"):
        compile_model(net(*CHAIN), FROZEN, samples(), quantise="better")


def test_they_cost_nothing() -> None:
    """The same macros with the same numbers in both kernel sets, and no step for the ReLU."""
    fast, best = (compile_model(net(*CHAIN), FROZEN, samples(), quantise=q).plan for q in (FAST, BEST))
    assert [s.kernel for _, _, s in best.ops()] == [
        s.kernel for _, _, s in fast.ops() if s.kernel != "clip.forward"
    ]
    for kernel_set in ("ref", "dsp"):
        printed = [
            [
                (v.macro, v.kernel_set, dict(v.numbers))
                for v, (_, _, s) in zip(stored(plan, kernel_set).variants, plan.ops(), strict=True)
                if s.kernel == "dense.forward"
            ]
            for plan in (fast, best)
        ]
        assert printed[0] == printed[1]


@pytest.mark.parametrize("kernel_set", [pytest.param("ref", marks=pytest.mark.long), "dsp"])
def test_some_integers_below_zero_cost_nothing_either(kernel_set: str) -> None:
    plan, seen = compile_model(net(*CURVES), FROZEN, samples(), quantise=BEST).plan, 0
    for _, _, step in plan.ops():
        if {*ZEROS} & {*step.attrs}:
            t, seen = {role: plan[name] for role, name in step.args.items()}, seen + 1
            without = {key: v for key, v in step.attrs.items() if key not in ZEROS}
            one, other = (kernel(step.kernel).variant(kernel_set, t, a) for a in (step.attrs, without))
            assert (one.macro, one.kernel_set, one.numbers) == (other.macro, other.kernel_set, other.numbers)
    assert seen == 2


def error(c: Compiled, inputs: dict[str, np.ndarray]) -> float:
    """Root of the mean squared error of the scores, in real numbers."""
    n = len(inputs[c.plan.inputs[0]])
    real = RealMachine(c.abstract.values, c.abstract.programs, n, shared=True)
    real.load({i: x.reshape(n, -1).astype(np.float64) for i, x in inputs.items()})
    real.run("infer")
    scores = c.plan[c.plan.logits].meaning.real(Emulator(c.plan, n).infer(inputs)[2])
    return float(np.sqrt(np.mean((scores - real.real(c.abstract.logits)) ** 2)))


@pytest.mark.parametrize(
    "dips, count",
    [
        (False, 15),
        (True, 8),
        pytest.param(False, 150, marks=pytest.mark.long),
        pytest.param(True, 60, marks=pytest.mark.long),
    ],
)
def test_random_networks_gain_by_them(dips: bool, count: int) -> None:
    """And mean what the float network computes: a zero point that is lost anywhere would be far off."""
    ratios, used = [], set[str]()
    for seed in range(count):
        rng = np.random.default_rng([31, seed])
        graph = rectified_graph(rng, f"r{seed}")
        graph = barely_negative(np.random.default_rng([34, seed]), graph) if dips else graph
        inputs = random_calibration(rng, graph)
        inputs["in_0"] = rng.normal(size=(200, *inputs["in_0"].shape[1:])).astype(np.float32)
        del inputs["label"]
        try:
            fast, best = (compile_model(graph, FROZEN, inputs, quantise=q) for q in (FAST, BEST))
        except CompileError:
            continue
        found = {s.kernel for _, _, s in best.plan.ops() if {*ZEROS, "addend"} & {*s.attrs}}
        used |= found
        if found:
            ratios.append(error(best, inputs) / max(error(fast, inputs), 1e-12))
    assert len(ratios) > count / 5 and np.max(ratios) < 2.0 and np.median(ratios) < 0.85
    rarer = set() if dips or count < 100 else {"add.forward", "concat.copy", "avgpool2d.forward"}
    assert used >= {"dense.forward", "conv2d.forward"} | rarer


def test_what_shares_their_format_is_never_missed_below_zero() -> None:
    """Each is never negative in float; what is tied to it and may be, is read by what cuts that off."""
    seen = negative = 0
    for seed in range(20):
        graph = rectified_graph(np.random.default_rng([32, seed]), f"r{seed}")
        inputs = random_calibration(np.random.default_rng([33, seed]), graph)
        c = compile_model(graph, FROZEN, inputs)
        machine = RealMachine(c.abstract.values, c.abstract.programs, len(inputs["in_0"]), shared=True)
        machine.load({"in_0": inputs["in_0"].reshape(len(inputs["in_0"]), -1).astype(np.float64)})
        machine.run("infer")
        want = machine.real(c.abstract.logits).copy()
        found = floors(c.abstract)
        cut = RealMachine(c.abstract.values, c.abstract.programs, len(inputs["in_0"]), shared=True)
        plain = cut._step

        def step(
            *args: object, machine: RealMachine = cut, plain: object = plain, found: dict[str, float] = found
        ) -> None:
            plain(*args)  # type: ignore[operator]
            for name in found.keys() & {*args[2].args.values()}:  # type: ignore[attr-defined]
                np.maximum(machine.real(name), found[name], out=machine.real(name))

        cut._step = step  # type: ignore[method-assign]
        cut.load({"in_0": inputs["in_0"].reshape(len(inputs["in_0"]), -1).astype(np.float64)})
        cut.run("infer")
        assert np.array_equal(cut.real(c.abstract.logits), want)
        seen += len(found)
        negative += sum(bool(np.any(machine.real(n) < 0)) for n in found)
    assert seen > 30 and negative > 10


# ---- what a Plan may say -------------------------------------------------------------------------------


def test_a_meaning_with_a_zero_point() -> None:
    m = PowerOfTwo(3, zero=ZERO)
    assert Meaning.from_json(m.to_json()) == m and str(m) == "Q3, zero point -128"
    assert m.real([-128, -127, 127]).tolist() == [0.0, 0.125, 31.875] and m.units([0.0, 1.0]).tolist() == [
        -128,
        -120,
    ]
    assert (m.power, m.step, m.unit(0.5)) == (3, 0.125, -124)
    with pytest.raises(NoPowerOfTwo, match="Q3, zero point -128"):
        assert m.frac
    assert misfit(m, 1, -128, 127) == "" and "zero point" in misfit(m, 1, 0, 127)


def test_a_step_says_its_zero_points_rightly() -> None:
    plan = compile_model(net(*CHAIN), FROZEN, samples(), quantise=BEST).plan
    step = next(s for _, _, s in plan.ops() if {*ZEROS} <= {*s.attrs})
    t, k = {role: plan[name] for role, name in step.args.items()}, kernel(step.kernel)
    assert not k.fault(t, step.attrs)
    assert "x_zero is 0, which is none" in k.fault(t, {**step.attrs, "x_zero": 0})
    assert "-129" in k.fault(t, {**step.attrs, "x_zero": -129})
    assert "multipliers without rounds" in k.fault(t, {**step.attrs, "multiplier": 1})
    moved = {**t, "b": replace(t["b"], space="state")}
    assert "operand b is no constant" in k.fault(moved, step.attrs)
    assert "limits are 5 to 4" in k.fault(t, {**step.attrs, "lo": 5, "hi": 4})
