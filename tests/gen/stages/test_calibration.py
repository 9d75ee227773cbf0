"""Calibration: every sample counts, however few fit into memory at once, and no outlier decides a format."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conv_nets import cnn, data
from counts import counted
from projects import arrays, case
from random_nets import ANY, accepted, random_calibration, random_model

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.program import root
from synapcc.gen.spec import Feedback, RuleSpec
from synapcc.gen.stages import float_run
from synapcc.gen.stages.calibrate import Runs, widest
from synapcc.gen.stages.graph_check import verify
from synapcc.gen.stages.observe import Observed
from synapcc.gen.stages.outliers import severity
from synapcc.host.pages.compile import compile_html
from synapcc.host.pages.facts import measure, summary
from synapcc.host.run.emulator import Emulator

Data = dict[str, np.ndarray]
RULES = [
    RuleSpec("none"),
    RuleSpec("bp", layers="all", rate=6),
    RuleSpec("dfa", layers="all", rate=6, feedback=Feedback("aligned")),
    RuleSpec("hebbian", layers="all", rate=6, untied=("conv2",)),
]


def dense(weights: list[np.ndarray], biases: list[np.ndarray], name: str = "net") -> Graph:
    """Dense layers with ReLU between them, from x to z."""
    tensors, nodes, at = {"x": Tensor("x", (weights[0].shape[1],))}, [], "x"
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        last = i == len(weights) - 1
        out = "z" if last else f"h{i}"
        tensors |= {f"w{i}": Tensor(f"w{i}", w.shape, w), f"b{i}": Tensor(f"b{i}", b.shape, b)}
        tensors[out] = Tensor(out, b.shape)
        nodes.append(Node("dense", f"fc{i}", (at, f"w{i}", f"b{i}"), out))
        if not last:
            tensors[f"a{i}"] = Tensor(f"a{i}", b.shape)
            nodes.append(Node("clip", f"relu{i}", (out,), f"a{i}", {"lo": 0.0, "hi": np.inf}))
            at = f"a{i}"
    return verify(Graph(name, ("x",), "z", tensors, tuple(nodes)))


def trained(x: np.ndarray, y: np.ndarray, hidden: int = 24, steps: int = 1500) -> Graph:
    """A network with one hidden layer that has learned the samples by gradient descent."""
    rng, classes = np.random.default_rng(0), int(y.max()) + 1
    sizes = [(hidden, x.shape[1]), (classes, hidden)]
    w, b = [rng.normal(0, (2 / s[1]) ** 0.5, s) for s in sizes], [np.zeros(s[0]) for s in sizes]
    for _ in range(steps):
        i = rng.integers(0, len(x), 64)
        h = np.maximum(x[i] @ w[0].T + b[0], 0)
        z = h @ w[1].T + b[1]
        p = np.exp(z - z.max(axis=1, keepdims=True))
        d = (p / p.sum(axis=1, keepdims=True) - np.eye(classes)[y[i]]) / 64
        back = (d @ w[1]) * (h > 0)
        for layer, (signal, seen) in enumerate([(back, x[i]), (d, h)]):
            w[layer] -= 0.3 * signal.T @ seen
            b[layer] -= 0.3 * signal.sum(axis=0)
    return dense(w, b)


def blobs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds: what rounding costs shows at once."""
    centres, rng = np.random.default_rng(3).normal(0, 1, (6, 16)), np.random.default_rng(seed)
    y = rng.integers(0, 6, n)
    return centres[y] + rng.normal(0, 1.1, (n, 16)), y


def events(n: int, seed: int, rare: float) -> tuple[np.ndarray, np.ndarray]:
    """Class 0 is near silence; the others are rare, a hundred times larger, and told apart by their shape."""
    shapes, rng = np.random.default_rng(4).normal(0, 1, (5, 20)), np.random.default_rng(seed)
    y = np.where(rng.random(n) < rare, rng.integers(1, 5, n), 0)
    loud = shapes[y] + 0.35 * rng.normal(size=(n, 20))
    return np.where(y[:, None] > 0, loud, 0.01 * rng.normal(size=(n, 20))), y


