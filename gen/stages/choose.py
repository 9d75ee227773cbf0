"""Which of the ways to hold a network in integers a compilation takes: `fast` or `best`.

fast: every tensor by itself (quantise), unless calibration says that too many answers change. Then channels
      are equalised, and where that is not enough layers get int16 weights: those that lose most first.
best: channels are equalised where the scores gain, activations get the formats that change the scores least,
      and frozen weights and biases are rounded for the sums of their rows (rounding).

Both leave what learns as it is, networks that have not learned yet, and those whose integers are a file's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph
from ..ir.program import Abstract, root
from ..spec import BEST, RuleSpec
from .equalise import Strength, equalised, tops
from .looks import Choice, Looks
from .quantise import Quantised, quantise
from .rounding import rounded
from .simulate import Loss, Trial

BROKEN = 0.975  # share of the calibration answers below which `fast` looks for remedies,
ENOUGH = 0.985  # at which it stops
LEAST = 64  # samples that can say so
SHARES = 0.5, 0.75, 1.0  # of a channel's range that equalising gives it
SCORES = 8  # bits by which scores are made finer than their range allows
CHANCE = 0.01  # share of the answers below the best at which no finer scores are tried
WIDENED = 3  # candidates that get int16 weights
LAYERS = 8  # of each, those that lose most
FINER = (1, 2, -1)  # fracs that are tried beside the one that a tensor has
ROUNDS = 2
SEARCHED = 256  # samples that formats are searched with: each is tried some times for every activation

Data = Mapping[str, NDArray[np.float64]]
Made = tuple[Abstract, Data]
Make = Callable[[Graph], Made]
Say = Callable[[float, str], None]


@dataclass(frozen=True)
class Chosen:
    """A network with its integers. The notes of `graph` say what was done beyond the usual, and why."""

    graph: Graph
    abstract: Abstract
    data: Data
    looks: Looks
    choice: Choice
    quantised: Quantised


class _Search:
    """Candidates for one compilation. make: the abstract programs of a graph, and its inputs as they take
    them."""

    def __init__(self, make: Make, spec: RuleSpec, learned: Collection[str], best: bool) -> None:
        self.make, self.spec, self.learned, self.best = make, spec, learned, best

    def candidate(self, graph: Graph, choice: Choice) -> Chosen:
        abstract, data = self.make(graph)
        looks = Looks.of(abstract, self.spec, data, self.best)
        return Chosen(graph, abstract, data, looks, choice, quantise(abstract, self.spec, looks, choice))

    def first(self, graph: Graph, made: Made, choice: Choice) -> Chosen:
        """Every tensor by itself; with channels equalised where that is refused."""
        abstract, data = made
        looks = Looks.of(abstract, self.spec, data, self.best)
        try:
            return Chosen(graph, abstract, data, looks, choice, quantise(abstract, self.spec, looks, choice))
        except CompileError:
            other = self.level(graph, looks, Strength(1.0)) if _open(abstract, looks) else None
            if other is None:
                raise
        return self.candidate(other, choice)

    def level(self, graph: Graph, looks: Looks, strength: Strength) -> Graph | None:
        """`graph` with its channels equalised; None where there is nothing to equalise."""
        seen = tops(graph, looks.observed.runs, looks.usual)
        return equalised(graph, seen, self.learned, strength)

    def other(self, chosen: Chosen, choice: Choice) -> Chosen | None:
        """The same network in other formats; None where these are refused."""
        try:
            quantised = quantise(chosen.abstract, self.spec, chosen.looks, choice)
        except CompileError:
            return None
        return replace(chosen, choice=choice, quantised=quantised)

    def equalised(self, base: Chosen, strength: Strength) -> Chosen | None:
        """`base` with its channels equalised; None where there is nothing to equalise, or it is refused."""
        graph = self.level(base.graph, base.looks, strength)
        try:
            return None if graph is None else self.candidate(graph, base.choice)
        except CompileError:
            return None

    def finer(self, chosen: Chosen, loss: Loss) -> tuple[Chosen, Loss]:
        """With scores that are finer: what then meets the limits of int16 has won, or lost, anyway."""
        logits = root(chosen.abstract.values, chosen.abstract.logits)
        if any(v.learned for v in chosen.abstract.values.values()):
            return chosen, loss
        trial = _trial(chosen)
        frac = chosen.quantised.formats[logits].meaning.nearest
        found, least = chosen, loss
        for bits in range(1, SCORES + 1):
            fracs = {**chosen.choice.fracs, logits: frac + bits}
            tried = self.other(chosen, replace(chosen.choice, fracs=fracs))
            other = trial.of(tried.quantised) if tried else Loss(0.0, 0.0)
            if tried is None or other.agree < least.agree - CHANCE:
                break
            if other.agree > least.agree:
                found, least = tried, other
        return found, least

    def widened(self, chosen: Chosen, loss: Loss) -> tuple[Chosen, Loss]:
        """With int16 weights, one layer after another, until ENOUGH answers stay."""
        trial = _trial(chosen)
        for name in _by_loss(chosen, trial)[:LAYERS]:
            if loss.agree >= ENOUGH:
                break
            wide = chosen.choice.wide | {name}
            tried = self.other(chosen, replace(chosen.choice, wide=wide))
            if tried is None:
                continue
            tried, other = self.finer(tried, trial.of(tried.quantised))
            if other.agree > loss.agree:
                chosen, loss = tried, other
        return chosen, loss


def choose(
    graph: Graph, made: Made, make: Make, spec: RuleSpec, learned: Collection[str], mode: str, say: Say
) -> Chosen:
    """The integers of `graph`, of which `made` was made; `say` is told what share is done, and what comes.

    Raises CompileError where there are none.
    """
    search = _Search(make, spec, learned, mode == BEST)
    base = search.first(graph, made, Choice(fine=mode == BEST))
    if not _open(base.abstract, base.looks):
        return base
    found = _best(search, base, say) if mode == BEST else _fast(search, base)
    return replace(found, graph=_noted(graph, base, found))


def _open(abstract: Abstract, looks: Looks) -> bool:
    """Whether there is anything to choose, and enough to choose by."""
    given = any(v.format for v in abstract.values.values() if v.role == "activation")
    return not given and looks.later is None and len(looks.usual) >= LEAST


def _trial(chosen: Chosen) -> Trial:
    return Trial(chosen.looks.observed.runs, chosen.looks.classes)


def _fast(search: _Search, base: Chosen) -> Chosen:
    """`base`, or what keeps more answers where it does not keep ENOUGH of them: one remedy after another."""
    start = base, _trial(base).of(base.quantised)
    if start[1].agree >= BROKEN:
        return base
    tried = [search.finer(*start)]
    for exact in (True, False):
        for share in SHARES:
            if _most(tried)[1].agree >= ENOUGH:
                break
            other = search.equalised(base, Strength(share, exact))
            tried += [search.finer(other, _trial(other).of(other.quantised))] if other else []
    for candidate in sorted(tried, key=lambda t: -t[1].agree)[:WIDENED]:
        if _most(tried)[1].agree < ENOUGH:
            tried.append(search.widened(*candidate))
    if _most(tried)[1].agree < ENOUGH:
        ends = [replace(c, quantised=_finished(c)) for c, _ in tried]
        tried += [(c, _trial(c).of(c.quantised)) for c in ends]
    found, least = _most(tried)
    return found if least.agree > start[1].agree else base


def _most(tried: Sequence[tuple[Chosen, Loss]]) -> tuple[Chosen, Loss]:
    """What keeps most answers."""
    return min(tried, key=lambda t: (-t[1].agree, t[1].lost))


def _best(search: _Search, base: Chosen, say: Say) -> Chosen:
    tried = [base]
    for share in SHARES:
        say(0.2 * share, "equalising channels")
        tried += [c for c in [search.equalised(base, Strength(share, exact=False))] if c]
    found = min(tried, key=lambda c: _trial(c).of(_finished(c)).rank)
    found = _formats(search, found, say)
    say(0.9, "rounding weights")
    ends = [replace(c, quantised=_finished(c)) for c in (found, base)]
    found = min(ends, key=lambda c: _trial(c).of(c.quantised).rank)
    if _trial(found).of(found.quantised).agree < BROKEN:
        other = _fast(search, base)
        ends = [found, other, replace(other, quantised=_finished(other))]
        found, _ = _most([(c, _trial(c).of(c.quantised)) for c in ends])
    return found


def _finished(chosen: Chosen) -> Quantised:
    return rounded(chosen.quantised, chosen.looks.observed.runs, chosen.looks.usual)


def _formats(search: _Search, found: Chosen, say: Say) -> Chosen:
    """Activation by activation, the frac at which the scores change least."""
    values, looks = found.abstract.values, found.looks
    trial = Trial(looks.observed.runs, looks.classes, SEARCHED)
    names = [n for n in looks.observed.runs.names(("activation",)) if root(values, n) == n]
    least = trial.of(found.quantised)
    for turn in range(ROUNDS):
        before = found
        for number, name in enumerate(names, 1):
            say(0.3 + 0.6 * (turn + number / len(names)) / ROUNDS, f"format of {name}")
            now = found.quantised.formats[name].meaning.nearest
            for step in FINER:
                fracs = {**found.choice.fracs, name: now + step}
                tried = search.other(found, replace(found.choice, fracs=fracs))
                if tried is not None and (loss := trial.of(tried.quantised)).clearly(least):
                    found, least = tried, loss
        if found is before:
            break
    return found


def _by_loss(chosen: Chosen, trial: Trial) -> list[str]:
    """Frozen weights that may be int16, those first whose int8 costs most by itself."""
    values, found = chosen.abstract.values, {}
    for program, step in chosen.abstract.steps():
        w = values.get(step.args.get("w", ""))
        if program == "forward" and w and w.role == "weight" and w.space == "const" and not w.rows_alike:
            found[w.name] = trial.of(chosen.quantised, {w.name}).lost
    return sorted(found, key=lambda n: -found[n])


def _noted(graph: Graph, base: Chosen, found: Chosen) -> Graph:
    """The graph, with notes on what was done."""
    before, after = (_trial(c).of(c.quantised) for c in (base, found))
    told = [f"{name} is held in int16: in int8 it costs most answers" for name in sorted(found.choice.wide)]
    if told or found.graph is not graph:
        gain = f"{100 * before.agree:.1f} % before, now {100 * after.agree:.1f} %"
        told.append(f"calibration samples that get the class of the float network: {gain}")
    return replace(found.graph, notes=(*found.graph.notes, *told))
