"""Convolutions against plain loops, and what tied and untied layers promise."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from conv_nets import cnn, data

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ops._tying import Tied, parts
from synapcc.gen.ops._window import Window, see, spread, taps
from synapcc.gen.ops.conv2d import sample_window
from synapcc.gen.rules import rules
from synapcc.gen.spec import Feedback, RuleSpec
from synapcc.gen.spec.options import Settings
from synapcc.gen.stages.graph_check import verify
from synapcc.host.run.emulator import Emulator


def loops(g: Window, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The definition, one product at a time: x [height, width, channels], w [filters, taps]."""
    filters, each = len(w), g.channels // g.groups
    taps = w.reshape(filters, g.kernel_h, g.kernel_w, each)
    y = np.zeros((g.out_height, g.out_width, filters))
    for oy, ox, o, ky, kx, c in itertools.product(
        *map(range, (g.out_height, g.out_width, filters, g.kernel_h, g.kernel_w, each))
    ):
        iy = oy * g.stride_h - g.pad_top + ky * g.dilation_h
        ix = ox * g.stride_w - g.pad_left + kx * g.dilation_w
        if 0 <= iy < g.height and 0 <= ix < g.width:
            y[oy, ox, o] += x[iy, ix, o // (filters // g.groups) * each + c] * taps[o, ky, kx, c]
    return y


def random_window(rng: np.random.Generator) -> Window:
    shape = tuple(int(n) for n in rng.integers(1, (7, 8, 5)))
    return Window.of(sample_window(rng, shape), shape)


def test_windows_see_what_the_definition_says() -> None:
    rng = np.random.default_rng(1)
    kinds = set()
    for _ in range(60):
        g = random_window(rng)
        x = rng.normal(size=(g.height, g.width, g.channels))
        w = rng.normal(size=(g.groups * 2, g.taps))
        seen = see(g, x.reshape(1, -1))
        sums = np.einsum("dgpk,gok->dpgo", seen, w.reshape(g.groups, -1, g.taps))
        assert np.allclose(sums.reshape(g.out_height, g.out_width, -1), loops(g, x, w))
        kinds.add((g.groups > 1, g.stride_h > 1, g.dilation_w > 1, g.pad_top > 0))
    assert len(kinds) >= 10


def test_signals_reach_inputs_in_the_order_of_positions() -> None:
    """To the bit: the formats of teaching signals rest on it. And parts of the samples decide nothing."""
    rng, depthwise = np.random.default_rng(6), 0
    for _ in range(150):
        g = random_window(rng)
        rows = g.groups * int(rng.integers(1, 3))
        depthwise += rows == g.groups == g.channels > 1
        d, m = rng.normal(size=(3, g.positions * rows)), rng.normal(size=(1, rows, g.taps))
        heard = Tied.transposed(g, m, d, np.matmul).reshape(3, -1)
        want = np.zeros((3, g.input_size + 1))  # padding behind the inputs
        for at, place in enumerate(taps(g).ravel()):
            want[:, place] += heard[:, at]
        got = Tied.felt(g, m, d)
        assert np.array_equal(got, want[:, :-1])
        alone = [Tied.felt(g, m, d[part]) for part in parts(3, g, g.positions)]
        assert np.array_equal(got, np.concatenate(alone))
    assert depthwise > 5


def test_spread_is_the_transpose_of_see() -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        g = random_window(rng)
        x = rng.normal(size=(2, g.height * g.width * g.channels))
        back = rng.normal(size=see(g, x).shape)
        assert np.isclose(np.sum(see(g, x) * back), np.sum(x * spread(g, back)))
        counts = spread(g, np.ones_like(back))
        assert counts.max() == g.overlap


def taught(compiled: Compiled, calibration: dict[str, np.ndarray], passes: int) -> tuple[float, float]:
    """Accuracy before and after learning from the calibration data themselves."""
    machine, label = Emulator(compiled.plan), calibration["label"]
    frac = compiled.plan["x"].frac
    x = np.clip(np.rint(calibration["x"].reshape(len(label), -1) * 2.0**frac), -128, 127).astype(np.int8)

    def accuracy() -> float:
        right = 0
        for row, want in zip(x, label, strict=True):
            machine.load({"x": row[None]})
            machine.run("infer")
            right += int(machine["verdict"][0, 0]) == want
        return right / len(label)

    before = accuracy()
    for _ in range(passes):
        for row, want in zip(x, label, strict=True):
            machine.learn({"x": row[None]}, [int(want)])
    return before, accuracy()


@pytest.mark.parametrize("rule", sorted({*rules()} - {"last", "prototype", "spsa", "es", "hybrid"}))
@pytest.mark.parametrize("untied", [(), ("conv2",), ("conv1", "conv2")])
def test_a_network_of_convolutions_learns(rule: str, untied: tuple[str, ...]) -> None:
    """Tied and untied, all layers by every rule: a random network learns where a bump lies."""
    rng = np.random.default_rng(7)
    calibration = data(rng)
    hidden = 9 if rule == "drtp" else 7  # whose signal does not shrink with the error
    spec = RuleSpec(rule, layers="all", untied=untied, rate=5, rates=(("conv1", hidden), ("conv2", hidden)))
    compiled = compile_model(cnn(rng), spec, calibration)
    assert compiled.learned == ("conv1", "conv2", "fc")
    updates = {s.kernel for _, _, s in compiled.plan.ops() if s.kernel.endswith(".update")}
    wanted = {"dense.update"} | ({"local2d.update"} if untied else set())
    assert updates == wanted | ({"conv2d.update"} if len(untied) < 2 else set())
    before, after = taught(compiled, calibration, 4)
    assert before < 0.7 and after > 0.95, f"{before} to {after}"


@pytest.mark.parametrize(
    ("untied", "rule"),
    [
        ((), "spsa"),
        ((), "es"),
        ((), "hybrid"),
        (("conv1", "conv2"), "es"),
        pytest.param(("conv1", "conv2"), "spsa", marks=pytest.mark.long),
        pytest.param(("conv1", "conv2"), "hybrid", marks=pytest.mark.long),
    ],
)
def test_convolutions_learn_by_trials(rule: str, untied: tuple[str, ...]) -> None:
    rng = np.random.default_rng(7)
    calibration = data(rng)
    options: Settings = (("trials", 8), ("epsilon", 2.0**-4)) if rule == "es" else (("trials", 4),)
    spec = RuleSpec(rule, layers="all", untied=untied, rate=6, options=options)
    c = compile_model(cnn(rng), spec, calibration)
    machine, label = Emulator(c.plan, engine="compiled"), calibration["label"]
    x = c.plan["x"].meaning.units(calibration["x"].reshape(len(label), 1, -1)).clip(-128, 127).astype(np.int8)
    before = machine.evaluate(calibration).accuracy
    for _ in range(8):
        machine.learn_many({"x": x}, label[:, None])
    after = machine.evaluate(calibration).accuracy
    assert before < 0.7 and after > 0.9, f"{before} to {after}"
    moved = {s.node for _, _, s in c.plan.ops() if s.kernel == "perturb.settle"}
    assert moved == {"conv1", "conv2", *(["fc"] if rule != "hybrid" else [])}


def test_an_untied_layer_starts_from_the_tied_weights() -> None:
    rng = np.random.default_rng(9)
    graph, calibration = cnn(rng), data(rng)
    spec = RuleSpec("bp", layers="all")
    tied, untied = (
        compile_model(graph, s, calibration)
        for s in (spec, RuleSpec("bp", layers="all", untied=("conv1", "conv2")))
    )
    machines = Emulator(tied.plan), Emulator(untied.plan)
    assert tied.plan["conv1_weight"].frac == untied.plan["conv1_weight"].frac
    for _ in range(20):
        x = {"x": rng.integers(-128, 128, (1, 24)).astype(np.int8)}
        for machine in machines:
            machine.load(x)
            machine.run("infer")
        assert np.array_equal(machines[0][tied.plan.logits], machines[1][untied.plan.logits])


def test_generated_feedback_of_a_convolution_is_the_stored_one() -> None:
    rng = np.random.default_rng(11)
    graph, calibration = cnn(rng), data(rng)
    specs = [RuleSpec("fa", layers="all", feedback=Feedback("random", s)) for s in ("flash", "generated")]
    plans = [compile_model(graph, s, calibration).plan for s in specs]
    assert "project.expand" in {s.kernel for _, _, s in plans[1].ops()}
    machines = [Emulator(p) for p in plans]
    for i in range(40):
        x = {"x": rng.integers(-128, 128, (1, 24)).astype(np.int8)}
        for machine in machines:
            machine.learn(x, [i % 3])
    for name in ("conv1_weight", "conv2_weight", "fc_weight"):
        assert np.array_equal(machines[0][name], machines[1][name]), name
        assert not np.array_equal(machines[0][name][0], plans[0][name].array()), f"{name} did not move"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kernel": (1, 40)}, "does not fit into 1 x 24"),
        ({"padding": (0, 5, 0, 2)}, "some outputs would see nothing but padding"),
        ({"groups": 3}, "1 channels in 3 groups"),
        ({"stride": (1, 0)}, "sizes are 1 or more"),
        ({"kernel": (1, 4)}, "a row of the weight has as many values as a window"),
    ],
)
def test_a_convolution_that_does_not_fit_is_refused(change: dict[str, object], says: str) -> None:
    graph = cnn(np.random.default_rng(1))
    node = graph.nodes[0]
    nodes = (Node(node.op, node.name, node.inputs, node.output, {**node.attrs, **change}), *graph.nodes[1:])  # type: ignore[dict-item]
    with pytest.raises(CompileError, match=says):
        verify(Graph("cnn", graph.inputs, graph.output, graph.tensors, nodes))


