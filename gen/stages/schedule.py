"""From a graph, a rule and a rule file to the abstract programs: what runs when, all of it decided here.

forward            activations and logits of the inputs in the arena
infer     (entry)  forward, then the verdict
correct            what the rule does with a sample that was not yet right
accumulate         correct, whose changes add up, and `optimise` where that is due: in place of correct alone
adapt              forward, error, correct if there is any error, step counter, decay; with a freeze,
                   correct and decay while learning does not pause
learn     (entry)  keep the sample if there is a store, adapt, and a replayed base example when one is due
rehearse  (entry)  one pass over the kept samples, each as `adapt`, replay included
imprint   (entry)  keep the sample if there is a store, forward, the classifier's row of its class
learn_unlabelled   forward; where the verdict leads by enough it is the label, and adapt (entry)
push      (entry)  raw samples through the front end, and infer where a window has ended (stream.py)

Behind these come the entry programs of the rule's own. Where there is a guard, it watches over all of them
(guard.py), and adds `settle`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ..ir.inputs import TARGET, listed
from ..ir.plan import LEARNING, UNLABELLED
from ..ir.program import Abstract, Builder, Entry, Value
from ..ir.roles import MAX_CLASSES
from ..ops import hinge_error, softmax_error
from ..rules import Rule, RuleTape
from ..spec import BALANCED, OLDEST, Decay, RuleSpec
from . import anomaly
from .answers import large, scale
from .classes import refuse_unheard, weighed
from .gather import asked, correcting
from .guard import TEACHES_ITSELF, guarded
from .head import classifier, fitted
from .memory import loaded
from .pending import ALL_BUT
from .probe import forward, input_sizes, jacobians, known_means, predictors, seen
from .stream import forgets, streamed
from .tables import Table, examples, ring
from .timed import refuse_twice


def build(
    graph: Graph,
    spec: RuleSpec,
    rule: Rule | None,
    learned: tuple[str, ...],
    calibration: Mapping[str, np.ndarray],
) -> Abstract:
    """The abstract programs of `graph` under `rule` (None: inference only).

    calibration: the inputs by name, float64 [n, *shape], and `label` [n] if there are labels.
    """
    tape = RuleTape(graph, spec, learned)
    forward(tape, rule.watched(tape) if rule else frozenset())
    if rule:
        _refuse(tape)
        if spec.loss.class_weights:
            tape.spec = spec = weighed(spec, tape.classes, calibration)
        rule.check(tape)
        tape.set_jacobians(lambda: jacobians(tape, calibration))
        tape.set_input_sizes(lambda: input_sizes(graph, calibration))
        tape.set_prototypes(lambda: known_means(tape, calibration))
        tape.set_predictors(lambda: predictors(tape, calibration))
        if spec.numbers:  # without targets the scores of others are taught
            wanted = calibration.get(graph.inputs[0] if spec.itself else TARGET)
            scores = cache(lambda: seen(graph, spec, calibration, graph.output)[1])
            tape.set_large(
                lambda: large(scores() if wanted is None else wanted),
                lambda: scale(scores() if wanted is None else wanted, scores()),
            )
        rule.programs(tape)
    if "infer" not in tape.b.programs:
        with tape.b.program("infer", "class, margin and scores of the inputs"):
            tape.emit_forward()
            tape.emit_verdict()
    names = tuple(tape.value(n) for n in graph.inputs)
    entries = [Entry("infer", names)]
    if rule:
        if "adapt" not in tape.b.programs:
            _adapt(tape, rule, calibration)
        else:
            _refuse_own(spec, rule)
        _replay(tape, calibration)
        entries += _learn(tape, names)
        if spec.anomaly:
            entries += anomaly.entries(tape, spec.anomaly, names)
        if spec.head and spec.head.imprint:
            entries.append(_imprint(tape, calibration, spec.head.imprint))
        if spec.pseudo:
            entries.append(_unlabelled(tape, spec.pseudo.margin))
        if spec.mark and spec.mark.deny:
            _but(tape)
        entries += tape.entries
        if spec.guard:
            entries.append(guarded(tape, spec.guard, calibration))
    if spec.frontend:
        entries += streamed(tape, spec.frontend)
    if spec.frontend or spec.state:
        entries += forgets(tape)
    b = tape.b
    _check_entries(b, entries)
    if spec.state:
        refuse_twice(b, entries, spec.rule)
    return Abstract(
        graph.name, b.values, b.programs, tuple(entries), graph.inputs, tape.logits, tape.classes, b.slower
    )


def _check_entries(b: Builder, entries: Sequence[Entry]) -> None:
    """Raises CompileError where an entry program reads inputs that its caller does not give, or nobody gives
    one."""
    inputs = [v.name for v in b.values.values() if v.use == "input"]
    for e in entries:
        if strange := [n for n in e.inputs if n not in inputs]:
            raise CompileError(e.name, f"{listed(strange)} is no input", f"inputs are {listed(inputs)}")
        missing = loaded(b.programs, e.name, [*inputs, "label"]) - {*e.loaded}
        if missing:
            what = f"the entry program reads {listed(sorted(missing))}, which its caller does not give"
            raise CompileError(e.name, what, "name these among its inputs, or fill them before they are read")
    given = {name for e in entries for name in e.inputs}
    for name in inputs:
        if name not in given:
            raise CompileError(name, "no entry program takes this input", "give it to one, or leave it out")


def _refuse(tape: RuleTape) -> None:
    """Raises CompileError for a network that no rule can teach."""
    if tape.spec.numbers and tape.spec.store and tape.spec.store.drop == BALANCED:
        what = f'is "{BALANCED}", and loss.kind is "mse": numbers have no classes'
        raise CompileError("store.drop", what, f'take "{OLDEST}"')
    if tape.spec.numbers and tape.spec.loss.class_weights:
        raise CompileError("loss.class_weights", 'belongs to classes, and loss.kind is "mse"', "leave it out")
    if tape.spec.numbers and tape.spec.head and tape.spec.head.imprint:
        raise CompileError("head.imprint", 'makes a row of a class, and loss.kind is "mse"', "leave it out")
    if tape.spec.itself:
        inputs = [tape.b.values[tape.value(n)] for n in tape.graph.inputs]
        if len(inputs) > 1 or inputs[0].size != tape.scores:
            what = f'is "input", and of {len(inputs)} inputs the first has {inputs[0].size} values'
            hint = "the one input must have as many values as there are outputs"
            raise CompileError("loss.target", f"{what}, the output {tape.scores}", hint)
        if (held := inputs[0].format) is not None and held.dtype != "int8":
            what = f'is "input", and input {inputs[0].name} is {held.dtype}: the error takes int8'
            raise CompileError("loss.target", what, 'take target = "given", or a network of int8')
    if tape.binary and tape.spec.loss.kind != "softmax":
        what = f'is "{tape.spec.loss.kind}", and the network has one output'
        raise CompileError(
            "loss.kind", what, 'take "softmax": the sigmoid of one output is the softmax of two'
        )
    if tape.classes > MAX_CLASSES and not tape.spec.numbers:
        what = f"the network has {tape.classes} classes"
        hint = f"labels have 16 bits: learning takes up to {MAX_CLASSES} classes"
        raise CompileError(tape.graph.output, what, hint)
    if tape.spec.loss.kind == "softmax" and tape.classes > softmax_error.MOST:
        what = f'is "softmax", and the network has {tape.classes} classes'
        hint = f'up to {softmax_error.MOST} are possible, {hinge_error.MOST + 1} under "hinge"'
        raise CompileError("loss.kind", what, hint)


def _refuse_own(spec: RuleSpec, rule: Rule) -> None:
    """Raises CompileError for what belongs to the usual `adapt`, where a rule has one of its own."""
    what = f"rule {rule.name} decides itself what a learning step does"
    if spec.schedule:
        raise CompileError("schedule", what, "leave [schedule] out")
    if key := asked(spec):
        raise CompileError(key, what, f"leave [{key}] out")
    if spec.freeze:
        raise CompileError("freeze", what, "leave [freeze] out")
    if spec.anomaly:
        raise CompileError("anomaly", what, "leave [anomaly] out")
    if not spec.loss.plain:
        raise CompileError("loss", what, "leave class_weights, clip and skip_below out")


def _adapt(tape: RuleTape, rule: Rule, calibration: Mapping[str, np.ndarray]) -> None:
    step = (tape.wanted, tape.samples_learned, tape.error)[1]  # the order of the tensors
    with tape.b.program("correct", f"{rule.name}: {rule.doc}"):
        rule.correct(tape)
    if not tape.spec.loss.plain:
        refuse_unheard(tape, rule)
    if tape.spec.decay:
        with tape.b.program("decay", "every learned weight a little smaller"):
            shift = tape.spec.decay.shift
            for name in [n for n, v in tape.b.values.items() if v.learned and v.role != "bias"]:
                rounding = tape.rounding(f"{name}_decay")
                tape.step("decay.apply", name, {"w": name, "step": step}, shift=shift, **rounding)
        if tape.spec.freeze or tape.spec.anomaly:
            with tape.b.program("decay_in_turn", "decays where that is due"):
                _emit_decay(tape, tape.spec.decay)
    corrects = correcting(tape)
    if tape.spec.freeze and not rule.waits:
        what = f"rule {rule.name} learns from samples without an error, too"
        raise CompileError("freeze", what, "leave [freeze] out")
    if tape.spec.anomaly:
        anomaly.refuse(tape, rule)
        first = anomaly.starting(tape, calibration, tape.spec.anomaly.quantile)
        if tape.spec.anomaly.block:
            anomaly.best_weights(tape)
    with tape.b.program("adapt", _adapts(tape)):
        tape.emit_forward()
        taught = tape.emit_loss()
        awake = tape.emit_watch(tape.spec.freeze, taught) if tape.spec.freeze else ""
        if tape.spec.anomaly:
            awake = anomaly.watched(tape, tape.spec.anomaly, taught, first)
        if rule.waits:
            tape.b.when(taught, corrects)
        else:
            tape.b.call(corrects)
        tape.emit_tick()
        if tape.spec.decay and not awake:
            _emit_decay(tape, tape.spec.decay)
        elif tape.spec.decay:
            tape.b.when(awake, "decay_in_turn")


def _emit_decay(tape: RuleTape, decay: Decay) -> None:
    phase = tape.counter("decay_phase", "samples since the last decay")
    due = {"phase": phase, "flag": tape.flag("decay_due")}
    tape.step("counter.every", "decay", due, period=decay.every)
    tape.b.when("decay_due", "decay")


def _adapts(tape: RuleTape) -> str:
    return f"learns from the inputs{tape.wanted and f' and the {tape.wanted}'} in the arena"


def _replay(tape: RuleTape, calibration: Mapping[str, np.ndarray]) -> None:
    """Program `replay_one` on class-balanced base examples in flash; `refresh` runs it when it is due."""
    replay = tape.spec.replay
    if not replay:
        return
    table = examples(tape, calibration, replay.samples, "replay", ("replay", "leave [replay] out"))
    cursor = tape.counter("replay_next", "the base example that comes next")
    index = tape.add(Value("replay_index", (1,), "arena", "counter"))
    with tape.b.program("replay_one", "learns once more from a base example in flash"):
        picked = {"count": table.count, "next": cursor, "index": index, "flag": tape.flag("replay_valid")}
        tape.step("samples.pick", "replay", picked, rows=table.rows)
        table.read(tape, "replay", index)
        tape.b.call("adapt")
    phase = tape.counter("replay_phase", "new samples since the last replay")
    with tape.b.program("refresh", "a base example, when one is due"):
        due = {"phase": phase, "flag": tape.flag("replay_due")}
        tape.step("counter.every", "replay", due, period=replay.every)
        tape.b.when("replay_due", "replay_one")


def _learn(tape: RuleTape, names: tuple[str, ...]) -> list[Entry]:
    """Program `learn`, or `learn_target` where numbers are learned; with a store, those beside it."""
    store = tape.spec.store
    if store:
        keep = "keep", "puts the sample into the ring of the wearer's samples"
        table = ring(tape, "store", store.samples, store.drop, keep)
    named, given, itself = LEARNING
    learn = Entry(named, names, label=True)
    doc = "one labelled sample of the wearer"
    if tape.spec.itself:
        learn, doc = Entry(itself, names), "one sample of the wearer, to be said again"
    elif tape.spec.numbers:
        learn, doc = Entry(given, (*names, tape.target)), "one sample of the wearer and its target"
    with tape.b.program(learn.name, doc):
        if store:
            tape.b.call("keep")
        tape.b.call("adapt")
        if tape.spec.replay:
            tape.b.call("refresh")
    if not store:
        return [learn]
    _rehearse(tape, table, store.order == "shuffled")
    return [learn, Entry("rehearse")]


def _rehearse(tape: RuleTape, table: Table, shuffled: bool) -> None:
    cursor = tape.counter("rehearse_next", "the kept sample that is rehearsed next")
    index = tape.add(Value("rehearse_index", (1,), "arena", "counter"))
    flag = tape.flag("rehearse_valid")
    with tape.b.program("rehearse_sample", "learns once more from one kept sample"):
        table.read(tape, "rehearse", index)
        tape.b.call("adapt")
        if tape.spec.replay:
            tape.b.call("refresh")
    with tape.b.program("rehearse_next", "the next kept sample, if there is one"):
        picked = {"count": table.count, "next": cursor, "index": index, "flag": flag}
        tape.step("samples.pick", "rehearse", picked, rows=table.rows)
        if shuffled:  # the cursor still counts the pass: as many draws as there are samples
            drawn = {"count": table.count, "step": "step", "index": index}
            tensor = tape.tensor_id("rehearse_index")
            tape.step("samples.draw", "rehearse", drawn, rows=table.rows, seed=tape.spec.seed, tensor=tensor)
        tape.b.when(flag, "rehearse_sample")
    with tape.b.program("rehearse", "one pass over the kept samples"):
        tape.step("samples.rewind", "rehearse", {"next": cursor})
        tape.b.repeat(table.rows, "rehearse_next")


def _imprint(tape: RuleTape, calibration: Mapping[str, np.ndarray], most: int) -> Entry:
    """Entry program `imprint`: the classifier's row of a label from its first samples."""
    node = classifier(tape.graph)
    assert node is not None and tape.is_learned(node)
    x, rows = node.inputs[0], len(tape.constant(node.inputs[1]))
    if rows < 2:
        raise CompileError("head.imprint", "the classifier has one output", "leave it out")
    chosen, features = seen(tape.graph, tape.spec, calibration, x)
    labels = calibration["label"][chosen].astype(np.intp) if "label" in calibration else None
    weight, bias = (tape.constant(name) for name in node.inputs[1:])
    means = fitted(features, labels, weight, bias, most)
    centre = Value(f"{node.name}_centre", means.centre.shape, "const", "activation", means.centre)
    note = "samples that made each row"
    count = Value(f"{node.name}_imprinted", (rows,), "state", "counter", ints=np.zeros(rows, int), note=note)
    args = {
        "x": tape.value(x),
        "label": tape.label,
        "centre": tape.add(replace(centre, tie=tape.value(x))),
        "w": f"{node.name}_weight",
        "b": f"{node.name}_bias",
        "count": tape.add(count),
    }
    if twin := _follower(tape, node):
        args["twin"] = twin
    with tape.b.program("imprint", f"the row of a class from its first {most} samples"):
        if tape.spec.store:
            tape.b.call("keep")
        tape.emit_forward()
        tape.step("imprint.row", node, args, most=most, gain=means.gain, level=means.level)
    return Entry("imprint", tuple(tape.value(n) for n in tape.graph.inputs), label=True)


