"""Networks that float computes without loss and whose integers broke: rows and weights of any size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drawn import Drawn
from spoilt_nets import KINDS as SPOILT
from spoilt_nets import SHAPES, spoilt

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.quantiser import normalised
from synapcc.gen.spec import MODES, RuleSpec
from synapcc.gen.stages.absorb import absorbed
from synapcc.gen.stages.answers import Answers
from synapcc.gen.stages.budget import Budget
from synapcc.gen.stages.calibrate import Runs
from synapcc.gen.stages.choose import comparing
from synapcc.gen.stages.equalise import Strength, equalised, extremes, tops
from synapcc.gen.stages.near import ENOUGH, NUDGE, nearby
from synapcc.gen.stages.passes import simplify
from synapcc.gen.stages.quantise import Quantised
from synapcc.gen.stages.rounding import compensated
from synapcc.gen.stages.schedule import build
from synapcc.gen.stages.simulate import Loss, Trial
from synapcc.gen.stages.untie import untie
from synapcc.host.run.agreement import agreement, same_answers
from synapcc.host.run.culprit import LEAST, expected, warning
from synapcc.host.run.emulator import Emulator

KINDS = ("rows", "variance", "weight", "last", "input variance")
Rng = np.random.Generator
INF = math.inf


def perceptron(rng: Rng, kind: str) -> Graph:
    """8-6-4 with a ReLU between, spoilt by a factor of 10 to 10^5."""
    net, factor = Drawn(rng, (8,)), float(10.0 ** rng.uniform(1, 5))
    (w0, b0), (w1, b1) = net.weights(6, 8), net.weights(4, 6)
    at = rng.choice(6, int(rng.integers(1, 4)), replace=False)
    if kind == "rows":
        w0[at], b0[at], w1[:, at] = w0[at] * factor, b0[at] * factor, w1[:, at] / factor
    if kind == "weight":
        w0[at[0], rng.integers(8)] *= min(factor, 1e3)
    if kind == "last":
        w1, b1 = w1 / factor, b1 / factor
    if kind == "input variance":
        net.variance(min(factor, 1e3))
    net.put("dense", (6,), w0, b0)
    behind = rng.integers(2)
    if kind == "variance" and not behind:
        net.variance(min(factor, 1e3))
    net.put("clip", (6,), lo=0.0, hi=INF)
    if kind == "variance" and behind:
        net.variance(min(factor, 1e3))
    net.put("dense", (4,), w1, b1)
    return simplify(net.graph)


def convolutional(rng: Rng) -> Graph:
    """A convolution, a depthwise and a pointwise one, pools and a dense layer; rows scaled and undone."""
    net, factor = Drawn(rng, (6, 6, 2)), float(10.0 ** rng.uniform(1, 5))
    (w0, b0), (w1, b1), (w2, b2) = net.weights(6, 18), net.weights(6, 9), net.weights(8, 6)
    at = rng.choice(6, 2, replace=False)
    w0[at[0]], b0[at[0]], w1[at[0]] = w0[at[0]] * factor, b0[at[0]] * factor, w1[at[0]] / factor
    w1[at[1]], b1[at[1]], w2[:, at[1]] = w1[at[1]] * factor, b1[at[1]] * factor, w2[:, at[1]] / factor
    net.put("conv2d", (6, 6, 6), w0, b0, kernel=(3, 3), padding=(1, 1, 1, 1))
    net.put("clip", (6, 6, 6), lo=0.0, hi=INF)
    net.put("conv2d", (6, 6, 6), w1, b1, kernel=(3, 3), padding=(1, 1, 1, 1), groups=6)
    net.put("prelu", (6, 6, 6), np.full(6, 0.1))
    net.put("maxpool2d", (3, 3, 6), kernel=(2, 2), stride=(2, 2))
    net.put("conv2d", (3, 3, 8), w2, b2, kernel=(1, 1))
    net.put("clip", (3, 3, 8), lo=0.0, hi=INF)
    net.put("reshape", (72,), shape=(72,))
    net.put("dense", (4,), *net.weights(4, 72))
    return simplify(net.graph)


def stacked(rng: Rng, kind: str) -> Graph:
    """Layers of any kind and size, the one at a random place spoilt by a factor of 10^2 to 10^5."""
    maps = bool(rng.integers(2))
    net = Drawn(rng, (6, 6, int(rng.integers(2, 5))) if maps else (int(rng.integers(4, 20)),))
    count = int(rng.integers(2, 5))
    spoilt, factor = int(rng.integers(count)), float(10.0 ** rng.uniform(2, 5))
    undone: np.ndarray | None = None  # what the next layer's columns are divided by
    for place in range(count):
        last, normed = place == count - 1, bool(rng.integers(2))
        if last and maps:
            net.put("reshape", (math.prod(net.shape),), shape=(math.prod(net.shape),))
            undone = None if undone is None else np.tile(undone, math.prod(net.shape) // len(undone))
        depthwise = maps and not last and bool(rng.integers(2))
        channels = net.shape[-1]
        rows = channels if depthwise else int(rng.integers(3, 9))
        columns = 9 if depthwise else channels * (1 if last or not maps else 9)
        w, b = net.weights(rows, columns)
        if undone is not None:
            w = w / undone[:, None] if depthwise else w / np.tile(undone, columns // channels)
            undone = None
        if place == spoilt and kind == "rows" and not last:
            undone = np.ones(rows)
            undone[rng.choice(rows, int(rng.integers(1, 3)), replace=False)] = factor
            w, b = w * undone[:, None], b * undone
        if place == spoilt and kind == "weight":
            w[rng.integers(rows), rng.integers(columns)] *= min(factor, 1e3)
        if last and kind == "last":
            w, b = w / factor, b / factor
        if last or not maps:
            net.put("dense", (rows,), w, b)
        else:
            groups = channels if depthwise else 1
            net.put("conv2d", (6, 6, rows), w, b, kernel=(3, 3), padding=(1, 1, 1, 1), groups=groups)
        if not last:
            if place == spoilt and kind == "variance":
                net.variance(min(factor, 1e3))
            elif normed and undone is None:
                net.variance(1.0)
            net.put("clip", net.shape, lo=0.0, hi=INF)
    return simplify(net.graph)


def measured(graph: Graph, rng: Rng, mode: str) -> tuple[Compiled, float]:
    """(compiled, share of 1,000 new samples that get the class of the float network)."""
    shape = graph.tensors["x"].shape
    seen, new = (rng.normal(0, 1, (n, *shape)).astype(np.float32) for n in (300, 1000))
    compiled = compile_model(graph, RuleSpec("none"), {"x": seen}, quantise=mode)
    got = Emulator(compiled.plan).infer_many({"x": new}).winner
    return compiled, float(np.mean(got == scores(graph, new).argmax(axis=1)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [*KINDS, "convolutional"])
def test_no_kind_breaks(kind: str, mode: str) -> None:
    shares = []
    for seed in range(2 if kind == "convolutional" else 6):
        rng = np.random.default_rng([7, seed])
        graph = convolutional(rng) if kind == "convolutional" else perceptron(rng, kind)
        compiled, share = measured(graph, rng, mode)
        shares.append(share)
        agree = expected(compiled, agreement(compiled)[0])
        assert share >= 0.955 or warning(compiled, agree), (seed, share, agree)
    assert np.mean(shares) >= 0.975, shares


@pytest.mark.parametrize("kind", ["rows", "variance", "weight", "last"])
@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 15), marks=pytest.mark.long)])
def test_no_kind_breaks_wherever_it_stands(kind: str, seeds: range) -> None:
    """What is seen of 1,000 new samples is what of 300 was chosen by, within chance; else a line says it."""
    shares = []
    for seed in seeds:
        rng = np.random.default_rng([12, seed])
        compiled, share = measured(stacked(rng, kind), rng, "fast")
        agree = expected(compiled, agreement(compiled)[0])
        said = warning(compiled, agree)
        assert bool(said) == agree.few and (said or share >= 0.945), (seed, share, agree)
        shares += [] if said else [share]
    assert np.mean(shares) >= 0.97, shares


@pytest.mark.parametrize("mode", MODES)
def test_what_remedies_and_the_search_may_cost_ends_them(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any work left a network is as it was, and a line says so; more work keeps no fewer answers.
    The report says what was left out."""
    kept = []
    for work in (0, 1 << 14, 1 << 37):
        for name in ("REMEDIES", "SEARCH"):
            monkeypatch.setattr(f"synapcc.gen.stages.choose.{name}", work)
        rng = np.random.default_rng([7, 3])
        compiled, _ = measured(perceptron(rng, "variance"), rng, mode)
        assert any(
            f"{'remedies end' if mode == 'fast' else 'ends'} after" in n for n in compiled.graph.notes
        ) == (work < 1 << 37)
        kept.append(agreement(compiled)[0])
        asked = expected(compiled, kept[-1])
        assert bool(warning(compiled, asked)) == asked.few
    assert kept == sorted(kept) and kept[0] < LEAST < kept[-1], kept


