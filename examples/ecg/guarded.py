"""Does a guard keep learning from doing harm? Protocol A, with and without `[guard]`, with wrong labels.

    python -m synapcc.examples.ecg.guarded docs/GUARD.md       the patients of the test: the page and its plot
    python -m synapcc.examples.ecg.guarded --folds FOLDER      folds of the base's patients: what the guard's
                                                               numbers are chosen by, no page

Results are kept as they come, in guarded.json, each under the digest of what it follows from; `--measured`
prints what is known. FOLDER holds <model>_fold<K>.onnx (train.py --fold K).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..processes import one_blas_thread

one_blas_thread()

from synapcc.gen.compile import Compiled, compile_model  # noqa: E402
from synapcc.gen.errors import SynapccError  # noqa: E402
from synapcc.gen.ir.plan import Plan  # noqa: E402
from synapcc.gen.spec import Guard, Pseudo, RuleSpec, Store  # noqa: E402
from synapcc.host.run.emulator import Emulator  # noqa: E402
from synapcc.host.run.kept import Result, Results, key  # noqa: E402
from synapcc.host.run.wearer_data import flipped  # noqa: E402
from synapcc.host.run.wearers import Wearers, learn_integer, predict_integer, right_in_integers  # noqa: E402
from synapcc.host.terminal.arguments import Parser  # noqa: E402
from synapcc.host.terminal.files import check_target, write_whole  # noqa: E402
from synapcc.host.terminal.progress import Progress  # noqa: E402
from synapcc.host.terminal.screen import guarded as one_line  # noqa: E402

from . import protocol  # noqa: E402
from .evaluate import HERE, model_path, more_folder, own_beats, rule_folder, rule_spec, wearers  # noqa: E402
from .evaluate import OWN as BASE  # noqa: E402

RESULTS = HERE / "guarded.json"
PASSES = 10
SHARES = (0.0, 0.1, 0.2, 0.3)
SEEDS = (1, 2, 3)
WRONG = 0.2
"""The share of wrong labels under which every rule is looked at."""
SHOWN = ("hebbian", "dfa", "last")
"""Rules that learn under all shares."""
TOLD = (0.1,)
"""Shares of beats that have a label, where the others have none."""
MARGINS = (None, 1.0, 2.0, 4.0, 8.0)
"""Margins for these others that the folds choose from; None: they are dropped."""
OWN = 2.0
"""The margin that the folds chose."""
CHOOSING = ("last", "hebbian", "bp", "dfa")
"""Rules whose folds choose the guard's numbers, with right labels and with WRONG of them wrong."""
FIELDS = {"tested", "before", "after", "base", "base_before", "of"}

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Case:
    """One way of learning.

    flipped: the share of labels that are wrong; seed: of these, and of the rule
    told:    the share of beats that have a label; pseudo: the margin with which the others are learned
             under the network's own verdict, None: not at all
    """

    model: str
    rule: str
    flipped: float
    guard: Guard | None
    seed: int = 1
    folds: bool = False
    told: float = 1.0
    pseudo: float | None = None

    @property
    def name(self) -> str:
        """What the file of results calls it."""
        usual, guard = Guard(), "none"
        if self.guard:
            numbers = {k: (getattr(self.guard, k), getattr(usual, k)) for k in ("gain", "margin")}
            guard = ", ".join(["guard", *(f"{k} {v:g}" for k, (v, u) in numbers.items() if v != u)])
        where = "folds of DS1" if self.folds else "DS2"
        words = [where, self.model, self.rule, f"{self.flipped:g} wrong", guard, f"seed {self.seed}"]
        if self.told < 1:
            rest = "dropped" if self.pseudo is None else f"own verdicts beyond {self.pseudo:g}"
            words.append(f"{self.told:g} labelled, others {rest}")
        return " | ".join(words)

    def spec(self, samples: int) -> RuleSpec:
        """The rule file of the ECG example, with the guard, and room for all beats of five minutes."""
        found = more_folder() / f"{self.rule}.toml"
        own = rule_folder(self.model) / f"{self.rule}.toml"
        spec = rule_spec(str(found if not own.is_file() and found.is_file() else self.rule), self.model)
        pseudo = None if self.pseudo is None else Pseudo(self.pseudo)
        return replace(spec, guard=self.guard, store=Store(samples), seed=self.seed, pseudo=pseudo)


@dataclass(frozen=True)
class Outcome:
    """What became of all patients: how many beats of each were tested, and right before and after."""

    case: Case
    result: Result

    @property
    def change(self) -> NDArray[np.float64]:
        """Points of accuracy that each patient gained."""
        tested, before, after = (np.array(self.result[k], float) for k in ("tested", "before", "after"))
        gained: NDArray[np.float64] = 100 * (after - before) / tested
        return gained

    @property
    def accuracy(self) -> float:
        """Over all beats, %."""
        return 100 * sum(self.result["after"]) / sum(self.result["tested"])

    @property
    def before(self) -> float:
        """The same before learning."""
        return 100 * sum(self.result["before"]) / sum(self.result["tested"])


def rules_of(model: str) -> tuple[str, ...]:
    """Rules with a rule file for a base: the usual ones first."""
    usual = [p.stem for p in sorted(rule_folder(model).glob("*.toml")) if "_" not in p.stem]
    more = sorted(p.stem for p in more_folder().glob("*.toml")) if model == "mlp" else []
    return (*sorted(usual, key=lambda r: (r not in SHOWN, r)), *more)


