"""What a network's answers are, by its outputs, and that remedies and warnings go by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn import Drawn

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.ir.graph import Graph
from synapcc.gen.spec import Loss, RuleSpec
from synapcc.gen.stages.answers import NEAR, Answers, answers
from synapcc.gen.stages.passes import simplify
from synapcc.host.pages.facts import measure
from synapcc.host.run.agreement import agreement
from synapcc.host.run.culprit import LEAST, expected, warning
from synapcc.host.run.emulator import Emulator

INPUTS = 8


def network(rng: np.random.Generator, outputs: int, head: str, factor: float = 1.0) -> Graph:
    """A hidden row is `factor` times the others, and undone in the next layer."""
    net = Drawn(rng, (INPUTS,))
    (w0, b0), (w1, b1) = net.weights(6, INPUTS), net.weights(outputs, 6)
    w0[1], b0[1], w1[:, 1] = w0[1] * factor, b0[1] * factor, w1[:, 1] / factor
    net.put("dense", (6,), w0, b0)
    net.put("clip", (6,), lo=0.0, hi=float("inf"))
    net.put("dense", (outputs,), w1, b1 - b1.mean() if outputs > 1 else np.zeros(1))
    return replace(simplify(net.graph), head=head)


def compiled(outputs: int, head: str, rule: RuleSpec, factor: float = 1.0, n: int = 300) -> Compiled:
    rng = np.random.default_rng([31, outputs])
    data = {"x": rng.normal(0, 1, (n, INPUTS)).astype(np.float32)}
    return compile_model(network(rng, outputs, head, factor), rule, data)


@pytest.mark.parametrize(
    ("outputs", "head", "rule", "kind"),
    [
        (4, "none", RuleSpec("none"), Answers.CLASS),
        (INPUTS, "softmax", RuleSpec("none"), Answers.CLASS),
        (INPUTS, "none", RuleSpec("none"), Answers.NUMBERS),  # it gives its input again
        (1, "sigmoid", RuleSpec("none"), Answers.SIGN),
        (1, "none", RuleSpec("none"), Answers.NUMBERS),
        (1, "none", RuleSpec("bp", rate=6), Answers.SIGN),
        (INPUTS, "none", RuleSpec("bp", rate=6), Answers.CLASS),
        (3, "none", RuleSpec("bp", rate=6, loss=Loss("mse")), Answers.NUMBERS),
    ],
)
def test_its_outputs_say_what_its_answers_are(outputs: int, head: str, rule: RuleSpec, kind: Answers) -> None:
    c = compiled(outputs, head, rule)
    assert answers(c.graph, c.abstract, c.spec) is kind


@pytest.mark.parametrize(("outputs", "head"), [(1, "sigmoid"), (1, "none"), (INPUTS, "none")])
def test_remedies_begin_where_signs_or_numbers_are_lost(outputs: int, head: str) -> None:
    """With too few samples to choose by nothing is done, and a line says what is lost."""
    few, many = (compiled(outputs, head, RuleSpec("none"), 1e3, n) for n in (7, 300))
    lost, kept = agreement(few)[0], agreement(many)[0]
    assert lost < LEAST <= kept and any("equalised" in note for note in many.graph.notes)
    numbers = answers(few.graph, few.abstract, few.spec) is Answers.NUMBERS
    word = (
        f"within 1/{1 / NEAR:.0f} of what samples differ by" if numbers else "the class of the float network"
    )
    said = [w for w in measure(few)["warnings"] if word in w]
    assert said == [warning(few, expected(few, lost))] and not warning(many, expected(many, kept))
    assert word in many.graph.notes[-1]
    same = measure(many)["calibration"]["same_class_as_float"]
    assert same is None if numbers else same == kept


def test_what_is_told_is_what_the_emulator_does() -> None:
    for outputs, head in ((1, "sigmoid"), (1, "none"), (INPUTS, "none")):
        c = compiled(outputs, head, RuleSpec("none"), 1e3, 7)
        x = c.calibration["x"]
        w0, b0, w1, b1 = (
            np.asarray(c.graph.tensors[i].value)
            for n in c.graph.nodes
            if n.op == "dense"
            for i in n.inputs[1:]
        )
        want = np.maximum(x @ w0.T + b0, 0) @ w1.T + b1
        got = c.plan[c.plan.logits].meaning.real(Emulator(c.plan).infer_many({"x": x}).scores)
        kind = answers(c.graph, c.abstract, c.spec)
        if kind is Answers.SIGN:
            same = (want > 0) == (got > 0)
        else:
            middle = np.median(np.max(np.abs(want - np.median(want, axis=0)), axis=1))
            same = np.max(np.abs(got - want), axis=1) <= NEAR * middle
        assert agreement(c)[0] == np.mean(same) < 1.0
