"""Own rules on networks of several kinds: which kernels they become, and verify from the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from head_nets import perceptron, samples
from projects import case

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.spec import Loss, RuleSpec
from synapcc.gen.spec.own import Teach, Update
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.cli import main
from synapcc.host.run.emulator import Emulator

PLAIN = "-rate * teach[o] * pre[i]"
DATA = samples(60, 5, 1)
THREE = {
    "sign_error": (
        'update.weight   = "-rate * sign(teach[o]) * pre[i] - 2^-10 * W[o,i]"\n'
        'update.feedback = "-rate * sign(teach[o]) * pre[i] - 2^-10 * R[o,i]"\n'
        'teach.hidden    = "(R.T @ next) * df(z)"\n'
    ),
    "oja": 'rounding = "dither"\n[update]\nweight = "rate * post[o] * (pre[i] - post[o] * W[o,i])"\n',
    "traced": (
        'rate = "2^-7"\n[trace]\nseen = "seen - 2^-3 * seen + pre"\n'
        '[teach]\nhidden = "clip((B.T @ sign(error, 2^-4)) * df(z), -1, 1)"\n'
        '[update]\nweight = "-rate * teach[o] * seen[i] - 2^-9 * rate * W[o,i]"\n'
        'bias = "-rate * teach[o] - 2^-12 * b[o]"\n'
    ),
}
DEVICES = ["process", *(pytest.param(d, marks=pytest.mark.long) for d in ("unicorn", "qemu"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rule", THREE)
def test_verify(rule: str, device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    c, out = case(tmp_path, sizes=(12, 9, 7, 3)), tmp_path / "out"
    c.rule.write_text(THREE[rule])
    assert main(c.words(out, "--board", "mps2_an386")) == 0
    capsys.readouterr()
    assert main(["verify", str(out), "--data", str(c.data), "--steps", "200", "--device", device]) == 0
    assert capsys.readouterr().out.endswith("verify: 200 steps, 0 differing bytes\n")


def compiled(update: Update, teach: Teach, graph: Graph | None = None, **more: object) -> Compiled:
    spec = RuleSpec("own", update=update, teach=teach, **more)  # type: ignore[arg-type]
    return compile_model(graph or perceptron(5), spec, DATA)


def steps(c: Compiled) -> list[str]:
    return [s.kernel for p, s in c.abstract.steps() if p == "correct"]


def convolution() -> Graph:
    """One convolution over the samples as a row of 16 places, and a classifier."""
    rng = np.random.default_rng(4)
    constants = {"cw": (4, 3), "cb": (4,), "fw": (5, 56), "fb": (5,)}
    tensors = {n: Tensor(n, s, rng.normal(0, 0.3, s)) for n, s in constants.items()}
    shapes = {"x": (16,), "m": (1, 16, 1), "c": (1, 14, 4), "r": (1, 14, 4), "f": (56,), "y": (5,)}
    tensors |= {n: Tensor(n, s) for n, s in shapes.items()}
    window = {"kernel": (1, 3), "stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1}
    nodes = (
        Node("reshape", "rows", ("x",), "m", {"shape": (1, 16, 1)}),
        Node("conv2d", "conv", ("m", "cw", "cb"), "c", window),
        Node("clip", "relu", ("c",), "r", {"lo": 0.0, "hi": np.inf}),
        Node("reshape", "flat", ("r",), "f", {"shape": (56,)}),
        Node("dense", "fc", ("f", "fw", "fb"), "y"),
    )
    return Graph("net", ("x",), "y", tensors, nodes)


def test_convolutions_learn_by_their_own_update() -> None:
    teach = Teach(hidden="sign((W.T @ next) * df(z))")
    made = steps(
        compiled(Update("-rate * clip(teach[o], -0.5, 0.5) * pre[i]"), teach, convolution(), layers="all")
    )
    assert "conv2d.update" in made and not {"statement.matrix", "statement.change"} & {*made}


def test_signs_teach_at_any_rate() -> None:
    """Whole numbers times inputs are coarser than weights: they are shifted to the left, or made finer."""
    for graph, layers in ((perceptron(5), "dense"), (convolution(), "all")):
        teach = Teach("sign(error)", "sign(W.T @ next) * df(z)")
        for rate in (1, 4, 9):
            c = compiled(Update("-rate * sign(teach[o]) * pre[i]"), teach, graph, layers=layers, rate=rate)
            machine = Emulator(c.plan)
            machine.learn({"x": DATA["x"][:1]}, [int(DATA["label"][0])])
            for name in c.learned:
                assert np.any(machine[f"{name}_weight"][0] != c.plan[f"{name}_weight"].array()), name


def test_each_kind_of_layer_has_its_statement() -> None:
    """Where the sum is more than the layer's own update, or its bias goes another way."""
    teach = Teach(hidden="(W.T @ next) * df(z)")
    for untied, weight, bias in ((), "tied", "bias"), (("conv",), "untied", ""):
        for update in (Update(f"{PLAIN} - 2^-9 * W[o,i]"), Update(PLAIN, "-2^-1 * rate * teach[o]")):
            made = steps(compiled(update, teach, convolution(), layers="all", untied=untied))
            changes = [s for s in made if s.startswith("statement")]
            own = [f"statement2d.{weight}", f"statement2d.{bias}" if bias else "statement.change"]
            assert changes == ["statement.matrix", "statement.change", *own]
        made = steps(compiled(Update(PLAIN, "0"), teach, convolution(), layers="all", untied=untied))
        assert [s for s in made if s.startswith("statement")] == ["statement.matrix", f"statement2d.{weight}"]


