"""`init` and `[schedule]`: a network that nobody trained learns on the chip alone, at rates that fall."""

from __future__ import annotations

import itertools
from dataclasses import replace

import conv_nets
import numpy as np
import pytest
from starts import accuracy, blobs, learned, start

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.format import Format
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.program import Step
from synapcc.gen.rules import options, rules
from synapcc.gen.spec import STARTS, Feedback, Head, RuleSpec, Schedule, parse_spec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.host.run.emulator import Emulator

SIZES = (24, 40, 20, 5)


def trained(hi: float = np.inf) -> Graph:
    """A perceptron whose weights are far from any start; hi: of its activations, which begin at 0 or -hi."""
    graph = start(SIZES, "he", seed=5)
    tensors = {n: t if t.value is None else replace(t, value=t.value + 3.0) for n, t in graph.tensors.items()}
    limits = {"lo": 0.0 if np.isinf(hi) else -hi, "hi": hi}
    nodes = tuple(replace(n, attrs=limits) if n.op == "clip" else n for n in graph.nodes)
    return replace(graph, tensors=tensors, nodes=nodes)


def weights(compiled: Compiled) -> dict[str, np.ndarray]:
    """The starts of learned tensors in real numbers, as float runs have them."""
    values = compiled.abstract.values.values()
    return {v.name: v.real for v in values if v.learned and v.real is not None}


@pytest.mark.parametrize("init", STARTS)
def test_nothing_is_left_of_what_was_trained(init: str) -> None:
    spec = RuleSpec("dfa", init=init, seed=7)
    found = weights(compile_model(trained(hi=1.0), spec, blobs(200, 1)))
    for i, (n, m) in enumerate(itertools.pairwise(SIZES), 1):
        limit = {"he": 6 / n, "glorot": 6 / (n + m), "uniform": 1 / n, "zero": 0.0}[init] ** 0.5
        w, b = found[f"fc{i}_weight"], found[f"fc{i}_bias"]
        assert not np.any(b) and np.max(np.abs(w)) <= limit
        assert np.isclose(np.sqrt(np.mean(w**2)), limit / np.sqrt(3), rtol=0.15)
    again = weights(compile_model(trained(hi=1.0), spec, blobs(200, 1)))
    other = weights(compile_model(trained(hi=1.0), replace(spec, seed=8), blobs(200, 1)))
    assert all(np.array_equal(found[n], again[n]) for n in found)
    assert init == "zero" or not np.array_equal(found["fc1_weight"], other["fc1_weight"])


def test_feedback_does_not_start_as_the_weights() -> None:
    """Else `hebbian` would be backpropagation in disguise."""
    found = weights(compile_model(trained(), RuleSpec("hebbian", init="he"), blobs(200, 1)))
    for fc in ("fc2", "fc3"):
        pair = found[f"{fc}_weight"].ravel(), found[f"{fc}_feedback"].ravel()
        assert abs(np.corrcoef(*pair)[0, 1]) < 0.25


@pytest.mark.parametrize("untied", [(), ("conv1",)])
def test_convolutions_start_from_their_taps(untied: tuple[str, ...]) -> None:
    rng = np.random.default_rng(3)
    graph = conv_nets.cnn(rng)
    data = conv_nets.data(rng)
    name = next(n.name for n in graph.nodes if n.op == "conv2d")
    spec = RuleSpec("bp", layers="all", rate=8, init="glorot", untied=untied and (name,))
    compiled = compile_model(graph, spec, data)
    node = next(n for n in graph.nodes if n.name == name)
    filters, taps = graph.tensors[node.inputs[1]].shape
    size = int(np.prod(node.wholes("kernel")))
    w = weights(compiled)[f"{name}_weight"]
    assert w.shape[1] == taps and (len(w) > filters) == bool(untied)
    assert 0.8 < np.max(np.abs(w)) / np.sqrt(6 / (taps + filters * size)) <= 1.0
    assert len(np.unique(w, axis=0)) == len(w), "no two rows start alike"


@pytest.mark.parametrize("rule", ["hebbian", "dfa", "bp"])
def test_it_learns_from_scratch(rule: str) -> None:
    spec = RuleSpec(rule, rate=6, init="he", schedule=Schedule((4000, 6000)))
    compiled = compile_model(trained(), spec, blobs(1000, 1))
    assert any("start from he" in note for note in compiled.graph.notes)
    assert accuracy(compiled, learned(compiled, blobs(1000, 1), 8000), blobs(500, 2)) > 0.95


def test_zero_learns_where_a_matrix_of_its_own_feeds_back() -> None:
    spec = RuleSpec("dfa", rate=5, init="zero")
    compiled = compile_model(trained(hi=1.0), spec, blobs(1000, 1))
    assert accuracy(compiled, learned(compiled, blobs(1000, 1), 8000), blobs(500, 2)) > 0.95