def _unlabelled(tape: RuleTape, margin: float) -> Entry:
    """Entry program `learn_unlabelled`: a sample whose label is the network's own verdict, where that leads
    by `margin`. Such samples are not kept: a store is of what the wearer has said."""
    if tape.spec.numbers:
        raise CompileError("pseudo", 'is a label, and loss.kind is "mse": numbers have none', "leave it out")
    sure = tape.flag("pseudo_sure")
    _itself(tape)
    with tape.b.program(
        UNLABELLED, "one sample without a label, learned under a verdict that leads by enough"
    ):
        tape.emit_forward()
        args = {"z": tape.logits, "label": tape.label, "sure": sure}
        tape.step("pseudo.sign" if tape.binary else "pseudo.argmax", "pseudo", args, margin=margin)
        tape.b.when(sure, TEACHES_ITSELF)
    return Entry(UNLABELLED, tuple(tape.value(n) for n in tape.graph.inputs))


def _itself(tape: RuleTape) -> None:
    """The program that learns under a label of the network's own, once."""
    if TEACHES_ITSELF in tape.b.programs:
        return
    with tape.b.program(TEACHES_ITSELF, "learns from the inputs and the verdict on them"):
        tape.b.call("adapt")
        if tape.spec.replay:
            tape.b.call("refresh")