def test_a_layer_that_nothing_reads_is_refused() -> None:
    """It would tie its format to that of the layer before it, and so could make logits of 8 bits."""
    graph = cnn(np.random.default_rng(1))
    dead = Node("clip", "dead", ("h1",), "d", {"lo": 0.0, "hi": 1.0})
    tensors = {**graph.tensors, "d": Tensor("d", (1, 12, 4))}
    with pytest.raises(CompileError, match="dead: nothing reads its output; leave this layer out"):
        verify(replace(graph, tensors=tensors, nodes=(*graph.nodes, dead)))


def quiet(scale: float) -> tuple[Graph, dict[str, np.ndarray]]:
    """The network on signals `scale` as large; what the second layer sees is the same."""
    rng = np.random.default_rng(0)
    graph, calibration = cnn(rng), data(rng)
    factors = {"b1": scale, "w2": 1 / scale}
    tensors = {
        n: Tensor(n, t.shape, t.value * factors[n]) if n in factors and t.value is not None else t
        for n, t in graph.tensors.items()
    }
    return replace(graph, tensors=tensors), {**calibration, "x": calibration["x"] * scale}


def test_a_bias_that_no_signal_could_move_by_less_than_all_its_range_is_refused() -> None:
    """One unit of a signal would be 2^31 of a bias whose limit is 2^28, and int32 has no such factor."""
    graph, calibration = quiet(2.0**-17)
    with pytest.raises(
        CompileError, match=r"conv1: the bias's change needs a shift of -3\d.*take 2\^-\d+ or"
    ):
        compile_model(graph, RuleSpec("bp", layers=("conv1",), rate=0), calibration)
    plan = compile_model(graph, RuleSpec("bp", layers=("conv1",), rate=6), calibration).plan
    shifts = [s.attrs["bias_shift"] for _, _, s in plan.ops() if s.kernel == "conv2d.update"]
    assert len(shifts) == 1 and -29 <= shifts[0] < 0
    machine = Emulator(plan)
    for i in range(20):
        machine.learn({"x": np.full((1, 24), 100, np.int8)}, [i % 3])
    assert not np.array_equal(machine["conv1_bias"][0], plan["conv1_bias"].array())