def cases() -> Iterator[Case]:
    """Those of the page, in the order of its tables."""
    for model in ("mlp", "cnn"):
        for share in (0.0, WRONG):
            for rule in rules_of(model):
                for guard in (None, Guard()):
                    yield Case(model, rule, share, guard)
    for share in SHARES:
        for rule in SHOWN:
            for seed in SEEDS:
                for guard in (None, Guard()):
                    case = Case("mlp", rule, share, guard, seed)
                    if seed > 1 or share not in (0.0, WRONG):
                        yield case
    for told in TOLD:
        for rule in SHOWN:
            for pseudo in (None, OWN):
                for seed in SEEDS:
                    for guard in (None, Guard()):
                        yield Case("mlp", rule, 0.0, guard, seed, told=told, pseudo=pseudo)


def choices() -> Iterator[Case]:
    """Guards that the folds choose from, the usual one among them, and none."""
    for guard in (None, Guard(), Guard(margin=0.03125), Guard(margin=0.125)):
        for rule in CHOOSING:
            for share in (0.0, WRONG):
                yield Case("mlp", rule, share, guard, folds=True)
    for rule in SHOWN:
        for margin in MARGINS:
            yield Case("mlp", rule, 0.0, Guard(), folds=True, told=TOLD[0], pseudo=margin)


def is_result(found: Any) -> bool:
    """Whether it is what is kept of a case."""
    return isinstance(found, dict) and found.keys() == FIELDS


def measured(case: Case, results: Results, folder: Path | None, only_known: bool) -> Outcome | None:
    """A case, from what is kept or anew; None where it is not known and `only_known`."""
    parts = list(_parts(case, folder))
    digests = [[made.plan.digest.hex(), *sorted(people.test)] for made, people in parts]
    partly = [case.told] if case.told < 1 else []
    name = key("guarded", PASSES, BASE, case.flipped, case.seed, digests, *partly)
    if only_known and name not in results.found:
        return None
    return Outcome(case, results.get(name, partial(_learned, case, parts)))


def _parts(case: Case, folder: Path | None) -> Iterator[tuple[Compiled, Wearers]]:
    """The compiled base and its patients: of each fold, or of the test."""
    chosen = protocol.A
    if not case.folds:
        people = wearers("A")
        yield compile_model(model_path(case.model), case.spec(people.steps), chosen.calibration()), people
        return
    assert folder is not None
    for fold, names in enumerate(chosen.folds):
        people = wearers("A", names)
        model = model_path(str(folder / f"{case.model}_fold{fold}.onnx"))
        yield compile_model(model, case.spec(people.steps), chosen.calibration(names)), people


def _learned(case: Case, parts: Sequence[tuple[Compiled, Wearers]]) -> Result:
    found: dict[str, dict[str, float]] = {k: {} for k in FIELDS - {"of"}}
    for made, people in parts:
        plan, classes = made.plan, made.plan.classes
        start = np.repeat(Emulator(plan).state, len(people.test), axis=0)
        taught = flipped(people, case.flipped, classes, case.seed) if case.flipped else people
        *_, (_, states) = learn_integer(plan, taught, (PASSES,), told=_told(people, case))
        said = predict_integer(plan, start, people), predict_integer(plan, states, people)
        without = [*people.test] if case.folds else []
        forgets = _base_right(plan, np.concatenate([start[:1], states]), without)
        for i, (record, beats) in enumerate(people.test.items()):
            found["tested"][record] = len(beats)
            for what, predicted in zip(("before", "after"), said, strict=True):
                found[what][record] = int(np.sum(predicted[record] == beats.label))
            found["base_before"][record], found["base"][record] = forgets[0], forgets[1 + i]
    return {k: [of[n] for n in sorted(of)] for k, of in found.items()} | {"of": case.name}


def _told(people: Wearers, case: Case) -> dict[str, NDArray[np.bool_]] | None:
    """Which beats of each patient have a label; None where all do."""
    if case.told == 1:
        return None
    drawn = {name: np.random.default_rng([case.seed, int(name)]) for name in people.learn}
    return {name: rng.random(len(people.learn[name])) < case.told for name, rng in drawn.items()}


def _base_right(plan: Plan, states: NDArray[np.uint8], without: Sequence[str]) -> list[float]:
    """How often each state is right about beats of the base's patients, as they follow each other."""
    own = own_beats("A", without=tuple(without))
    return [right_in_integers(plan, state[None], own) for state in states]


@one_line()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    from . import guard_page

    parser = Parser(prog="guarded", description=__doc__.split("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.md", help="also write the page there")
    parser.add_argument("--folds", type=Path, metavar="FOLDER", help="folds' base models: choose, no page")
    parser.add_argument("--measured", action="store_true", help="learn nothing: print what was found before")
    options = parser.parse_args(arguments)
    if options.file and options.folds:
        raise SynapccError("--folds", "makes no page", f"leave out {options.file}")
    if options.file:
        check_target(options.file)
    results = Results(RESULTS, is_result)
    todo = [*choices()] if options.folds else [*cases()]
    found: list[Outcome] = []
    with Progress("cases", len(todo)) as bar:
        for case in todo:
            outcome = measured(case, results, options.folds, options.measured)
            found += [outcome] if outcome else []
            bar.step()
    if not found:
        raise SynapccError(str(RESULTS), "holds nothing of these cases", "leave --measured out")
    names = {r["of"]: r for r in results.found.values()}
    by_folds = [Outcome(c, names[c.name]) for c in choices() if c.name in names]
    text = guard_page.chosen(found) if options.folds else guard_page.text(found, by_folds)
    if options.file:
        plot = guard_page.plot(found)
        write_whole(options.file, text.encode())
        write_whole(options.file.with_name(guard_page.PLOT), plot.encode())
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
