"""Built-in rules, said in equations, compile to the same bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_nets import random_calibration, random_graph, random_spec

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import Feedback, RuleSpec
from synapcc.gen.spec.own import Teach, Update

LOCAL = "-rate * teach[o] * pre[i]"
SAID: dict[str, tuple[Update, Teach]] = {
    "hebbian": (Update(LOCAL, feedback=LOCAL), Teach(hidden="(R.T @ next) * df(z)")),
    "fa": (Update(LOCAL), Teach(hidden="(R.T @ next) * df(z)")),
    "sign": (Update(LOCAL), Teach(hidden="(sign(W).T @ next) * df(z)")),
    "bp": (Update(LOCAL), Teach(hidden="(W.T @ next) * df(z)")),
    "last": (Update(LOCAL), Teach()),
    "dfa": (Update(LOCAL), Teach(hidden="(B.T @ error) * df(z)")),
    "sdfa": (Update(LOCAL), Teach(hidden="(B.T @ sign(error, 2^-3)) * df(z)")),
    "dkp": (Update(LOCAL, "", "-rate * error[c] * post[o]"), Teach(hidden="(B.T @ error) * df(z)")),
    "drtp": (Update(LOCAL), Teach(hidden="(B.T @ -target) * df(z)")),
}
NETWORKS = 4  # of each rule
LONG = 60


def own(spec: RuleSpec) -> RuleSpec:
    """The rule file that says in equations what a built-in rule does."""
    update, teach = SAID[spec.rule]
    bias = Update(update.weight, "-rate * teach[o]", update.feedback)
    return replace(spec, rule="own", options=(), update=bias if spec.seed % 2 else update, teach=teach)


def but_for_the_name(plan: Plan) -> Plan:
    programs = {n: replace(p, doc="") if n == "correct" else p for n, p in plan.programs.items()}
    return replace(plan, programs=programs)


def compiled(spec: RuleSpec, seed: int) -> str:
    """The digest of a random network's Plan, or what refused it."""
    rng = np.random.default_rng([20261127, seed])
    graph = random_graph(rng, "net")
    drawn = random_spec(rng, graph)
    storage = drawn.feedback.storage if spec.rule in ("dfa", "fa", "sdfa", "drtp", "own") else ""
    kept = (
        "" if storage == "ram" or (spec.rule == "own" and spec.update and spec.update.feedback) else storage
    )
    feedback = Feedback(drawn.feedback.init, "" if drawn.feedback.init == "aligned" else kept)
    layers = drawn.layers if seed % 2 else "all"
    spec = replace(
        drawn,
        rule=spec.rule,
        update=spec.update,
        teach=spec.teach,
        feedback=feedback,
        layers=layers,
        options=(),
    )
    try:
        return but_for_the_name(compile_model(graph, spec, random_calibration(rng, graph)).plan).digest.hex()
    except CompileError as error:
        named = error.line.removeprefix("update.weight: ").removeprefix("update.feedback: ")
        named = named.replace("; rate and numbers of a term count together", "")  # said of equations alone
        return f"refused: {named}"


@pytest.mark.parametrize("count", [NETWORKS, pytest.param(LONG, marks=pytest.mark.long)])
@pytest.mark.parametrize("rule", SAID)
def test_a_built_in_rule_in_equations_is_the_same_plan(rule: str, count: int) -> None:
    made = 0
    for seed in range(count):
        seed += 1000 * list(SAID).index(rule)
        plain = RuleSpec(rule, seed=seed)
        said = own(plain)
        one, other = compiled(plain, seed), compiled(said, seed)
        if "or drop the equation" in other:  # no layer has a matrix that could learn
            assert said.update
            other = compiled(replace(said, update=replace(said.update, feedback="")), seed)
        assert one == other, f"seed {seed}"
        made += not one.startswith("refused")
    assert made >= count / 2