def test_a_rate_that_no_rule_file_could_mend_does_not_ask_for_the_rounding_it_has() -> None:
    graph, calibration = cnn(np.random.default_rng(0)), data(np.random.default_rng(0))
    loud = Tensor("w1", (4, 5), graph.tensors["w1"].value * 2.0**12)  # type: ignore[operator]
    small = {**calibration, "x": calibration["x"] * np.float32(2.0**-12)}
    with pytest.raises(CompileError, match="scale the inputs up and the weights down"):
        compile_model(
            replace(graph, tensors={**graph.tensors, "w1": loud}), RuleSpec("bp", layers="all"), small
        )


def test_a_global_maximum_over_a_large_map_can_be_learned_behind() -> None:
    """The pool hands each signal to one place: the sum over 4,096 places is that of two signals."""
    rng = np.random.default_rng(5)
    shapes = {"x": (64, 64, 1), "h": (64, 64, 3), "p": (1, 1, 3), "z": (3,)}
    tensors = {n: Tensor(n, s) for n, s in shapes.items()}
    tensors |= {"w": Tensor("w", (3, 9), rng.normal(0, 0.3, (3, 9))), "b": Tensor("b", (3,), np.zeros(3))}
    conv = {"kernel": (3, 3), "stride": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1), "groups": 1}
    nodes = (
        Node("conv2d", "conv", ("x", "w", "b"), "h", conv),
        Node(
            "maxpool2d", "pool", ("h",), "p", {"kernel": (64, 64), "stride": (1, 1), "padding": (0, 0, 0, 0)}
        ),
        Node("reshape", "flat", ("p",), "z", {"shape": (3,)}),
    )
    graph = verify(Graph("peak", ("x",), "z", tensors, nodes))
    compiled = compile_model(graph, RuleSpec("bp", layers="all"), {"x": rng.normal(size=(8, 64, 64, 1))})
    sums = [a.hi for p in compiled.proofs if p.step.kernel == "conv2d.update" for a in p.accumulators]
    assert sums and max(sums) < 2**31


def test_untied_names_a_convolution() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(CompileError, match=r'no convolution "fc".*conv1, conv2'):
        compile_model(cnn(rng), RuleSpec("bp", untied=("fc",)), data(rng))


@pytest.mark.parametrize("dtype", [np.int8, np.float64])
def test_windows_lie_as_blas_takes_them(dtype: type) -> None:
    """Row by row: of an array that lies otherwise, numpy sums products one by one, ten times slower."""
    g = Window(9, 7, 6, 5, 4, 3, 2, stride_h=2, stride_w=2, pad_top=1, pad_left=1, groups=2)
    x = np.random.default_rng(0).integers(-9, 9, (5, 9 * 7 * 6)).astype(dtype)
    seen = see(g, x)
    assert seen.shape == (5, 2, 20, 18) and seen.flags.c_contiguous
    for d in range(5):  # the middle tap of the first window, and what lies in the padding
        assert np.array_equal(seen[d, 0, 0].reshape(3, 2, 3)[1, 1], x[d, :3])
        assert not np.any(seen[d, :, 0].reshape(2, 3, 2, 3)[:, 0])