def accuracy(compiled: Compiled, x: np.ndarray, y: np.ndarray) -> float:
    winner, _, _ = Emulator(compiled.plan, len(x), read_only=True).infer({"x": x.astype(np.float32)})
    return float(np.mean(np.asarray(winner).ravel() == y))


# ---- every sample counts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [pytest.param(s, marks=pytest.mark.long if s.rule in ("dfa", "hebbian") else ()) for s in RULES],
    ids=lambda s: s.rule,
)
def test_chunks_of_any_size_give_the_same_plan(spec: RuleSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    graph, samples = cnn(rng), data(rng)
    whole = compile_model(graph, spec, samples)
    each = sum(v.size for v in whole.abstract.values.values() if v.space == "arena")
    for at_once in (1, 7, 50):
        monkeypatch.setattr(float_run, "ROOM", at_once * each)
        cut = compile_model(graph, spec, samples)
        assert cut.plan.digest == whole.plan.digest
        assert {n: s.clipped for n, s in cut.quantised.seen.items()} == {
            n: s.clipped for n, s in whole.quantised.seen.items()
        }
        a, b = measure(cut), measure(whole)
        assert a["calibration"] == b["calibration"]
        for x, y in zip(a["layers"], b["layers"], strict=True):
            assert x["rms_error"] == pytest.approx(y["rms_error"], rel=1e-9)


@counted(4, 12)
def test_chunks_decide_nothing_on_random_networks(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for compiled, seed in accepted(ANY, count):
        with monkeypatch.context() as m:
            m.setattr(float_run, "ROOM", 1)
            again = random_model(seed)
        assert again.plan.digest == compiled.plan.digest, compiled.plan.model


def test_every_sample_is_seen_where_few_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,024 samples of a residual network 19 decided, and the report had another number."""
    rng = np.random.default_rng(3)
    graph, samples = cnn(rng), data(rng)
    monkeypatch.setattr(float_run, "ROOM", 1)
    for i in (1, 60, 118):
        changed = samples["x"].copy()
        changed[i, 0, 3, 0] = 2.5
        compiled = compile_model(graph, RULES[1], {**samples, "x": changed})
        assert compiled.quantised.seen["x"].hi == 2.5
        report = measure(compiled)["calibration"]
        assert (report["given"], report["samples"], report["taught"], report["labels"]) == (120, 120, 120, 3)


def test_memory_does_not_grow_with_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    graph, samples = cnn(rng), data(rng, 1000)
    monkeypatch.setattr(float_run, "ROOM", 1 << 12)
    abstract = compile_model(graph, RULES[1], samples).abstract
    each = 8 * sum(v.size for v in abstract.values.values() if v.space == "arena")
    tracemalloc.start()
    try:
        runs = Runs(abstract, {n: x.astype(float) for n, x in samples.items()})
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        runs.ranges()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    kept = 8 * len(runs) * len(abstract.values)
    assert peak < kept + each * 100 < each * 1000


def test_samples_beyond_the_cap_are_spread_over_all(tmp_path: Path) -> None:
    """The first 1,024 were taken, whatever order the file had."""
    c, samples = case(tmp_path), arrays(3000)
    samples["input"][2500:] *= 2
    report = measure(compile_model(c.model, c.rule, samples))
    assert (report["calibration"]["given"], report["calibration"]["samples"]) == (3000, 1024)
    seen = next(x for x in report["ranges"] if x["tensor"] == "input")["seen"]
    assert max(-seen[0], seen[1]) > np.abs(samples["input"][:2500]).max()
    assert "1024 of 3000 samples, teaching signals under 3 labels each" in summary(report)


def test_less_is_taught_where_that_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    graph, samples = cnn(rng), data(rng)
    monkeypatch.setattr("synapcc.gen.stages.calibrate.WORK", 1 << 17)
    report = measure(compile_model(graph, RULES[1], samples))
    cal = report["calibration"]
    assert cal["samples"] == 120 and 1 <= cal["taught"] < 120 and cal["labels"] == 2
    assert f"teaching signals of {cal['taught']} under 2 labels each" in summary(report)


@pytest.mark.parametrize("count", [30, pytest.param(600, marks=pytest.mark.long)])
def test_the_frac_is_the_one_that_errs_least(count: int) -> None:
    """Against a plain computation from all values. `best` may then take one that changes scores less."""
    decided, modes = 0, set()
    for compiled, seed in accepted(950, count):
        runs, observed = (kind(compiled.abstract, compiled.calibration) for kind in (Runs, Observed))
        machine = runs.machine(np.arange(len(runs)))
        machine.run("infer")
        modes.add(compiled.quantise)
        values = compiled.abstract.values
        given = {root(values, n) for n in compiled.abstract.inputs}
        for of in {root(values, n) for n in runs.names(("activation",))}:
            x = machine.real(of)[~observed.aside]
            least = widest(127, float(np.max(np.abs(x))))
            errors = [
                np.sum((np.clip(np.rint(x * 2.0**f), -127, 127) * 2.0**-f - x) ** 2)
                for f in range(least, least + 3)
            ]
            wanted = least + int(np.argmin(errors))
            assert observed.activation(of) == wanted, seed
            if of in given and compiled.quantise == "fast":
                assert compiled.plan[of].frac == min(24, wanted), seed
                decided += int(np.argmin(errors)) > 0
    assert decided > 0 and modes == {"fast", "best"}


def test_shares_that_are_clipped_are_exact() -> None:
    """Also of values that share another's format: a clip decides for what comes before it."""
    clipped, shared = 0, 0
    for compiled, _ in accepted(960, 60):
        runs = Runs(compiled.abstract, compiled.calibration)
        machine = runs.machine(np.arange(len(runs)))
        machine.run("infer")
        for name in runs.names(("activation", "logits")):
            fmt, x = compiled.quantised.formats[name], machine.real(name)
            scaled, held = (
                fmt.meaning.units(x),
                fmt.meaning.zero == 0,
            )  # else what is below 0 is meant to be 0
            share = float(np.mean(((scaled < fmt.lo) & held) | (scaled > fmt.hi)))
            assert compiled.quantised.seen[name].clipped == pytest.approx(share, abs=1e-12)
            clipped += share > 0
            shared += share > 0 and compiled.abstract.values[name].tie != ""
    assert clipped > 5 and shared > 5


@pytest.mark.parametrize("hi", [127, 1023, 32767])
def test_the_widest_frac_is_exact(hi: int) -> None:
    for top in [hi * 2.0**k for k in range(-60, 61)] + [1.0, 3e-7, 5e-324, 1e308]:
        frac = widest(hi, top)
        assert np.ldexp(top, frac) <= hi and (frac == 1020 or np.ldexp(top, frac + 1) > hi)


def test_floats_that_overflow_are_refused() -> None:
    rng = np.random.default_rng(3)
    graph, samples = cnn(rng), data(rng)
    wide = samples["x"].astype(np.float64)
    wide[7] = 1e38
    tensors = {n: t if t.value is None else replace(t, value=100 * t.value) for n, t in graph.tensors.items()}
    graph = replace(graph, tensors=tensors)
    with pytest.raises(
        CompileError, match=r"calibration sample 7 drives this value to .* beyond what a float32 holds"
    ):
        compile_model(graph, RuleSpec("none"), {"x": wide})


# ---- outliers -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clouds() -> tuple[Graph, np.ndarray, np.ndarray, np.ndarray]:
    x, y = blobs(3000, 1)
    return trained(x, y), x[:400], *blobs(3000, 2)


@pytest.mark.parametrize("factor", [30.0, 100.0, 1e3, 1e6])
@pytest.mark.parametrize(("samples", "values"), [(1, 1), (1, 4), (4, 4), (8, 1), (4, 16)])
def test_outliers_cost_nothing(
    clouds: tuple[Graph, np.ndarray, np.ndarray, np.ndarray], factor: float, samples: int, values: int
) -> None:
    """Four values a hundred times too large in one sample took an accuracy from .82 to .69."""
    graph, usual, x, y = clouds
    clean = compile_model(graph, RuleSpec("none"), {"x": usual})
    rng = np.random.default_rng([int(factor), samples, values])
    broken, rows = usual.copy(), np.sort(rng.choice(400, samples, replace=False))
    for row in rows:
        at = rng.choice(16, values, replace=False)
        broken[row, at] = factor * np.abs(usual).max() * rng.choice([-1, 1], values)
    found = compile_model(graph, RuleSpec("none"), {"x": broken})
    assert np.flatnonzero(found.quantised.sampled.aside).tolist() == rows.tolist()
    assert found.plan["x"].frac == clean.plan["x"].frac
    assert abs(accuracy(found, x, y) - accuracy(clean, x, y)) < 0.01
    seen = found.quantised.seen["x"]
    assert seen.aside == samples and seen.clipped >= samples * values / usual.size
    assert seen.factor == pytest.approx(factor, rel=0.2)


def test_what_was_set_aside_is_told(clouds: tuple[Graph, np.ndarray, np.ndarray, np.ndarray]) -> None:
    graph, usual, _, _ = clouds
    broken = usual.copy()
    broken[17, :4] = 100 * np.abs(usual).max()
    report = measure(compile_model(graph, RuleSpec("none"), {"x": broken}))
    line = "x: 1 of 400 calibration samples holds values up to 100 times larger than the rest; "
    assert report["calibration"]["outliers"] == [17]
    assert f"warning: {line}its format ignores them" in summary(report)
    assert line in compile_html(report) and "1 of them set aside as outliers" in compile_html(report)
    assert next(x for x in report["ranges"] if x["tensor"] == "x")["aside"] == 1


@pytest.mark.parametrize("rare", [0.01, 0.03])
def test_rare_large_samples_that_the_network_is_for_are_kept(rare: float) -> None:
    """They are a hundred times larger than the rest, and without them four classes of five are lost."""
    x, y = events(3000, 1, 0.5)
    graph = trained(x, y)
    usual, _ = events(500, 3, rare)
    compiled = compile_model(graph, RuleSpec("none"), {"x": usual})
    assert not compiled.quantised.sampled.aside.any() and compiled.quantised.warnings(("x",)) == []
    assert accuracy(compiled, x, y) > 0.99
    usual[11, :3] = 1e5  # and an outlier beside them is still one
    compiled = compile_model(graph, RuleSpec("none"), {"x": usual})
    assert compiled.quantised.sampled.aside[11] and accuracy(compiled, x, y) > 0.99


def test_an_outlier_that_only_a_hidden_layer_sees(
    clouds: tuple[Graph, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Two features are alike but in one sample, where their difference is what a hidden unit multiplies."""
    graph, usual, x, y = clouds
    w = [graph.tensors[f"w{i}"].value for i in range(2)]
    b = [graph.tensors[f"b{i}"].value for i in range(2)]
    assert w[0] is not None and w[1] is not None and b[0] is not None and b[1] is not None
    unit = np.zeros((1, 18))
    unit[0, 16:] = 200, -200
    wider = np.concatenate([np.pad(w[0], ((0, 0), (0, 2))), unit])
    out = np.pad(w[1], ((0, 0), (0, 1)), constant_values=0.001)
    both = dense([wider, out], [np.append(b[0], 0.0), b[1]])  # type: ignore[list-item]

    def extended(z: np.ndarray) -> np.ndarray:
        return np.concatenate([z, np.repeat(z[:, :1], 2, axis=1)], axis=1)

    clean = compile_model(both, RuleSpec("none"), {"x": extended(usual)})
    broken = extended(usual)
    broken[5, 16:] = 3, -3
    found = compile_model(both, RuleSpec("none"), {"x": broken})
    assert np.flatnonzero(found.quantised.sampled.aside).tolist() == [5]
    assert found.plan["relu0"].frac == clean.plan["relu0"].frac and found.quantised.seen["x"].aside == 0
    assert [w.split(":")[0] for w in found.quantised.warnings(("x",))] in (["fc0"], ["relu0"])
    assert abs(accuracy(found, extended(x), y) - accuracy(clean, extended(x), y)) < 0.01


@pytest.mark.parametrize("rule", ["bp", "fa", "dfa", "hebbian", "last"])
def test_teaching_signals_ignore_outliers_too(
    clouds: tuple[Graph, np.ndarray, np.ndarray, np.ndarray], rule: str
) -> None:
    graph, usual, _, _ = clouds
    spec = RuleSpec(rule, layers="all" if rule != "last" else ("fc1",), rate=8)
    clean = compile_model(graph, spec, {"x": usual})
    broken = usual.copy()
    broken[40] *= 1e4
    found = compile_model(graph, spec, {"x": broken})
    fracs = [{t.name: t.frac for t in c.plan.tensors} for c in (clean, found)]
    assert fracs[0] == fracs[1]


def test_a_feature_that_is_mostly_zero_is_no_outlier() -> None:
    """Samples in which a value is zero throughout do not say what is usual."""
    rare = np.zeros(500)
    rare[:25] = np.linspace(1, 2, 25)
    assert np.all(severity({"rare": rare, "usual": np.ones(500)}) < 3)
    assert np.all(severity({"few": np.array([1.0, 1, 1, 1e6])}) == 0)


def test_ordinary_data_set_nothing_aside() -> None:
    rng = np.random.default_rng(8)
    for compiled, _ in accepted(ANY, 12):
        samples = random_calibration(rng, compiled.graph)
        if set(samples) >= set(compiled.graph.inputs):
            spec = replace(compiled.spec, replay=None)
            try:
                found = compile_model(compiled.graph, spec, samples)
            except CompileError:
                continue
            assert sum(s.aside for n, s in found.quantised.seen.items() if n in found.plan.inputs) == 0


@pytest.mark.parametrize("rule", ["none", "bp"])
@pytest.mark.parametrize("n", [12, 30, 100, 300])
def test_an_outlier_makes_no_feature_small(n: int, rule: str) -> None:
    """What is set aside does not count when features are compared: the format does not reach for it."""
    rng = np.random.default_rng(n)
    weights = [rng.normal(0, 0.4, (24, 10)), rng.normal(0, 0.3, (3, 24))]
    net = dense(weights, [rng.normal(0, 0.1, 24), np.zeros(3)])
    x = rng.normal(0, 1, (n, 10))
    x[n // 2, rng.choice(10, 4, replace=False)] *= 200
    told = compile_model(net, RuleSpec(rule), {"x": x}).warnings
    assert any(f"1 of {n} calibration samples" in line for line in told), told
    assert not any("differ in range" in line for line in told), told


@pytest.mark.parametrize("size, at", [(1e5, 0.0), (1.0, 3000.0)])
def test_a_refusal_of_formats_names_the_uneven_input(size: float, at: float) -> None:
    """A rate or a start that fits no format is most often the inputs' doing, which the warning would say."""
    rng = np.random.default_rng(4)
    sizes = np.array([size, *[1.0] * 7])
    w = rng.normal(0, 0.4, (24, 8)) / sizes
    net = dense([w, rng.normal(0, 0.3, (3, 24))], [-w.sum(axis=1) * at, np.zeros(3)])
    x = (rng.normal(0, 1, (200, 8)) + at) * sizes
    with pytest.raises(CompileError, match="input x: its features differ in range") as refused:
        compile_model(net, RuleSpec("bp", rate=1), {"x": x})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given, copied", [(40, False), (1030, True)])
def test_runs_of_all_samples_copy_none_of_them(given: int, copied: bool) -> None:
    """Each candidate of `best` has its runs; images of all samples are the most of what these hold."""
    rng = np.random.default_rng(1)
    graph = dense([rng.normal(size=(3, 5))], [np.zeros(3)])
    c = compile_model(graph, RuleSpec("none"), {"x": rng.normal(size=(given, 5))})
    runs = Runs(c.abstract, c.calibration)
    assert np.array_equal(runs.inputs["x"], c.calibration["x"][runs.chosen])
    assert np.shares_memory(runs.inputs["x"], c.calibration["x"]) != copied
