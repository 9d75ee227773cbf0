"""What equations say of convolutions: sums over positions where these share weights, else each by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as om
import pytest
from ctools import UNDEFINED, HostBatch
from equations import COEFFICIENTS, INPUTS, OUTPUTS, one, value
from play import play

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.equations import rule_of
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ops import _terms
from synapcc.gen.ops._window import Window
from synapcc.gen.ops.conv2d import sample_window
from synapcc.gen.spec import Feedback, RuleSpec
from synapcc.gen.spec.own import Teach, Update
from synapcc.gen.stages.float_run import RealMachine
from synapcc.gen.stages.schedule import build
from synapcc.host.cli import main
from synapcc.host.run.emulator import Emulator

Rng = np.random.Generator
RATE, CLASSES, MAP = 4, 3, (4, 4, 2)
SIGN_ERROR = (
    "-rate * sign(teach[o]) * pre[i] - 2^-10 * W[o,i]",
    "-rate * sign(teach[o]) * pre[i] - 2^-10 * R[o,i]",
)
HIDDEN = "(R.T @ next) * df(z)"


def samples(size: int) -> dict[str, np.ndarray]:
    """60 noisy patterns."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, CLASSES, 60)
    x = rng.normal(0, 1, (CLASSES, size))[label] + rng.normal(0, 0.6, (60, size))
    return {"x": x.astype(np.float32), "label": label}


DATA = samples(32)


def network(rng: Rng, op: str, name: str = "net") -> Graph:
    """A convolution of any geometry with a ReLU, and a classifier."""
    window = sample_window(rng, MAP)
    g = Window.of(window, MAP)
    filters = g.groups * int(rng.integers(1, 3))
    rows = filters * (1 if op == "conv2d" else g.positions)
    size, out = g.positions * filters, (g.out_height, g.out_width, filters)
    weights = {"cw": (rows, g.taps), "cb": (rows,), "fw": (CLASSES, size), "fb": (CLASSES,)}
    tensors = {n: Tensor(n, s, rng.normal(0, 0.4, s)) for n, s in weights.items()}
    shapes = {"x": (32,), "m": MAP, "c": out, "r": out, "f": (size,), "y": (CLASSES,)}
    tensors |= {n: Tensor(n, s) for n, s in shapes.items()}
    nodes = (
        Node("reshape", "rows", ("x",), "m", {"shape": MAP}),
        Node(op, "conv", ("m", "cw", "cb"), "c", dict(window.attrs)),
        Node("clip", "relu", ("c",), "r", {"lo": 0.0, "hi": np.inf}),
        Node("reshape", "flat", ("r",), "f", {"shape": (size,)}),
        Node("dense", "fc", ("f", "fw", "fb"), "y"),
    )
    return Graph(name, ("x",), "y", tensors, nodes)


# ---- what it says ---------------------------------------------------------------------------------------


def equation(rng: Rng, own: str, axes: int) -> list[tuple[str, bool]]:
    """Random terms, and whether each has a signal. axes: 2 for a weight, 1 for a bias"""
    rows = [w for w in OUTPUTS if "teach" not in w]
    terms = []
    for _ in range(int(rng.integers(1, 4))):
        factors = [one(rng, COEFFICIENTS), one(rng, tuple(rows))]
        second = own if rng.integers(3) == 0 else one(rng, INPUTS)
        factors += [second] if axes == 2 or second == own else []
        terms.append((" * ".join(factors), True))
    return terms + [(f"-2^-5 * {own}", False)] * int(rng.integers(2))


def written(terms: list[tuple[str, bool]]) -> str:
    return " + ".join(text.replace("-2^-5", "-1 * 2^-5") for text, _ in terms)


def places(g: Window, x: np.ndarray, group: int) -> np.ndarray:
    """[positions, taps]: what the windows of one group see, 0 beyond the map, place by place."""
    seen, each = [], g.channels // g.groups
    m = x.reshape(g.height, g.width, g.channels)
    for oy in range(g.out_height):
        for ox in range(g.out_width):
            row: list[float] = []
            for ky in range(g.kernel_h):
                for kx in range(g.kernel_w):
                    y = oy * g.stride_h - g.pad_top + ky * g.dilation_h
                    at = ox * g.stride_w - g.pad_left + kx * g.dilation_w
                    inside = 0 <= y < g.height and 0 <= at < g.width
                    row += list(m[y, at, group * each : (group + 1) * each]) if inside else [0.0] * each
            seen.append(row)
    return np.array(seen)


def total(terms: list[tuple[str, bool]], named: dict[str, Any], at: list[dict[str, Any]]) -> Any:
    """The sum that a position sees, or that all of some see. at: the signals of each"""
    out: Any = 0.0
    for text, signals in terms:
        out = out + sum(value(text, {**named, **one_place}) for one_place in (at if signals else [{}]))
    return out