def test_decay_alone_is_the_kernel_of_decay() -> None:
    made = steps(compiled(Update("-2^-6 * W[o,i]", "0"), Teach()))
    assert made == ["decay.apply", "decay.apply"]


@pytest.mark.parametrize(
    ("hidden", "output"),
    [
        ("-2^-2 * post", ""),
        ("B.T @ (error - 2^-3 * target)", "z - target"),
        ("(R.T @ (next * abs(next))) * df(z)", "3 * error"),
        ("step((W.T @ next) * df(z)) - 2^-1 * step(z)", "sign(error, 2^-3)"),
    ],
)
@pytest.mark.parametrize("numbers", [False, True])
def test_signals_of_all_kinds_teach(hidden: str, output: str, numbers: bool) -> None:
    graph, data = perceptron(5, 3), dict(DATA)
    loss = Loss("mse") if numbers else Loss()
    if numbers:
        data["target"] = np.random.default_rng(2).normal(0, 1, (60, 5)).astype(np.float32)
        del data["label"]
    c = compile_model(
        graph,
        RuleSpec(
            "own", rate=10 if numbers else 6, loss=loss, update=Update(PLAIN), teach=Teach(output, hidden)
        ),
        data,
    )
    machine = Emulator(c.plan)
    for i in range(10):
        one = {n: data[n][i : i + 1] for n in (*c.plan.inputs, *(["target"] if numbers else []))}
        if numbers:
            machine.run("learn_target", inputs=one)
        else:
            machine.learn(one, [int(data["label"][i])])
    for n in ("fc1", "fc2", "fc3"):
        assert np.any(machine[f"{n}_weight"][0] != c.plan[f"{n}_weight"].array()), n


@pytest.mark.parametrize("kind", ["classes", "one output", "numbers"])
def test_a_matrix_learns_of_the_target(kind: str) -> None:
    """B changes by it in real numbers, and the integers follow them."""
    graph, numbers = perceptron(1 if kind == "one output" else 5), kind == "numbers"
    data = dict(DATA) | {"label": DATA["label"] % (2 if kind == "one output" else 5)}
    if numbers:
        data["target"] = np.random.default_rng(2).uniform(-1, 1, (60, 5)).astype(np.float32)
    spec = RuleSpec(
        "own",
        rate=4,
        loss=Loss("mse") if numbers else Loss(),
        update=Update(PLAIN, "", "-rate * (2^-1 * error[c] - target[c]) * post[o]"),
        teach=Teach(hidden="(B.T @ error) * df(z)"),
    )
    c = compile_model(graph, spec, data)
    real, machine = RealMachine(c.abstract.values, c.abstract.programs, 1), Emulator(c.plan)
    for i in range(6):
        label = int(data["label"][i])
        target = np.eye(5)[label] if kind == "classes" else np.array([2.0 * label - 1])
        told = data["target"][i : i + 1] if numbers else np.array([[label]], np.uint16)
        target = told[0] if numbers else target
        before = real.state["fc1_direct_feedback"][0].copy()
        real.load({"x": data["x"][i : i + 1].astype(float), "target" if numbers else "label": told})
        real.run("adapt")
        error, post = real.real("error")[0], np.maximum(real.real("fc1")[0], 0)
        wanted = before - 2.0**-4 * np.outer(0.5 * error - target, post)
        assert np.allclose(real.state["fc1_direct_feedback"][0], wanted, rtol=1e-9, atol=1e-12)
        if numbers:
            machine.run("learn_target", inputs={"x": data["x"][i : i + 1], "target": told})
        else:
            machine.learn({"x": data["x"][i : i + 1]}, [label])
    unit, start = 2.0 ** -c.plan["fc1_direct_feedback"].frac, c.plan["fc1_direct_feedback"].array()
    moved = (machine["fc1_direct_feedback"][0] - start) * unit
    wanted = real.state["fc1_direct_feedback"][0] - start * unit
    assert np.corrcoef(moved.ravel(), wanted.ravel())[0, 1] > 0.99


