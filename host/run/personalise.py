"""What learning on a device does for each wearer of any data: before and after, beside other ways to learn.

One emulated device a wearer starts from the compiled network, learns that wearer's samples in the order of
the file, and is asked that wearer's test samples. The others learn the same samples in the same order: `last`
is the last layer alone, in integers; `float_bp` is backpropagation through the layers that learn, the
programs of `bp` in float32. Both take rate, store and passes of the rule file, and what they score says
nothing of what they would score at rates of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import EVEN, Feedback, RuleSpec
from synapcc.gen.spec.own import UNTAUGHT

from ..terminal.text import table
from .emulator import Emulator
from .scores import Matrix, Row, confusion, point, summarise
from .wearer_data import Part
from .wearers import (
    FloatTest,
    Labelled,
    Mark,
    Wearers,
    learn_float,
    learn_integer,
    predict_integer,
    right_in_float,
    right_in_integers,
)

NONE, LAST, FLOAT = "none", "last", "float_bp"
BESIDE = (LAST, FLOAT)
"""The ways to learn that others are held against."""
SHOWN = 40  # wearers in a table
QUARTERS = (0.25, 0.5, 0.75)  # of the first pass, where a learning curve looks

Winners = Mapping[str, NDArray[np.int64]]
Tick = Callable[[int, str], None]


class Personalisation:
    """What came of it.

    rows:     what each way to learn scores; the first one is the network before learning
    changes:  by rule and wearer, how many test samples learning mended, and how many it broke
    left_out: by rule, why it is not there
    """

    def __init__(self, people: Wearers, labels: Sequence[str]) -> None:
        self.people, self.labels = people, labels
        self.rows: list[Row] = []
        self.changes: dict[str, dict[str, tuple[int, int]]] = {}
        self.left_out: dict[str, str] = {}

    def add(
        self, rule: str, weights: str, passes: int, said: Mapping[float, Winners], base: float | None
    ) -> None:
        """A way to learn. said: what all test samples are called, by passes done, from 0 on."""
        curve, before = [], dict[str, float]()
        for k, winners in sorted(said.items()):
            summary = summarise(self._matrices(winners))
            curve.append(point(k, summary))
            before = before or {name: s.accuracy for name, s in summary.subjects.items()}
        done = passes if rule != NONE else 0
        row = Row("", rule, weights, done, False, 1, self.labels, summary, before, tuple(curve), base)
        self.rows.append(row)
        self.changes[rule] = {name: self._changed(name, said[0.0], said[max(said)]) for name in before}

    def _matrices(self, winners: Winners) -> Iterator[tuple[str, Matrix]]:
        for name, part in sorted(self.people.test.items()):
            yield name, confusion(part.label, winners[name], len(self.labels))

    def _changed(self, name: str, first: Winners, last: Winners) -> tuple[int, int]:
        label = self.people.test[name].label
        before, after = first[name] == label, last[name] == label
        return int(np.sum(after & ~before)), int(np.sum(before & ~after))

    def to_dict(self) -> dict[str, Any]:
        """The document of an evaluation (docs/REPORTS.md), with what was mended, broken and forgotten."""
        rows = [row.to_dict() for row in self.rows]
        for row in rows:
            for name, (mended, broken) in self.changes[row["rule"]].items():
                counts = {"learned": len(self.people.learn[name]), "tested": len(self.people.test[name])}
                row["subjects"][name] |= {"mended": mended, "broken": broken, **counts}
        return {
            "protocol": "", "labels": list(self.labels), "rows": rows, "words": WORDS,
            "published": {"about": "", "results": []}, "left_out": self.left_out,
        }  # fmt: skip


WORDS: Mapping[str, Any] = {
    "command": "synapcc personalise",
    "sample": "sample",
    "samples": "samples",
    "subject": "wearer",
    "subjects": "wearers",
    "taught": "the samples of each wearer that are to be learned",
    "tested": "test samples",
    "lesson": "a wearer's samples",
    "ratios": [
        {"key": "sen", "short": "Rec", "name": "recall"},
        {"key": "ppr", "short": "Prec", "name": "precision"},
        {"key": "f1", "short": "F1", "name": "F1"},
    ],
    "caveats": [],
    "warning": "",
}
"""What the page calls things, as host/pages/ways.py says."""


def comparison(spec: RuleSpec, rule: str, learned: tuple[str, ...]) -> RuleSpec:
    """A rule file that differs in the rule alone, of a network that has its classifier, its untied layers and
    its rows that learn already."""
    own: dict[str, Any] = {
        "update": None,
        "teach": UNTAUGHT,
        "trace": (),
        "options": (),
        "feedback": Feedback(),
    }
    return replace(spec, rule=rule, layers=learned, head=None, init="", untied=(), sparse=(), **own)


def _examples(spec: RuleSpec) -> str:
    """What of a rule file takes examples, or their counts, of the calibration data; "" where nothing does."""
    if spec.replay:
        return "[replay]"
    if spec.guard and spec.guard.base:
        return "guard.base"
    return "loss.class_weights" if spec.loss.class_weights == EVEN else ""


class InIntegers:
    """Wearers who learn a Plan, one device each."""

    def __init__(self, plan: Plan, people: Wearers) -> None:
        self.plan, self.people = plan, people
        self.states = np.repeat(Emulator(plan).state, len(people.test), axis=0)

    def places(self, passes: int, marks: Sequence[Mark]) -> Iterator[tuple[float, Winners]]:
        """What all test samples are called, at each mark and after each pass."""
        for k, states in learn_integer(self.plan, self.people, range(1, passes + 1), marks):
            self.states = states
            yield k, self.asked()

    def asked(self) -> Winners:
        """What all test samples are called, each wearer's by the own device."""
        return predict_integer(self.plan, self.states, self.people)

    def right(self, base: Labelled) -> float:
        """The mean over the wearers of how often samples that are not theirs are right."""
        return right_in_integers(self.plan, self.states, base)