@pytest.mark.parametrize("op", ["conv2d", "local2d"])
@pytest.mark.parametrize("count", [15, pytest.param(300, marks=pytest.mark.long)])
def test_a_product_is_summed_over_the_positions_that_share_a_weight(op: str, count: int) -> None:
    changed = 0
    for seed in range(count):
        rng = np.random.default_rng([5, seed])
        graph = network(rng, op)
        weight, bias = equation(rng, "W[o,i]", 2), equation(rng, "b[o]", 1)
        spec = RuleSpec("own", rate=RATE, update=Update(written(weight), written(bias)), layers="all")
        try:
            rule = rule_of(spec)
        except CompileError as error:  # terms that are one, twice
            assert error.excerpt
            continue
        calibration = {"x": DATA["x"].astype(float), "label": DATA["label"]}
        abstract = build(graph, spec, rule, ("conv",), calibration)
        machine = RealMachine(abstract.values, abstract.programs, 1)
        machine.load({"x": calibration["x"][:1], "label": np.array([[int(DATA["label"][0])]], np.uint16)})
        machine.run("adapt")
        before = {n: np.asarray(abstract.values[f"conv_{n}"].real, float) for n in ("weight", "bias")}
        z, post = machine.real("conv")[0], machine.real("relu")[0]
        conv = graph.nodes[1]
        g = Window.of(conv, MAP)
        filters = graph.tensors["c"].shape[-1]
        for row in range(len(before["bias"])):
            f = row % filters
            seen = places(g, calibration["x"][0], f // (filters // g.groups))
            mine = range(g.positions) if op == "conv2d" else [row // filters]
            at = [{"pre": seen[p], "z": z[p * filters + f], "post": post[p * filters + f]} for p in mine]
            named = {"rate": 2.0**-RATE, "W": before["weight"][row], "b": before["bias"][row]}
            for name, terms in (("weight", weight), ("bias", bias)):
                got, was = machine.state[f"conv_{name}"][0][row], before[name][row]
                want = was + total(terms, named, at)
                assert np.allclose(got, want, rtol=1e-9, atol=1e-11), (seed, name, spec.update)
                changed += not np.array_equal(got, was)
    assert changed > 2 * count


# ---- the bytes ------------------------------------------------------------------------------------------


def compiled(seed: int, untied: bool) -> Compiled:
    spec = RuleSpec(
        "own",
        rate=7,
        update=Update(SIGN_ERROR[0], "", SIGN_ERROR[1]),
        teach=Teach("", HIDDEN),
        layers="all",
        untied=("conv",) if untied else (),
    )
    return compile_model(network(np.random.default_rng(seed), "conv2d", f"net{seed}"), spec, DATA)


@pytest.mark.long
def test_the_rule_of_the_errors_sign_learns_convolutions(tmp_path: Path) -> None:
    """Each kernel's bytes in C, on any geometry."""
    made = [compiled(seed, seed % 2 == 1) for seed in range(6)]
    found = {s.kernel for c in made for _, s in c.abstract.steps()}
    assert {"statement2d.tied", "statement2d.untied", "statement2d.bias"} <= found
    batch = HostBatch([c.plan for c in made], tmp_path, "-O1", *UNDEFINED)
    try:
        assert sum(play(batch, i, i) for i in range(len(made))) >= 40
    finally:
        batch.close()


def test_a_group_that_looks_at_no_input_is_c_without_warnings(tmp_path: Path) -> None:
    """Terms of signals and weights alone: where in the map a group begins matters to none."""
    windows = (network(np.random.default_rng(seed), "conv2d", f"net{seed}") for seed in range(100))
    graph = next(g for g in windows if g.nodes[1].attrs["groups"] != 1)
    update = Update("-rate * teach * W - 2^-9 * W")
    for untied in ((), ("conv",)):
        spec = RuleSpec(
            "own", update=update, teach=Teach("", "(W.T @ next) * df(z)"), layers="all", untied=untied
        )
        c = compile_model(graph, spec, DATA)
        folder = tmp_path / f"untied{len(untied)}"
        folder.mkdir()
        batch = HostBatch([c.plan], folder, "-O0")
        try:
            assert play(batch, 0, 0) > 0
        finally:
            batch.close()


def test_terms_without_a_gap() -> None:
    there = {"c0": 1, "f0": 1, "s0": 0}
    more = {f"{letter}{k}": 1 for letter in "cfs" for k in (1, 2)}
    t: Any = {"x": None}
    assert _terms.misfit(t, there | more, ("x", "w"), "w") == ""
    gap = {name: v for name, v in (there | more).items() if "1" not in name}
    assert _terms.misfit(t, gap, ("x", "w"), "w") == "term 2 stands behind none"


@pytest.mark.parametrize("rounding", ["nearest", "stochastic", "dither"])
def test_a_matrix_that_changes_alike_stays_a_copy(rounding: str) -> None:
    """R that starts as W, and whose equation is W's, is W after any number of steps."""
    graph = network(np.random.default_rng(2), "conv2d")
    again = replace(
        graph.nodes[1], name="top", inputs=("c2", "tw", "tb"), output="t", attrs={"kernel": (1, 1)}
    )
    shape = graph.tensors["c"].shape
    rng = np.random.default_rng(3)
    more = {"c2": Tensor("c2", shape), "t": Tensor("t", shape)}
    more |= {"tw": Tensor("tw", (shape[-1],) * 2, rng.normal(0, 0.4, (shape[-1],) * 2))}
    more |= {"tb": Tensor("tb", (shape[-1],), np.zeros(shape[-1]))}
    nodes = (
        *graph.nodes[:2],
        replace(graph.nodes[2], output="c2"),
        again,
        replace(graph.nodes[2], name="relu2", inputs=("t",)),
        *graph.nodes[3:],
    )
    spec = RuleSpec(
        "own",
        rate=5,
        rounding=rounding,
        update=Update(SIGN_ERROR[0], "", SIGN_ERROR[1]),
        teach=Teach("", HIDDEN),
        layers="all",
        feedback=Feedback(init="aligned", storage="ram"),
    )
    c = compile_model(replace(graph, nodes=nodes, tensors={**graph.tensors, **more}), spec, DATA)
    machine = Emulator(c.plan)
    for i in range(20):
        machine.learn({"x": DATA["x"][i : i + 1]}, [int(DATA["label"][i])])
    assert np.any(machine["top_weight"] != c.plan["top_weight"].array())
    assert np.array_equal(machine["top_weight"], machine["top_feedback"])


@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize(
    ("weight", "bias", "under", "says"),
    [
        ("-rate * teach * pre - 2^-30 * W", "", "W", "can change nothing"),
        ("2^22 * post * pre", "", "post", "this term is too large"),
        ("-2^14 * post * pre * post * W * post - 2^-26 * pre * post", "", "post", "could overflow"),
        ("-rate * teach * pre", "2^20 * post - 2^-9 * b", "post", "this term is too large"),
    ],
)
def test_what_cannot_be_is_shown(untied: bool, weight: str, bias: str, under: str, says: str) -> None:
    update, text = Update(weight, bias), bias or weight
    spec = RuleSpec(
        "own",
        rounding="nearest",
        update=update,
        teach=Teach("", "(W.T @ next) * df(z)") if "teach" in weight else Teach(),
        layers=("conv",) if "teach" not in weight else "all",
        untied=("conv",) if untied else (),
    )
    with pytest.raises(CompileError) as told:
        compile_model(network(np.random.default_rng(2), "conv2d"), spec, DATA)
    assert says in told.value.what
    assert told.value.excerpt.splitlines()[1].index("^") - 2 == text.index(under)


CNN = {
    "sign_error": (
        f'update.weight = "{SIGN_ERROR[0]}"\nupdate.feedback = "{SIGN_ERROR[1]}"\nteach.hidden = "{HIDDEN}"\n'
    ),
    "oja": 'rounding = "dither"\nupdate.weight = "rate * post[o] * (pre[i] - post[o] * W[o,i])"\n',
    "untied": (
        f'untied = ["conv1"]\nupdate.weight = "{SIGN_ERROR[0]}"\n'
        'update.bias = "-rate * teach[o] - 2^-9 * b[o]"\nteach.hidden = "(B.T @ error) * df(z)"\n'
    ),
    "traced": (
        'trace.seen = "seen - 2^-3 * seen + pre"\nupdate.weight = "-rate * teach[o] * seen[i]"\n'
        'teach.hidden = "(W.T @ next) * df(z)"\n'
    ),
}
DEVICES = ["process", *(pytest.param(d, marks=pytest.mark.long) for d in ("unicorn", "qemu"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "rule", [r if r == "sign_error" else pytest.param(r, marks=pytest.mark.long) for r in CNN]
)
def test_verify(rule: str, device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = {"cw": om.real(3, 1, 3, 3), "cb": om.real(3), "fw": om.real(3, 27, seed=1), "fb": om.real(3)}
    nodes = [
        om.node("Conv", "input cw cb", "c", "conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        om.node("Relu", "c", "r"),
        om.node("Flatten", "r", "f"),
        om.node("Gemm", "f fw fb", "out", "fc", transB=1),
    ]
    model = om.save(om.model(nodes, {"input": (1, 1, 5, 5)}, {"out": (1, 3)}, weights), tmp_path)
    data, file, out = tmp_path / "data.npz", tmp_path / "rule.toml", tmp_path / "out"
    found = samples(25)
    np.savez(data, input=found["x"].reshape(-1, 1, 5, 5), label=found["label"])
    file.write_text(f'layers = "all"\nrate = "2^-7"\n{CNN[rule]}')
    words = [str(model), "--rule", str(file), "--calibrate", str(data), "-o", str(out)]
    assert main(["compile", *words, "--board", "mps2_an386"]) == 0
    capsys.readouterr()
    assert main(["verify", str(out), "--data", str(data), "--steps", "100", "--device", device]) == 0
    assert capsys.readouterr().out.endswith("verify: 100 steps, 0 differing bytes\n")