def _but(tape: RuleTape) -> None:
    """Program `learn_but`: the inputs learn, under the likeliest class but for the label. They are not kept,
    nor held back by a guard: nobody has said what they are."""
    if tape.spec.numbers:
        raise CompileError("mark.deny", 'is of classes, and loss.kind is "mse"', "leave it out")
    _itself(tape)
    with tape.b.program(
        ALL_BUT, "a sample that is not of the label's class, learned as the likeliest other one"
    ):
        tape.emit_forward()
        if tape.binary:
            tape.step("pseudo.other", "deny", {"label": tape.label})
        else:
            tape.step("pseudo.but", "deny", {"z": tape.logits, "label": tape.label})
        tape.b.call(TEACHES_ITSELF)


def _follower(tape: RuleTape, node: Node) -> str:
    """The learned feedback matrix that changes as the classifier's weights do: its twin, or the one from the
    error straight to what it reads, which gets the number format of the weights. "" if there is none."""
    values, twin = tape.b.values, f"{node.name}_feedback"
    if twin in values and values[twin].learned:
        return twin
    for below in tape.learned_nodes:
        name = f"{below.name}_direct_feedback"
        reads = tape.value(tape.injection(below)) == tape.value(node.inputs[0])
        if reads and name in values and values[name].learned:
            values[name] = replace(values[name], role="weight", tie=f"{node.name}_weight")
            return name
    return ""