class InFloat:
    """Wearers who learn by backpropagation in float32."""

    def __init__(self, trial: Trial) -> None:
        spec = comparison(trial.spec, "bp", trial.learned)
        self.compiled = compile_model(trial.network, spec, trial.calibration)
        self.people = trial.people

    def places(self, passes: int, marks: Sequence[Mark]) -> Iterator[tuple[float, Winners]]:
        """As that of `InIntegers`."""
        test = FloatTest(self.compiled, self.people)
        for k, state in learn_float(self.compiled, self.people, range(1, passes + 1), marks):
            self.state = state
            yield k, test.predict(state)

    def right(self, base: Labelled) -> float:
        """As that of `InIntegers`."""
        return right_in_float(self.compiled, self.state, self.people, base)


@dataclass(frozen=True, eq=False)
class Trial:
    """One Plan, the wearers' samples, and what all ways to learn have in common.

    spec, network: the rule file, and the float network, of the Plan's output folder
    learned:       the layers that learn
    passes:        over what a wearer learns; more than one needs the program `rehearse`
    calibration:   chooses the number formats of the others: inputs by name, float [n, size], and `label`
    calibrated:    whether these are the data that the Plan was compiled with, and not what the wearers learn
    base:          samples of the base's own data, asked again of every wearer's weights
    labels:        the classes' names
    """

    plan: Plan
    spec: RuleSpec
    network: Graph
    learned: tuple[str, ...]
    people: Wearers
    passes: int
    calibration: Mapping[str, NDArray[Any]]
    base: Part | None = None
    labels: Sequence[str] = ()
    calibrated: bool = True

    @property
    def names(self) -> Sequence[str]:
        """One for each class."""
        return self.labels or [str(c) for c in range(self.plan.classes)]

    @property
    def places(self) -> int:
        """Where all wearers are asked, of each way to learn."""
        return len(QUARTERS) + self.passes

    @cached_property
    def marks(self) -> list[Mark]:
        """Quarters of the first pass, each wearer's own."""
        counts = np.array([len(part) for part in self.people.learn.values()])
        return [(share, (share * counts).astype(np.int64)) for share in QUARTERS]

    def run(self, beside: Sequence[str] = BESIDE, tick: Tick = lambda n, what: None) -> Personalisation:
        """The Plan's rule and those `beside` it, each from the network before learning. tick(1, rule) after
        each place. A way that cannot learn this network is left out, and why is told."""
        start = InIntegers(self.plan, self.people)
        before = start.asked()
        found = Personalisation(self.people, self.names)
        found.add(NONE, "", self.passes, {0.0: before}, start.right(self.base) if self.base else None)
        for rule in (self.spec.rule, *(name for name in beside if name != self.spec.rule)):
            try:
                way = self._way(rule)
            except CompileError as error:
                found.left_out[rule] = error.line
                tick(self.places, rule)
                continue
            said = {0.0: before}
            for k, winners in way.places(self.passes, self.marks):
                said[k] = winners
                tick(1, rule)
            weights = "float32" if rule == FLOAT else self.spec.weights
            found.add(rule, weights, self.passes, said, way.right(self.base) if self.base else None)
        return found

    def _way(self, rule: str) -> InIntegers | InFloat:
        if rule == self.spec.rule:
            return InIntegers(self.plan, self.people)
        if self.integers:
            what = "some of the data are integers as the chip takes them"
            raise CompileError(rule, what, "give float inputs, which a float network can learn")
        if not self.calibrated and (key := _examples(self.spec)):
            what = f"{key} takes examples of the calibration data, and these are what wearers learn here"
            raise CompileError(rule, what, "give --calibrate, the data that the project was compiled with")
        if rule == FLOAT:
            return InFloat(self)
        spec = comparison(self.spec, rule, self.learned)
        return InIntegers(compile_model(self.network, spec, self.calibration).plan, self.people)

    @property
    def integers(self) -> bool:
        """Whether any input is given as the chip takes it."""
        parts = [*self.people.learn.values(), *self.people.test.values(), *([self.base] if self.base else [])]
        return any(x.dtype.kind != "f" for part in parts for x in part.inputs().values())


