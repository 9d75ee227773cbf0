"""Which of the ways to hold a network in integers a compilation takes: `fast` or `best`.

fast: every tensor by itself (quantise), unless calibration says that too many answers change. Then channels
      are equalised, and where that is not enough layers get int16 weights, and activations other formats:
      those that lose most first.
best: channels are equalised where the scores gain, activations get the formats that change the scores least,
      and frozen weights and biases are rounded for the sums of their rows (rounding).

Both leave what learns as it is, networks that have not learned yet, and those whose integers are a file's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph
from ..ir.program import Abstract, reached, root
from ..spec import BEST, RuleSpec
from .absorb import absorbed
from .budget import Budget, told
from .calibrate import Runs
from .equalise import Strength, equalised, extremes, tops
from .float_run import spread
from .looks import Choice, Looks
from .near import denser
from .progress import Progress, Say
from .quantise import Quantised, quantise
from .rounding import rounded
from .simulate import Loss, Trial

BROKEN = 0.975  # share of the calibration answers below which `fast` looks for remedies,
ENOUGH = 0.985  # at which it stops
LEAST = 8  # samples that can say so, with others near them
SHARES = 0.5, 0.75, 1.0  # of a channel's range that equalising gives it
SCORES = 8  # bits by which scores are made finer than their range allows
CHANCE = 0.01  # share of the answers below the best at which no finer scores are tried
WIDENED, REFINED, ROUNDED = 3, 3, 4  # candidates that get int16 weights, other formats, rounded sums
LAYERS = 8  # of each, those that lose most
FINER = (1, 2, -1)  # fracs that are tried beside the one that a tensor has
ROUNDS = 2
TRIED = 256, 1 << 32  # the least samples that candidates are tried with, and the work that allows more
SEARCHED = 64, 256  # samples that formats are searched with, each some times for every activation,
SEARCH = 1 << 37  # and the work that this may be
SKETCH = 16  # samples that say which activations cost most, where not all can be tried
REMEDIES = 1 << 35  # the work that remedies of `fast` may be: some ten seconds
FINE, MOVED, LEVEL = "finer scores", "moved biases", "equalised channels"
WIDE, OTHER = "int16 weights", "other formats of activations"
CANDIDATES = 1 << 38  # the work that `best` may make other networks of with all samples: some minutes
COARSE = 64  # samples that these are compared with where that would be more, and none near them
COMPARED = 1 << 38  # and the work that this may be, all of it: with more they are not made at all
PASSES = 4  # over the samples that a network with other channels needs

Data = Mapping[str, NDArray[np.float64]]
Made = tuple[Abstract, Data]
Make = Callable[[Graph], Made]
Tried = tuple["Chosen", Loss]


@dataclass(frozen=True)
class Chosen:
    """A network with its integers. The notes of `graph` say what was done beyond the usual, and why."""

    graph: Graph
    abstract: Abstract
    data: Data
    looks: Looks
    choice: Choice
    quantised: Quantised
    near: bool = True

    @property
    def runs(self) -> Runs:
        """The samples that it is held against the float network with; with others near few, if `near`."""
        runs = self.looks.observed.runs
        return denser(runs, self.data, self.looks.usual) if self.near else runs


class _Search:
    """Candidates for one compilation. make: the abstract programs of a graph, and its inputs as they take
    them. left: what was left out because it is too much work, for the report. near: see Chosen."""

    def __init__(
        self,
        make: Make,
        spec: RuleSpec,
        learned: Collection[str],
        best: bool,
        progress: Progress,
        near: bool = True,
    ) -> None:
        self.make, self.spec, self.learned, self.best = make, spec, learned, best
        self.progress, self.near = progress, near
        self.budget = Budget(REMEDIES)
        self.left: list[str] = []
        self._others: list[tuple[Chosen, Strength | None, Chosen | None]] = []
        self._trials: list[tuple[Looks, Trial]] = []
        self._seen: tuple[Looks, Mapping[str, NDArray[np.float64]]] | None = None

    def trial(self, chosen: Chosen) -> Trial:
        """What candidates that look like `chosen` are held against."""
        found = None
        for looks, trial in self._trials:
            if looks is chosen.looks:
                found = trial
            else:  # one network's values are enough to hold
                trial.forget()
        if found:
            return found
        runs = chosen.runs
        trial = Trial(runs, chosen.looks.kind, max(TRIED[0], TRIED[1] // runs.work))
        self._trials.append((chosen.looks, trial))
        return trial

    def made(self, base: Chosen, strength: Strength | None) -> int:
        """The work of making another network of `base`, of what it is tried with, and of its finer scores."""
        runs, known = base.looks.observed.runs, any(b is base and s == strength for b, s, _ in self._others)
        return (0 if known else PASSES * len(runs) * runs.work) + self.trial(base).work + self.scored(base)

    def scored(self, chosen: Chosen) -> int:
        """The work of trying finer scores, beside what stays of a trial."""
        if any(v.learned for v in chosen.abstract.values.values()):
            return 0
        logits = root(chosen.abstract.values, chosen.abstract.logits)
        return SCORES * self.trial(chosen).anew([logits])

    def worst(self, chosen: Chosen, names: Sequence[str], part: float, what: str) -> list[str]:
        """Values, those first whose integers cost most by themselves: asked of few samples where all are too
        much work, of none at all where these are, too."""
        if not names:
            return []
        trial = self.trial(chosen)
        work = trial.work + trial.anew(names)
        if self.budget.spent + work > part * self.budget.most and len(trial) > SKETCH:
            work = work * SKETCH // len(trial)
            if self.budget.may(part, what, work):
                return _by_loss(Trial(trial.runs, trial.kind, SKETCH), chosen, names)
            return []
        return _by_loss(trial, chosen, names) if self.budget.may(part, what, work) else []

    def tried(self, chosen: Chosen) -> Tried:
        return chosen, self.trial(chosen).of(chosen.quantised)

    def beside(self, base: Chosen, others: Sequence[Chosen]) -> list[Tried]:
        """Others of the same network in other formats, and what they cost."""
        losses = self.trial(base).beside(base.quantised, [c.quantised for c in others])
        return list(zip(others, losses, strict=True))

    def looks(self, graph: Graph, made: Made) -> Looks:
        return Looks.of(graph, made[0], self.spec, made[1], self.best, self.progress.calibrated)

    def candidate(self, graph: Graph, choice: Choice) -> Chosen:
        abstract, data = self.make(graph)
        looks = self.looks(graph, (abstract, data))
        held = quantise(abstract, self.spec, looks, choice)
        return Chosen(graph, abstract, data, looks, choice, held, self.near)

    def first(self, graph: Graph, made: Made, choice: Choice) -> Chosen:
        """Every tensor by itself; with biases moved on, or channels equalised, where that is refused."""
        abstract, data = made
        looks = self.looks(graph, made)
        try:
            return Chosen(graph, abstract, data, looks, choice, quantise(abstract, self.spec, looks, choice))
        except CompileError:
            others = self._mended(graph, looks) if _open(abstract, looks) else []
            if not others:
                raise
        for other in others[:-1]:
            with suppress(CompileError):
                return self.candidate(other, choice)
        return self.candidate(others[-1], choice)

    def _mended(self, graph: Graph, looks: Looks) -> list[Graph]:
        """The same network in other numbers."""
        seen = extremes(graph, looks.observed.runs, looks.usual)
        others = absorbed(graph, seen, self.learned), self.level(graph, looks, Strength(1.0))
        return [other for other in others if other]

    def level(self, graph: Graph, looks: Looks, strength: Strength) -> Graph | None:
        """`graph` with its channels equalised; None where there is nothing to equalise."""
        if self._seen is None or self._seen[0] is not looks:
            self._seen = looks, tops(graph, looks.observed.runs, looks.usual)
        return equalised(graph, self._seen[1], self.learned, strength)

    @property
    def made_of(self) -> Sequence[tuple[Chosen, Strength | None, Chosen | None]]:
        """Networks in other numbers: of which, how (None: biases moved on), and what came of it."""
        return self._others

    def absorbed(self, base: Chosen) -> Chosen | None:
        """`base` with large biases moved on; None where there are none, or it is refused."""
        return self._once(base, None)

    def _once(self, base: Chosen, strength: Strength | None) -> Chosen | None:
        """`base` with biases moved on, or equalised; `best` and its remedies ask for the same ones."""
        for of, how, other in self._others:
            if of is base and how == strength:
                return other
        if strength is None:
            seen = extremes(base.graph, base.looks.observed.runs, base.looks.usual)
            graph = absorbed(base.graph, seen, self.learned)
        else:
            graph = self.level(base.graph, base.looks, strength)
        found = None
        with suppress(CompileError):
            found = None if graph is None else self.candidate(graph, base.choice)
        self._others.append((base, strength, found))
        return found

    def other(self, chosen: Chosen, choice: Choice) -> Chosen | None:
        """The same network in other formats; None where these are refused."""
        try:
            quantised = quantise(chosen.abstract, self.spec, chosen.looks, choice)
        except CompileError:
            return None
        return replace(chosen, choice=choice, quantised=quantised)

    def equalised(self, base: Chosen, strength: Strength) -> Chosen | None:
        """`base` with its channels equalised; None where there is nothing to equalise, or it is refused."""
        return self._once(base, strength)

    def finer(self, chosen: Chosen, loss: Loss) -> Tried:
        """With scores that are finer: what then meets the limits of int16 has won, or lost, anyway."""
        logits = root(chosen.abstract.values, chosen.abstract.logits)
        if any(v.learned for v in chosen.abstract.values.values()):
            return chosen, loss
        frac = chosen.quantised.formats[logits].meaning.nearest
        fracs = ({**chosen.choice.fracs, logits: frac + bits} for bits in range(1, SCORES + 1))
        others = takewhile(bool, (self.other(chosen, replace(chosen.choice, fracs=f)) for f in fracs))
        found, least = chosen, loss
        for tried, other in self.beside(chosen, [c for c in others if c]):
            if other.agree < least.agree - CHANCE:
                break
            if other.agree > least.agree:
                found, least = tried, other
        return found, least

    def widened(self, chosen: Chosen, loss: Loss) -> Tried:
        """With int16 weights, one layer after another, until ENOUGH answers stay."""
        for name in self.worst(chosen, _frozen(chosen.abstract), 2 / 3, WIDE)[:LAYERS]:
            trial = self.trial(chosen)
            work = trial.work + trial.anew([name]) + self.scored(chosen)
            if loss.agree >= ENOUGH or not self.budget.may(2 / 3, WIDE, work):
                break
            other = self.other(chosen, replace(chosen.choice, wide=chosen.choice.wide | {name}))
            if other is None:
                continue
            tried = self.beside(chosen, [other])[0]
            tried = self.finer(*tried) if tried[1].agree > loss.agree - CHANCE else tried
            if tried[1].agree > loss.agree:
                chosen, loss = tried
        return chosen, loss

    def refined(self, chosen: Chosen, loss: Loss) -> Tried:
        """With activations in other formats, one after another, until ENOUGH answers stay.

        Inputs keep theirs: a caller who sees them clipped looks for a fault of his own.
        """
        names = [n for n in _activations(chosen) if n not in chosen.abstract.inputs]
        for name in self.worst(chosen, names, 1.0, OTHER)[:LAYERS]:
            trial = self.trial(chosen)
            work = trial.work + len(FINER) * (trial.anew([name]) + self.scored(chosen))
            if loss.agree >= ENOUGH or not self.budget.may(1.0, OTHER, work):
                break
            for tried in self.beside(chosen, self.steps(chosen, name)):
                tried = self.finer(*tried) if tried[1].agree > loss.agree - CHANCE else tried
                if tried[1].agree > loss.agree:
                    chosen, loss = tried
        return chosen, loss

    def steps(self, chosen: Chosen, name: str) -> list[Chosen]:
        """With one activation in each of the FINER formats beside the one that it has."""
        now = chosen.quantised.formats[name].meaning.nearest
        fracs = ({**chosen.choice.fracs, name: now + step} for step in FINER)
        others = [self.other(chosen, replace(chosen.choice, fracs=f)) for f in fracs]
        return [c for c in others if c]


def _by_loss(trial: Trial, chosen: Chosen, names: Sequence[str]) -> list[str]:
    """Values, those first whose integers cost most by themselves."""
    losses = trial.alone(chosen.quantised, [{n} for n in names])
    found = {n: loss.lost for n, loss in zip(names, losses, strict=True)}
    return sorted(found, key=lambda n: -found[n])


def _frozen(abstract: Abstract) -> list[str]:
    """Weights that may be int16."""
    found, forward = [], reached(abstract.programs, "forward")
    for program, step in abstract.steps():
        w = abstract.values.get(step.args.get("w", ""))
        if program in forward and w and w.role == "weight" and w.space == "const" and not w.rows_alike:
            found.append(w.name)
    return list(dict.fromkeys(found))


def _activations(chosen: Chosen) -> list[str]:
    """Activations that have a format of their own."""
    values = chosen.abstract.values
    return [n for n in chosen.looks.observed.runs.names(("activation",)) if root(values, n) == n]


def choose(
    graph: Graph, made: Made, make: Make, spec: RuleSpec, learned: Collection[str], mode: str, say: Say
) -> Chosen:
    """The integers of `graph`, of which `made` was made; `say` is told what share is done, and what comes.

    Raises CompileError where there are none.
    """
    progress = Progress(say, mode)
    search = _Search(make, spec, learned, mode == BEST, progress)
    base = search.first(graph, made, Choice(fine=mode == BEST))
    left = base.looks.observed.runs.left
    if _open(base.abstract, base.looks):
        start = search.tried(base)
        found = (_best if mode == BEST else _fast)(search, start, progress.chosen)
        base = replace(found[0], graph=_noted(graph, start[1], *found))
        left = [*left, *search.left, *search.budget.left]
    progress.chosen(1.0, "formats chosen")
    return replace(base, graph=replace(base.graph, notes=(*base.graph.notes, *left)))


def _open(abstract: Abstract, looks: Looks) -> bool:
    """Whether there is anything to choose, and enough to choose by."""
    given = any(v.format for v in abstract.values.values() if v.role == "activation")
    return not given and looks.later is None and len(looks.usual) >= LEAST


def _fast(search: _Search, start: Tried, say: Say) -> Tried:
    """`start`, or what keeps more answers where it does not keep ENOUGH of them: one remedy after another."""
    if start[1].agree >= BROKEN:
        return start
    tried, base, may = [start], start[0], search.budget.may
    if may(1 / 3, FINE, search.trial(base).work + search.scored(base)):
        tried = [search.finer(*start)]
    if may(1 / 3, MOVED, search.made(base, None)) and (moved := search.absorbed(base)):
        tried.append(search.finer(*search.tried(moved)))
        base = moved if _most(tried) is tried[1] else base
    for exact in (True, False):
        for part in SHARES:
            strength = Strength(part, exact)
            if _most(tried)[1].agree >= ENOUGH or not may(1 / 3, LEVEL, search.made(base, strength)):
                break
            say(0.1 + 0.1 * len(tried), "equalising channels")
            other = search.equalised(base, strength)
            tried += [search.finer(*search.tried(other))] if other else []
    for remedy, most, what, done in (
        (search.widened, WIDENED, WIDE, 0.75),
        (search.refined, REFINED, OTHER, 0.85),
    ):
        for candidate in _ranked(tried)[:most]:
            if _most(tried)[1].agree < ENOUGH:
                say(done, what)
                tried.append(remedy(*candidate))
    if _most(tried)[1].agree < ENOUGH:
        say(0.95, "rounding weights")
        tried += [search.tried(_finished(c)) for c, _ in _ranked(tried)[:ROUNDED]]
    found = _most(tried)
    return found if found[1].agree > start[1].agree else start


def _ranked(tried: Sequence[Tried]) -> list[Tried]:
    """Those first that keep most answers."""
    return sorted(tried, key=lambda t: (-t[1].agree, t[1].lost))


def _most(tried: Sequence[Tried]) -> Tried:
    return _ranked(tried)[0]


def _best(search: _Search, start: Tried, say: Say) -> Tried:
    large = 2 * len(SHARES) * search.made(start[0], None) > CANDIDATES
    base, found = (_compared_coarsely if large else _compared)(search, start[0], say)
    found = _formats(search, found, SEARCH // 2 if large else SEARCH, say)
    say(0.9, "rounding weights")
    ends = [search.tried(_finished(c)) for c in (found, base)]
    best = min(ends, key=lambda t: t[1].rank)
    if best[1].agree < BROKEN:
        other = _fast(search, start, lambda done, what: say(0.9 + 0.1 * done, what))
        best = _most([best, other, search.tried(_finished(other[0]))])
    return best


def _compared(search: _Search, base: Chosen, say: Say) -> tuple[Chosen, Chosen]:
    """`base`, or it with biases moved on; and that, or it with channels equalised: what loses least."""
    if moved := search.absorbed(base):
        base = min((base, moved), key=lambda c: search.tried(_finished(c))[1].rank)
    tried = [base]
    for part in SHARES:
        say(0.2 * part, "equalising channels")
        tried += [c for c in [search.equalised(base, Strength(part, exact=False))] if c]
    return base, min(tried, key=lambda c: search.tried(_finished(c))[1].rank)


def _compared_coarsely(search: _Search, base: Chosen, say: Say) -> tuple[Chosen, Chosen]:
    """As _compared, which of them by COARSE samples: only what is chosen is made with all."""
    runs = base.looks.observed.runs
    rows = runs.chosen[spread(len(runs), COARSE)]
    if comparing(runs) > COMPARED:
        search.left.append(
            f"moved biases and equalised channels were not tried: it would be more than {told(COMPARED)}"
        )
        return base, base

    def make(graph: Graph) -> Made:
        abstract, data = search.make(graph)
        return abstract, {name: x[rows] for name, x in data.items()}

    few = _Search(make, search.spec, search.learned, search.best, search.progress, near=False)
    try:
        small = few.candidate(base.graph, base.choice)
    except CompileError:  # what few samples show has no formats
        return base, base
    at, found = _compared(few, small, say)
    how = next((s for of, s, c in few.made_of if of is at and c is found and s is not None), None)
    search.left.append(
        f"moved biases and equalised channels were compared with {len(rows)} samples: "
        f"with all it would be more than {told(CANDIDATES)}"
    )
    if at is not small:
        base = search.absorbed(base) or base
    return base, (search.equalised(base, how) or base) if how else base


def comparing(runs: Runs) -> int:
    """The work of comparing networks in other numbers by COARSE samples, and of making one with all."""
    candidates = len(SHARES) + 2  # each is seen, rounded, and held against the float network, twice perhaps
    return (candidates * (PASSES + 4) * min(COARSE, len(runs)) + 2 * PASSES * len(runs)) * runs.work


def _finished(chosen: Chosen) -> Chosen:
    """With weights and biases rounded for the sums of their rows."""
    return replace(
        chosen, quantised=rounded(chosen.quantised, chosen.looks.observed.runs, chosen.looks.usual)
    )


def _formats(search: _Search, found: Chosen, most_work: int, say: Say) -> Chosen:
    """Activation by activation, the frac at which the scores change least."""
    names, runs, kind = _activations(found), found.runs, found.looks.kind
    room = 2 * most_work // (runs.work * len(FINER))  # samples of all activations: half of a run is shared
    samples = min(SEARCHED[1], max(SEARCHED[0], room // (ROUNDS * max(1, len(names)))))
    if (most := room // samples) < len(names):
        worst = _by_loss(Trial(runs, kind, SKETCH), found, names)[:most]
        names = [n for n in names if n in worst]
    trial, every = Trial(runs, kind, samples), len(_activations(found))
    least, turns = trial.of(found.quantised), ROUNDS if most >= ROUNDS * len(names) else 1
    if (len(names), turns) < (every, ROUNDS):
        how = f"formats of {len(names)} of {every} activations were searched "
        how += f"{'once' if turns == 1 else 'twice'}, with {len(trial)} samples"
        search.left.append(f"{how}: the search ends after {told(most_work)}")
    for turn in range(turns):
        before = found
        for number, name in enumerate(names, 1):
            say(0.3 + 0.6 * (turn + number / len(names)) / ROUNDS, f"format of {name}")
            others = search.steps(found, name)
            losses = trial.beside(found.quantised, [c.quantised for c in others])
            for tried, loss in zip(others, losses, strict=True):
                if loss.clearly(least):
                    found, least = tried, loss
        if found is before:
            break
    return found


def _noted(graph: Graph, before: Loss, found: Chosen, after: Loss) -> Graph:
    """The graph, with notes on what was done."""
    told = [f"{name} is held in int16: in int8 it costs most answers" for name in sorted(found.choice.wide)]
    if told or found.graph is not graph:
        gain = f"{100 * before.agree:.1f} % before, now {100 * after.agree:.1f} %"
        told.append(f"calibration samples that {found.looks.kind.kept}: {gain}")
    return replace(found.graph, notes=(*found.graph.notes, *told))