@pytest.mark.parametrize(
    ("spec", "hi", "says"),
    [
        (RuleSpec("bp", init="zero"), 1.0, "hears nothing and would never change"),
        (RuleSpec("sign", init="zero"), 1.0, "hears nothing and would never change"),
        (RuleSpec("dfa", init="zero"), np.inf, "nor a ReLU"),
        (RuleSpec("hebbian", init="zero", feedback=Feedback("aligned")), 1.0, "hears nothing"),
        (RuleSpec("dfa", init="zero", feedback=Feedback("aligned")), 1.0, "it would follow, starts at zero"),
    ],
)
def test_what_would_only_look_as_if_it_learned_is_refused(spec: RuleSpec, hi: float, says: str) -> None:
    with pytest.raises(CompileError, match=says):
        compile_model(trained(hi), spec, blobs(200, 1))


OWN = 'rate = "2^-5"\ninit = "zero"\n'
DOWN = 'update.weight = "-rate*teach*pre - 2^-12*W"\n'


@pytest.mark.parametrize(
    ("text", "hi", "learns"),
    [
        ('update.weight = "rate*post*(pre - post*W)"\n', 1.0, False),
        ('update.weight = "-2^-4*W"\n', 1.0, False),
        (DOWN + 'teach.hidden = "(W.T@next)*df(z)"\n', 1.0, False),
        (DOWN + 'teach.hidden = "(B.T@error)*df(z)"\n', np.inf, False),
        (DOWN + 'teach.hidden = "(B.T@error)*df(z)"\n', 1.0, True),
        ('update.weight = "-rate*teach*pre"\nteach.hidden = "(B.T@error)*df(z)"\n', 1.0, True),
        ('rule = "spsa"\n', 1.0, True),
    ],
)
def test_so_it_is_by_whatever_steps_a_rule_learns(text: str, hi: float, learns: bool) -> None:
    """Equations, forgetting alone and trials: what changes the weights at all is let through, and does."""
    spec = parse_spec(OWN + text, "own.toml", options())
    if not learns:
        with pytest.raises(CompileError, match="fc1: hears nothing and would never change"):
            compile_model(trained(hi), spec, blobs(200, 1))
        return
    compiled = compile_model(trained(hi), spec, blobs(200, 1))
    state = learned(compiled, blobs(200, 1), 200)
    for t in (compiled.plan[f"fc{i}_weight"] for i in (1, 2, 3)):
        assert np.any(state[t.offset : t.offset + t.nbytes])


def test_integers_of_a_file_are_no_start() -> None:
    graph = trained()
    held = Format("int8", 5, -128, 127)
    given = replace(graph, tensors={**graph.tensors, "x": replace(graph.tensors["x"], format=held)})
    with pytest.raises(CompileError, match="the number formats of the model file"):
        compile_model(given, RuleSpec("bp", init="he"), {"x": blobs(50, 1)["x"]})


def test_a_new_classifier_starts_as_head_says() -> None:
    spec = RuleSpec("hebbian", init="he", head=Head(7))
    found = weights(compile_model(trained(), spec, blobs(200, 1)))
    assert found["fc3_weight"].shape[0] == 7 and not np.any(found["fc3_weight"])
    assert np.max(np.abs(found["fc1_weight"])) < 1.0


def test_rows_from_samples_are_means_of_the_features_that_have_started() -> None:
    """As where a file brings those very layers, and not of what the file had trained."""
    spec = RuleSpec("hebbian", rate=10, init="he", head=Head(5, init="prototypes"))
    found = weights(compile_model(trained(), spec, blobs(200, 1)))
    graph = trained()
    tensors = dict(graph.tensors)
    for fc in ("fc1", "fc2"):
        for end, name in (("_w", "_weight"), ("_b", "_bias")):
            tensors[fc + end] = replace(tensors[fc + end], value=found[fc + name])
    given = replace(graph, tensors=tensors)
    same = weights(compile_model(given, replace(spec, init=""), blobs(200, 1)))
    other = weights(compile_model(graph, replace(spec, init=""), blobs(200, 1)))
    for name in ("fc3_weight", "fc3_bias"):
        assert np.array_equal(found[name], same[name]) and not np.allclose(found[name], other[name])


@pytest.mark.parametrize(
    "head", [Head(), Head("+2"), Head("+2", init="prototypes"), Head("+2", init="random")]
)
def test_rows_that_stay_above_layers_that_start_anew_are_refused(head: Head) -> None:
    """They read features that are gone; where their layer alone learns, nothing starts."""
    with pytest.raises(CompileError, match=r"\[head\] keeps rows that read what fc2 had learned"):
        compile_model(trained(), RuleSpec("hebbian", init="he", head=head), rows(5 + head.new))
    compile_model(trained(), RuleSpec("last", init="he", head=head), rows(5 + head.new))