@pytest.mark.parametrize("mode", MODES)
def test_no_more_work_is_begun_than_remedies_may_be(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much that is: what is run beyond the usual stays below it, and a note names what was not tried
    as what it is, none or some of it."""
    asked: list[tuple[str, bool]] = []
    may = Budget.may

    def ask(self: Budget, share: float, what: str, work: int) -> bool:
        assert work > 0
        asked.append((what, may(self, share, what, work)))
        assert self.spent <= self.most
        return asked[-1][1]

    monkeypatch.setattr(Budget, "may", ask)
    told = set()
    for power in range(16, 34, 2):
        asked.clear()
        monkeypatch.setattr("synapcc.gen.stages.choose.REMEDIES", 1 << power)
        rng = np.random.default_rng([7, 3])
        x = rng.normal(0, 1, (100, 8)).astype(np.float32)
        notes = compile_model(
            perceptron(rng, "variance"), RuleSpec("none"), {"x": x}, quantise=mode
        ).graph.notes
        for what in {w for w, _ in asked}:
            answers = {allowed for w, allowed in asked if w == what}
            line = f"{what} were not tried: remedies end after 2^{power} multiply-accumulates"
            assert (line in notes) == (answers == {False})
            assert (f"some {line}" in notes) == (answers == {True, False})
            told.add((len(answers), False in answers))
    wanted = {(1, False), (1, True), (2, True)} if mode == "fast" else {(1, False), (1, True)}
    assert told >= wanted, told


@pytest.mark.parametrize("given", [300, 257, 256, 100])
def test_samples_of_a_large_network_that_are_not_run_are_told(
    given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    graph, x = perceptron(rng, "rows"), rng.normal(0, 1, (given, 8)).astype(np.float32)
    for work, run in ((1, min(given, 256)), (1 << 40, given)):
        monkeypatch.setattr("synapcc.gen.stages.calibrate.RUN", work)
        notes = compile_model(graph, RuleSpec("none"), {"x": x}).graph.notes
        told = [n for n in notes if "calibration samples are run" in n]
        assert [n.split(":")[0] for n in told] == (
            [f"{run} of {given} calibration samples are run"] if run < given else []
        )


def test_equalised_by_powers_of_two_it_is_the_same_network() -> None:
    changed = 0
    for seed in range(20):
        rng = np.random.default_rng([8, seed])
        graph = convolutional(rng) if seed % 2 else perceptron(rng, KINDS[seed // 2 % len(KINDS)])
        x = rng.normal(0, 1, (40, *graph.tensors["x"].shape)).astype(np.float32)
        seen = tops(graph, run(graph, x), np.arange(len(x)))
        other = equalised(graph, seen, (), Strength(float(rng.uniform(0.5, 1.0))))
        if other is None:
            continue
        changed += 1
        want, got = scores(graph, x), scores(other, x)
        assert np.array_equal(want, got)
        learned = [n.name for n in graph.nodes if n.op == "dense"][-1]
        kept = equalised(graph, seen, [learned], Strength(1.0)) or graph
        node = next(n for n in kept.nodes if n.name == learned)
        for name in node.inputs[1:]:
            assert np.array_equal(kept.tensors[name].value, graph.tensors[name].value)  # type: ignore[arg-type]
    assert changed >= 10, changed


def run(graph: Graph, x: np.ndarray) -> Runs:
    """The float network over samples x."""
    data = {n: np.asarray(v, np.float64) for n, v in normalised(graph.quantisers, {"x": x}).items()}
    return Runs(build(graph, RuleSpec("none"), None, (), data), data)


def scores(graph: Graph, x: np.ndarray) -> np.ndarray:
    """Of the float network."""
    runs = run(graph, x)
    return np.concatenate([m.real(runs.abstract.logits).copy() for _, m in runs.forward()])


def held(form: str, kind: str, seed: int, samples: int, mode: str) -> tuple[float, str, int]:
    """(share of 2,000 new samples that get the class of the float network, the line on what is lost, how many
    of the samples given lose it)."""
    rng = np.random.default_rng([13, SHAPES.index(form), SPOILT.index(kind), seed])
    graph, draw = spoilt(rng, form, kind)
    compiled = compile_model(graph, RuleSpec("none"), {"x": draw(samples)}, quantise=mode)
    share = np.mean([same_answers(compiled, {"x": draw(1000)}, 1000) for _ in range(2)])
    kept = agreement(compiled)[0]
    return float(share), warning(compiled, expected(compiled, kept)), round((1 - kept) * samples)


@pytest.mark.parametrize(
    ("samples", "seeds"),
    [(32, range(1)), *(pytest.param(n, range(1, 9), marks=pytest.mark.long) for n in (32, 100))],
)
@pytest.mark.parametrize("mode", MODES)
def test_few_samples_mend_what_is_bad_or_a_line_says_it(mode: str, samples: int, seeds: range) -> None:
    """Other forms, other bad scalings: a huge bias, dead and double channels, scores that are near.

    The line is on the samples that were given, and those near them. Where new ones are kept it may stand only
    if several of those given are lost: of 32, of which .99 are kept, two in one network of 25. Where new ones
    are lost it may be missing only if nearly all of those given are kept, as they are by chance.
    """
    silent = false = count = apart = 0
    for seed in seeds:
        for kind in SPOILT:
            for form in SHAPES if len(seeds) > 1 else ["small"]:
                share, line, lost = held(form, kind, seed, samples, mode)
                assert share >= 0.95 or line or (lost < 2 and share >= 0.93), (form, kind, seed, share)
                assert share < 0.985 or not line or lost > 1, (form, kind, seed, share, line)
                apart += share >= 0.985 if line else share < 0.95
                silent, false, count = (
                    silent + (share < 0.97 and not line),
                    false + (share >= 0.97 and bool(line)),
                    count + 1,
                )
    assert silent <= 0.08 * count and false <= 0.08 * count, (silent, false, count)
    assert apart <= 0.02 * count, (apart, count)


def test_samples_near_others_move_as_these_differ() -> None:
    """What never moves stays; and each input of a sample moves as the same others do."""
    for seed in range(10):
        rng = np.random.default_rng([14, seed])
        count, size = int(rng.integers(3, 200)), int(rng.integers(1, 5))
        x = rng.normal(0, 1, (count, size)) * 10.0 ** rng.integers(-3, 4)
        data = {"x": x, "same": np.full((count, 2), 7.0), "twice": 2 * x}
        usual = np.flatnonzero(rng.uniform(0, 1, count) < 0.8)
        usual = usual if len(usual) >= 3 else np.arange(3)
        found, other = nearby(data, usual), nearby(data, usual, 1)
        assert all(len(v) == ENOUGH and np.array_equal(v[:count], data[n]) for n, v in found.items())
        assert np.all(found["same"] == 7.0) and np.allclose(found["twice"], 2 * found["x"])
        moved = found["x"][count:] - x[usual[np.arange(ENOUGH - count) % len(usual)]]
        pairs = NUDGE * (x[usual][:, None] - x[usual]).reshape(-1, size)
        assert all(np.min(np.abs(pairs - m).max(axis=1)) <= 1e-9 * np.abs(x).max() for m in moved[:20])
        assert count > 190 or not np.array_equal(found["x"], other["x"])


def test_a_bias_that_moves_on_changes_no_score() -> None:
    """Through ReLUs, views and pools; not out of a layer that learns, nor into one."""
    moved = 0
    for seed in range(30):
        rng = np.random.default_rng([15, seed])
        graph, draw = spoilt(rng, SHAPES[seed % 4], "bias")
        if seed % 8 == 7:  # weights of their own at every place
            graph = untie(graph, [n.name for n in graph.nodes if n.op == "conv2d"])
        x = draw(60)
        seen = extremes(graph, run(graph, x), np.arange(len(x)))
        other = absorbed(graph, seen, ())
        if other is None:
            continue
        moved += 1
        want = scores(graph, x)
        assert np.allclose(want, scores(other, x), rtol=0, atol=1e-9 * max(1.0, np.abs(want).max()) * 1e3)
        value = [{t.name: t.value for t in g.tensors.values() if t.value is not None} for g in (graph, other)]
        changed = [n for n in value[0] if not np.array_equal(value[0][n], value[1][n])]
        nodes = [n.name for n in graph.nodes if {*changed} & {*n.inputs}]
        assert len(changed) == len(nodes) >= 2
        assert all(absorbed(graph, seen, [n]) is None for n in nodes)
    assert moved >= 8, moved


@pytest.mark.parametrize("mode", MODES)
def test_what_is_simulated_is_what_the_emulator_does(mode: str) -> None:
    for seed in range(2):
        rng = np.random.default_rng([9, seed])
        compiled, _ = measured(convolutional(rng), rng, mode)
        data = compiled.real(compiled.calibration)
        trial = Trial(Runs(compiled.abstract, data), Answers.CLASS)
        assert trial.of(compiled.quantised).agree == agreement(compiled)[0]
        inputs = {n: x.astype(np.float32) for n, x in nearby(compiled.calibration, np.arange(300)).items()}
        trial = Trial(Runs(compiled.abstract, compiled.real(inputs)), Answers.CLASS)
        assert trial.of(compiled.quantised).agree == same_answers(compiled, inputs, ENOUGH)


def test_rounding_makes_up_for_its_errors() -> None:
    for seed in range(30):
        rng = np.random.default_rng([10, seed])
        rows, columns = int(rng.integers(1, 9)), int(rng.integers(1, 30))
        x = rng.normal(0, 1, (200, columns)) @ rng.normal(0, 1, (columns, columns))
        units, gram = rng.normal(0, 40, (rows, columns)), x.T @ x
        got = compensated(units, gram, -127, 127)
        plain = np.clip(np.rint(units), -127, 127)
        assert np.array_equal(got, np.rint(got)) and np.abs(got).max() <= 127
        lost = [np.sum(np.square((v - units) @ x.T), axis=1) for v in (got, plain)]
        assert np.all(lost[0] <= lost[1] * (1 + 1e-9))
    assert np.array_equal(compensated(units, np.zeros_like(gram), -127, 127), plain)


def test_an_unknown_way_is_refused() -> None:
    graph = perceptron(np.random.default_rng(1), "rows")
    with pytest.raises(CompileError, match="quantise: 'worst' is no way to quantise; take fast or best"):
        compile_model(graph, RuleSpec("none"), {"x": np.zeros((4, 8), np.float32)}, quantise="worst")


def test_one_candidate_at_a_time_holds_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that was equalised in three ways needs no more memory for its values than one; the search
    for formats has a trial of its own."""
    trials: list[Trial] = []
    held: list[int] = []
    begun, of = Trial.__init__, Trial.of

    def begin(self: Trial, *args: Any) -> None:
        trials.append(self)
        begun(self, *args)

    def tried(self: Trial, quantised: Quantised) -> Loss:
        loss = of(self, quantised)
        held.append(sum(t._kept is not None for t in trials))
        return loss

    monkeypatch.setattr(Trial, "__init__", begin)
    monkeypatch.setattr(Trial, "of", tried)
    rng = np.random.default_rng(5)
    data = {"x": rng.normal(size=(64, 8))}
    compile_model(perceptron(rng, "rows"), RuleSpec(rule="none"), data, quantise="best")
    assert len(trials) > 4
    assert max(held) <= 2


def test_a_large_network_is_equalised_by_few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `best` may make other networks of is bounded; it says so, and gives the same integers again."""
    rng = np.random.default_rng([7, 3])
    graph, x = perceptron(rng, "variance"), rng.normal(0, 1, (300, 8)).astype(np.float32)

    def made() -> tuple[Compiled, bool]:
        c = compile_model(graph, RuleSpec("none"), {"x": x}, quantise="best")
        return c, any("were compared with 64 samples" in note for note in c.graph.notes)

    whole, said = made()
    assert not said
    monkeypatch.setattr("synapcc.gen.stages.choose.CANDIDATES", 0)
    coarse, said = made()
    assert said and coarse.plan.digest == made()[0].plan.digest
    assert agreement(coarse)[0] >= min(0.97, agreement(whole)[0]) - 0.01
    most = comparing(run(graph, x))
    monkeypatch.setattr("synapcc.gen.stages.choose.COMPARED", most)
    spent = products(monkeypatch, made)
    monkeypatch.setattr("synapcc.gen.stages.choose.COMPARED", most - 1)
    less = products(monkeypatch, made)
    assert 0 < spent - less <= most, (spent, less, most)
    told = "moved biases and equalised channels were not tried: it would be more than"
    assert sum(told in note for note in made()[0].graph.notes) == 1


def products(monkeypatch: pytest.MonkeyPatch, make: Callable[[], object]) -> int:
    """The multiply-accumulates of all samples that `make` runs."""
    found, machine = [0], Runs.machine

    def counted(self: Runs, rows: np.ndarray, *kind: Any) -> Any:
        found[0] += len(rows) * self.work
        return machine(self, rows, *kind)

    with monkeypatch.context() as m:
        m.setattr(Runs, "machine", counted)
        make()
    return found[0]