def text(found: Personalisation) -> str:
    """Every way to learn, every wearer, and every class, as tables."""
    own = found.rows[1]
    learned, tested = (sum(map(len, parts.values())) for parts in (found.people.learn, found.people.test))
    people = f"{len(found.people.test)} wearer{'s' * (len(found.people.test) > 1)}"
    passes = f"{own.passes} pass{'es' * (own.passes > 1)}"
    lines = [f"{people}, {learned} samples learned in {passes}, {tested} tested", ""]
    lines += [*_ways(found), "", *_wearers(found), "", *_classes(found)]
    return "\n".join([*lines, *(f"left out: {why}" for why in found.left_out.values())])


def _ways(found: Personalisation) -> list[str]:
    head = [
        "way to learn",
        "accuracy",
        "by wearer",
        "macro F1",
        "better",
        "worse",
        "worst",
        "mended",
        "broken",
    ]
    rows = []
    for row in found.rows:
        whole = row.summary.gross.accuracy, row.summary.average.accuracy, row.summary.gross.macro_f1
        own = [f"{row.base:.4f}"] if row.base is not None else []
        name = "before learning" if row.rule == NONE else row.rule
        rows.append([name, *(f"{share:.4f}" for share in whole), *_changes(found, row), *own])
    return table([*head, *(["base's own"] if found.rows[0].base is not None else [])], rows)


def _changes(found: Personalisation, row: Row) -> list[str]:
    """How many wearers are better and worse, the worst change in points, and samples mended and broken."""
    if row.rule == NONE:
        return [""] * 5
    change = [s.accuracy - row.before[name] for name, s in row.summary.subjects.items()]
    better, worse = sum(c > 0 for c in change), sum(c < 0 for c in change)
    mended, broken = map(sum, zip(*found.changes[row.rule].values(), strict=True))
    return [str(better), str(worse), f"{100 * min(change):.2f}", str(mended), str(broken)]


def _wearers(found: Personalisation) -> list[str]:
    """Accuracy of each in percent, the worst change first."""
    _, own, *others = found.rows
    after = [row.summary.subjects for row in (own, *others)]
    order = sorted(own.before, key=lambda name: (after[0][name].accuracy - own.before[name], name))
    rows = []
    for name in order[:SHOWN]:
        mended, broken = found.changes[own.rule][name]
        change = after[0][name].accuracy - own.before[name]
        counts = [str(len(parts[name])) for parts in (found.people.learn, found.people.test)]
        shares = [f"{100 * of[name].accuracy:.2f}" for of in after]
        first = [f"{100 * own.before[name]:.2f}", shares[0], f"{100 * change:.2f}", str(mended), str(broken)]
        rows.append([name, *counts, *first, *shares[1:]])
    head = ["wearer", "learned", "tested", "before %", "after %", "change", "mended", "broken"]
    lines = table([*head, *(f"{row.rule} %" for row in others)], rows)
    return [*lines, *([f"the {SHOWN} of {len(order)} who gain least"] if len(order) > SHOWN else [])]


def _classes(found: Personalisation) -> list[str]:
    """Recall, precision and F1 of each class, before and after."""
    before, after = (row.summary for row in found.rows[:2])
    rows = []
    for c, label in enumerate(found.labels):
        both = [getattr(s.gross, ratio)[c] for ratio in ("sen", "ppr", "f1") for s in (before, after)]
        shares = ["" if np.isnan(v) else f"{v:.4f}" for v in both]
        rows.append([label, str(int(before.matrix[c].sum())), *shares])
    ratios = [f"{ratio} {when}" for ratio in ("recall", "precision", "F1") for when in ("before", "after")]
    return table(["class", "tested", *ratios], rows)