def test_the_sample_itself_is_no_target_of_a_matrix() -> None:
    update = Update(PLAIN, "", "-rate * target * post")
    spec = RuleSpec("own", loss=Loss("mse", target="input"), update=update, teach=Teach("", "B.T @ error"))
    with pytest.raises(CompileError, match=r'names target, and loss\.target is "input"') as refused:
        compile_model(perceptron(16), spec, DATA)
    assert refused.value.excerpt.split("\n")[1].index("^") - 2 == update.feedback.index("target")


def test_what_reads_no_error_learns_at_every_step() -> None:
    """Under the hinge loss a sample that is right has no error."""
    graph = perceptron(5)
    for name, value in graph.tensors.items():
        if name == "fc2_b" and value.value is not None:
            value.value[...] = [8.0, -8.0, -8.0, -8.0, -8.0]
    for weight, changes in (("rate * post * pre - rate * post * post * W", True), (PLAIN, False)):
        c = compiled(Update(weight), Teach(), graph, loss=Loss("hinge"), rate=8)
        machine = Emulator(c.plan)
        machine.learn({"x": DATA["x"][:1]}, [0])
        assert np.any(machine["fc2_weight"][0] != c.plan["fc2_weight"].array()) == changes


def held(lo: float, hi: float, scale: float, end: bool) -> Graph:
    """A perceptron whose layers, the last one too if `end`, are held within limits that z goes beyond."""
    graph = perceptron(5, 3)
    limits = {"lo": lo, "hi": hi}
    nodes = [replace(n, attrs=limits) if n.op == "clip" else n for n in graph.nodes]
    tensors = {
        n: replace(t, value=t.value * scale) if t.value is not None else t for n, t in graph.tensors.items()
    }
    if not end:
        return replace(graph, nodes=tuple(nodes), tensors=tensors)
    nodes.append(Node("clip", "end", (graph.output,), "held", limits))
    return replace(
        graph, nodes=tuple(nodes), tensors={**tensors, "held": Tensor("held", (5,))}, output="held"
    )


@pytest.mark.parametrize("count", [6, pytest.param(100, marks=pytest.mark.long)])
def test_z_is_what_it_is_before_its_activation(count: int) -> None:
    """Whatever holds a layer within limits, and wherever an equation reads z."""
    places: list[tuple[str, str, str, tuple[str, ...]]] = [
        ("-rate * z * pre", "", "", ("fc1", "fc2", "fc3")),
        (PLAIN, "", "(B.T @ error + 2^-3 * z) * df(z)", ("fc1", "fc2")),
        (PLAIN, "2^-1 * z - target", "", ("fc3",)),
    ]
    data = {"x": DATA["x"], "target": np.random.default_rng(2).uniform(-1, 1, (60, 5)).astype(np.float32)}
    for seed in range(count):
        rng = np.random.default_rng([12, seed])
        hi, end = float(rng.choice([0.25, 0.5, 1.0, np.inf])), bool(rng.integers(2))
        graph = held(float(rng.choice([0.0, -0.5 * min(hi, 1.0)])), hi, float(rng.choice([1.0, 3.0])), end)
        weight, output, hidden, named = places[seed % len(places)]
        spec = RuleSpec("own", rate=8, loss=Loss("mse"), update=Update(weight), teach=Teach(output, hidden))
        c = compile_model(graph, spec, data)
        real = RealMachine(c.abstract.values, c.abstract.programs, 60)
        real.load({"x": data["x"].astype(float)})
        real.run("forward")
        for name in named:
            z, chosen = real.real(name), c.quantised.formats[name]
            most = chosen.meaning.step * chosen.hi
            assert most >= np.quantile(np.abs(z), 0.99), (seed, name, chosen)  # rare peaks may be cut
        if output:
            (signal,) = (s for _, s in c.abstract.steps() if s.kernel == "statement.signal")
            assert "fc3" in signal.args.values()
