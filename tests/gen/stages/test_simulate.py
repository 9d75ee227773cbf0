"""What rounding costs: a candidate that is like another one is run only where it differs, to the same bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_nets import ANY, accepted

from synapcc.gen.compile import Compiled
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.program import root
from synapcc.gen.ops import changed
from synapcc.gen.stages.answers import Answers
from synapcc.gen.stages.calibrate import Runs, steps
from synapcc.gen.stages.float_run import RealMachine
from synapcc.gen.stages.looks import Choice, Looks
from synapcc.gen.stages.quantise import Quantised, quantise
from synapcc.gen.stages.simulate import Trial, Variant, behind, inferred

NETWORKS = 8


def tried(c: Compiled, looks: Looks, rng: np.random.Generator) -> tuple[Quantised, list[Quantised]]:
    """(the integers of `c`, others with one activation, or the scores, in another format)."""
    base, others = quantise(c.abstract, c.spec, looks, Choice()), []
    for name in looks.observed.runs.names(("activation", "logits")):
        if root(c.abstract.values, name) != name or c.abstract.values[name].format:
            continue
        fracs = {name: base.formats[name].meaning.nearest + int(rng.choice([1, 2, -1]))}
        try:
            others.append(quantise(c.abstract, c.spec, looks, Choice(fracs)))
        except CompileError:
            continue
    return base, others


@pytest.mark.parametrize("seed", [8100, pytest.param(8300, marks=pytest.mark.long)])
def test_what_differs_alone_is_run_and_gives_the_same_scores(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, step = [0], RealMachine._step

    def counted(self: RealMachine, *args: Any) -> None:
        run[0] += 1
        step(self, *args)

    monkeypatch.setattr(RealMachine, "_step", counted)
    rng, compared, less = np.random.default_rng(seed), 0, 0
    for c, _ in accepted(seed, NETWORKS if seed == 8100 else 10 * NETWORKS):
        data = c.real(c.calibration)
        if not len(next(iter(data.values()))):
            continue
        looks = Looks.of(c.graph, c.abstract, c.spec, data, bool(rng.integers(2)))
        base, others = tried(c, looks, rng)
        trial, whole = (Trial(looks.observed.runs, looks.kind) for _ in range(2))
        run[0] = 0
        beside = trial.beside(base, others)
        part, run[0] = run[0], 0
        assert beside == [whole.of(q) for q in others]
        less += part < run[0]
        assert trial.of(base) == whole.of(base)
        names = sorted(inferred(c.abstract))
        sets = [{str(n) for n in rng.choice(names, int(rng.integers(1, 4)))} for _ in range(3)]
        for found, those in zip(trial.alone(base, sets), sets, strict=True):
            parts = whole._parts(Variant(base, those))
            assert found == whole._loss(np.concatenate([p.scores for p in parts]))
        compared += len(others) + len(sets)
        assert all(0 < trial.anew([n]) <= trial.work for n in names)
    assert compared > 3 * NETWORKS and less >= NETWORKS // 2, (compared, less)


def test_what_is_behind_a_value_holds_all_that_reads_it() -> None:
    for c, _ in accepted(ANY, 6):
        names = sorted(inferred(c.abstract))
        for name in names[:: max(1, len(names) // 4)]:
            found = behind(c.abstract, {name})
            for step in steps(c.abstract.programs, "infer"):
                if found & {*step.args.values()}:
                    assert found >= {*changed(step).values()}
        assert c.abstract.logits in behind(c.abstract, {c.abstract.inputs[0]})


def test_samples_are_fewer_where_a_network_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    (c, _), *_ = accepted(ANY, 1)
    data = {n: np.repeat(x, 2000 // len(x) + 1, axis=0) for n, x in c.real(c.calibration).items()}
    whole = Runs(c.abstract, data)
    assert len(whole) == 1024 and whole.work > 0
    monkeypatch.setattr("synapcc.gen.stages.calibrate.RUN", 300 * whole.work)
    assert len(Runs(c.abstract, data)) == 300
    monkeypatch.setattr("synapcc.gen.stages.calibrate.RUN", 3 * whole.work)
    assert len(Runs(c.abstract, data)) == 256


def test_which_answers_stay() -> None:
    rng = np.random.default_rng(3)
    z = rng.normal(0, 1, (400, 3))
    assert Answers.CLASS.same(z, z + 5).all() and not Answers.CLASS.same(z, -z).any()
    one = rng.normal(0, 1, (400, 1))
    assert Answers.SIGN.same(one, 3 * one).all() and not Answers.SIGN.same(one, -one).any()
    spread = np.median(np.max(np.abs(z - np.median(z, axis=0)), axis=1))
    off = np.linspace(0, 2 / 8, 400) * spread
    kept = Answers.NUMBERS.same(z, z + off[:, None] * rng.choice([-1, 1], z.shape))
    assert np.array_equal(kept[:199], np.ones(199)) and not kept[201:].any()
    assert Answers.NUMBERS.same(np.ones((9, 2)), np.ones((9, 2))).all()  # nothing moves