def rows(classes: int) -> dict[str, np.ndarray]:
    """Samples of so many classes."""
    return {**blobs(200, 1), "label": np.arange(200) % classes}


# ---- schedules ------------------------------------------------------------------------------------------


FALLS = (3, 5, 6)


def both(rule: str, fall: int, shift: int) -> tuple[Compiled, Compiled]:
    """A network under a schedule, and the same one under the rates that it has after so many falls."""
    spec = RuleSpec(rule, rate=4, rates=(("fc2", 5),), schedule=Schedule(FALLS, shift))
    by = fall * shift
    plain = replace(spec, rate=4 + by, rates=(("fc2", 5 + by),), schedule=None)
    scheduled, other = (compile_model(start(SIZES, "he"), s, blobs(200, 1)) for s in (spec, plain))
    return scheduled, other


UNPACED = ("es", "hybrid", "prototype", "spsa")  # what they do is no step of `correct` that has a rate


@pytest.mark.parametrize("fall", range(len(FALLS) + 1))
@pytest.mark.parametrize(("rule", "shift"), [("hebbian", 1), ("sdfa", 2)])
def test_a_step_is_one_at_the_rates_whose_turn_it_is(rule: str, shift: int, fall: int) -> None:
    """The state says which: whoever loads one goes on where it was."""
    held_alike(*both(rule, fall, shift), fall)


@pytest.mark.parametrize("rule", sorted(rules().keys() - {"hebbian", "sdfa", *UNPACED}))
def test_so_it_is_under_every_rule(rule: str) -> None:
    """Whatever changes what a rule learns: weights, and matrices beside them that have another shift."""
    held_alike(*both(rule, 2, 2), 2)


@pytest.mark.parametrize("rule", UNPACED)
def test_a_rate_that_would_never_fall_is_refused(rule: str) -> None:
    with pytest.raises(CompileError, match=f"^schedule: .*rule {rule}"):
        both(rule, 1, 1)


def held_alike(scheduled: Compiled, other: Compiled, fall: int) -> None:
    """The first and the last step behind a fall give the bytes of rates that never fell."""
    first, last = ((0, *FALLS)[fall], (*FALLS, 2**32)[fall] - 1)
    data = blobs(20, 3)
    for step in {first, last}:
        a, b = (Emulator(c.plan) for c in (scheduled, other))
        for machine in (a, b):
            t = machine.plan["step"]
            machine.state[0, t.offset : t.offset + 4] = np.array([step], np.uint32).view(np.uint8)
        start_state = a.state.copy()
        for machine in (a, b):
            machine.learn({"x": data["x"][:1]}, data["label"][:1])
        assert np.array_equal(a.state, b.state)
        assert np.count_nonzero(a.state != start_state) > 8, "it learned"


def test_real_numbers_follow_the_schedule_too() -> None:
    scheduled, other = both("bp", 2, 1)
    found = []
    for compiled in (scheduled, other):
        machine = RealMachine(compiled.abstract.values, compiled.abstract.programs, 1)
        machine.state["step"][...] = FALLS[1]
        data = blobs(20, 3)
        machine.load({"x": data["x"][:1].astype(float), "label": data["label"][:1][:, None]})
        machine.run("learn")
        found.append(machine.state)
    assert all(np.array_equal(found[0][n], found[1][n]) for n in found[0])


def test_what_is_arranged_once_is_so_in_all() -> None:
    """Each copy is `correct` but for its numbers, and the state is as large as without."""
    scheduled, other = both("hebbian", 0, 1)
    programs = scheduled.plan.programs
    for name in ("correct_1", "correct_2", "correct_3"):
        pairs = list(zip(programs["correct"].items, programs[name].items, strict=True))
        for a, b in pairs:
            assert isinstance(a, Step) and isinstance(b, Step)
            assert (a.kernel, a.node, a.args) == (b.kernel, b.node, b.args)
            falls = int(name[-1]) * ("rate" in a.attrs)
            assert {k: b.attrs[k] - a.attrs[k] for k in a.attrs if b.attrs[k] != a.attrs[k]} == (
                {"rate": falls, "shift": falls, "bias_shift": falls} if falls else {}
            )
    assert scheduled.plan.state_bytes == other.plan.state_bytes
    assert scheduled.plan.arena_bytes <= 1.25 * other.plan.arena_bytes, "what is read stays for each copy"


def test_a_rate_that_falls_too_far_is_refused() -> None:
    spec = RuleSpec("bp", rate=10, weights="int8", schedule=Schedule((10, 20, 30, 40), 2))
    with pytest.raises(CompileError, match=r"a rate of 2\^-12 needs a shift of 25") as found:
        compile_model(start(SIZES, "he"), spec, blobs(200, 1))
    told = str(found.value)
    assert "behind fall 1 of [schedule], at step 10" in told and "let the rates fall less far" in told
