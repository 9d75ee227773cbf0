"""Which of the ways to hold a network in integers a compilation takes: `fast` or `best`.

fast: every tensor by itself (quantise), unless calibration says that too many answers change. Then channels
      are equalised, and where that is not enough layers get int16 weights: those that lose most first.
best: channels are equalised where the scores gain, activations get the formats that change the scores least,
      and frozen weights and biases are rounded for the sums of their rows (rounding).

Both leave what learns as it is, networks that have not learned yet, and those whose integers are a file's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Graph
from ..ir.program import Abstract, root
from ..spec import RuleSpec
from .equalise import Strength, equalised, tops
from .quantise import Choice, Looks, Quantised, quantise
from .rounding import rounded
from .simulate import Loss, Trial

FAST, BEST = "fast", "best"
MODES = (FAST, BEST)
ENOUGH = 0.97  # share of the answers that stay, at which nothing more is done in `fast`
LEAST = 32  # samples that can say so
MILD, WHOLE = 0.5, 1.0  # shares of a channel's range that equalising gives it
SCORES = 8  # bits by which scores are made finer than their range allows
FINER = (1, 2, -1)  # fracs that are tried beside the one that a tensor has
CLEARLY = 0.995  # of what is lost: a smaller gain may be chance
ROUNDS = 2

Data = Mapping[str, NDArray[np.float64]]
Made = tuple[Abstract, Data]
Make = Callable[[Graph], Made]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Chosen:
    """A network with its integers. The notes of `graph` say what was done beyond the usual, and why."""

    graph: Graph
    abstract: Abstract
    data: Data
    looks: Looks
    choice: Choice
    quantised: Quantised

    @property
    def usual(self) -> NDArray[np.intp]:
        """The samples that formats were chosen from, of those that are run."""
        return np.flatnonzero(~self.looks.observed.aside)


class _Search:
    """Candidates for one compilation. make: the abstract programs of a graph, and its inputs as they take
    them."""

    def __init__(self, make: Make, spec: RuleSpec, learned: Collection[str]) -> None:
        self.make, self.spec, self.learned = make, spec, learned

    def candidate(self, graph: Graph, choice: Choice, made: Made | None = None) -> Chosen:
        abstract, data = made or self.make(graph)
        looks = Looks.of(abstract, self.spec, data)
        return Chosen(graph, abstract, data, looks, choice, quantise(abstract, self.spec, looks, choice))

    def other(self, chosen: Chosen, choice: Choice) -> Chosen | None:
        """The same network in other formats; None where these are refused."""
        try:
            quantised = quantise(chosen.abstract, self.spec, chosen.looks, choice)
        except CompileError:
            return None
        return replace(chosen, choice=choice, quantised=quantised)

    def equalised(self, base: Chosen, strength: Strength) -> Chosen | None:
        """`base` with its channels equalised; None where there is nothing to equalise, or it is refused."""
        seen = tops(base.graph, base.looks.observed.runs, base.usual)
        graph = equalised(base.graph, seen, self.learned, strength)
        try:
            return None if graph is None else self.candidate(graph, base.choice)
        except CompileError:
            return None

    def finer(self, chosen: Chosen, trial: Trial, loss: Loss) -> tuple[Chosen, Loss]:
        """With scores that are finer: what then meets the limits of int16 has won, or lost, anyway."""
        logits = root(chosen.abstract.values, chosen.abstract.logits)
        if any(v.learned for v in chosen.abstract.values.values()):
            return chosen, loss
        frac = chosen.quantised.formats[logits].frac
        found, least = chosen, loss
        for bits in range(1, SCORES + 1):
            fracs = {**chosen.choice.fracs, logits: frac + bits}
            tried = self.other(chosen, replace(chosen.choice, fracs=fracs))
            if tried is not None and (other := trial.of(tried.quantised)).agree > least.agree:
                found, least = tried, other
        return found, least

    def widened(self, chosen: Chosen, trial: Trial, loss: Loss) -> tuple[Chosen, Loss]:
        """With int16 weights, one layer after another, until ENOUGH answers stay."""
        for name in _by_loss(chosen, trial):
            if loss.agree >= ENOUGH:
                break
            wide = chosen.choice.wide | {name}
            tried = self.other(chosen, replace(chosen.choice, wide=wide))
            if tried is None:
                continue
            tried, other = self.finer(tried, trial, trial.of(tried.quantised))
            if other.rank < loss.rank:
                chosen, loss = tried, other
        return chosen, loss


def choose(
    graph: Graph, made: Made, make: Make, spec: RuleSpec, learned: Collection[str], mode: str, say: Say
) -> Chosen:
    """The integers of `graph`, of which `made` was made; `say` is told what takes long.

    Raises CompileError where there are none.
    """
    search = _Search(make, spec, learned)
    base = search.candidate(graph, Choice(fine=mode == BEST), made)
    if not _open(base):
        return base
    found = _best(search, base, say) if mode == BEST else _fast(search, base)
    return replace(found, graph=_noted(base, found))


def _open(base: Chosen) -> bool:
    """Whether there is anything to choose, and enough to choose by."""
    given = any(v.format for v in base.abstract.values.values())
    return not given and base.looks.later is None and len(base.usual) >= LEAST


def _trial(chosen: Chosen) -> Trial:
    return Trial(chosen.looks.observed.runs, chosen.usual)


def _fast(search: _Search, base: Chosen) -> Chosen:
    loss = _trial(base).of(base.quantised)
    if loss.agree >= ENOUGH:
        return base
    tried = [search.finer(base, _trial(base), loss)]
    for share in (MILD, WHOLE):
        other = search.equalised(base, Strength(share))
        if other is not None:
            tried.append(search.finer(other, _trial(other), _trial(other).of(other.quantised)))
    found, least = min(tried, key=lambda t: t[1].rank)
    if least.agree < ENOUGH:
        wide = [search.widened(c, _trial(c), at) for c, at in reversed(tried)]
        found, least = min([(found, least), *wide], key=lambda t: t[1].rank)
    return found if least.agree > loss.agree else base


def _best(search: _Search, base: Chosen, say: Say) -> Chosen:
    tried = [base]
    for share in (MILD, (MILD + WHOLE) / 2, WHOLE):
        say(f"equalising channels, {share:.0%}")
        tried += [c for c in [search.equalised(base, Strength(share, exact=False))] if c]
    found = min(tried, key=lambda c: _trial(c).of(_finished(c)).rank)
    trial = _trial(found)
    found = _formats(search, found, trial, say)
    loss = trial.of(_finished(found))
    if loss.agree < ENOUGH:
        found, _ = search.widened(found, trial, trial.of(found.quantised))
    say("rounding weights")
    return replace(found, quantised=_finished(found))


def _finished(chosen: Chosen) -> Quantised:
    return rounded(chosen.quantised, chosen.looks.observed.runs, chosen.usual)


def _formats(search: _Search, found: Chosen, trial: Trial, say: Say) -> Chosen:
    """Activation by activation, the frac at which the scores change least."""
    values = found.abstract.values
    names = [n for n in found.looks.observed.runs.names(("activation",)) if root(values, n) == n]
    least = trial.of(found.quantised).lost
    for _ in range(ROUNDS):
        before = found
        for number, name in enumerate(names, 1):
            say(f"formats, {number} of {len(names)}: {name}")
            now = found.quantised.formats[name].frac
            for step in FINER:
                fracs = {**found.choice.fracs, name: now + step}
                tried = search.other(found, replace(found.choice, fracs=fracs))
                if tried is not None and (lost := trial.of(tried.quantised).lost) < CLEARLY * least:
                    found, least = tried, lost
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


def _noted(base: Chosen, found: Chosen) -> Graph:
    """The graph, with notes on what was done."""
    before, after = _trial(base).of(base.quantised), _trial(found).of(found.quantised)
    told = [f"{name} is held in int16: in int8 it costs most answers" for name in sorted(found.choice.wide)]
    if told or found.graph is not base.graph:
        gain = f"{100 * before.agree:.1f} % before, now {100 * after.agree:.1f} %"
        told.append(f"calibration samples that get the class of the float network: {gain}")
    return replace(found.graph, notes=(*found.graph.notes, *told))
