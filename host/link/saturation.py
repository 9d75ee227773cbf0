"""How many updates met the limit of a learned value, and what helps where they are too many.

An *update* is one learned value in one learning step: a layer of n weights and biases has n updates a step,
the learned feedback matrix counts as well, and a step whose signal was zero counts like any other. So the
share follows from what every chip keeps in its state: `<layer>_saturated` and `step`. Of changes that add up
first only those count that are made; what a sum meets of its own limit counts as one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Item, Repeat, Step, When
from synapcc.gen.ops import changed
from synapcc.gen.ops.counter import Every, turns
from synapcc.gen.spec import MAX_RATE_SHIFT, OWN

MOST = 0.01  # the share above which learning is told to be hampered
ROOM, LESS = 8, 2  # what is advised: so many times the headroom, so many powers of two off the rate


@dataclass(frozen=True, slots=True)
class Saturation:
    """One learned layer: how often a value was held at its limit, of so many updates.

    at_limits: the share of its weights that stand at a limit now
    rate:      k of its learning rate 2^-k, the first one of a schedule; None where that of the rule file is
               not all that says how much it changes: under equations, and where weights try moves
    """

    layer: str
    saturated: int
    updates: int
    at_limits: float
    rate: int | None

    @property
    def share(self) -> float:
        return self.saturated / self.updates if self.updates else 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"share": self.share}


def saturation(plan: Plan, state: NDArray[np.uint8]) -> tuple[Saturation, ...]:
    """Every learned layer, from one device's persistent bytes ([state_bytes] uint8)."""
    steps = int(_content(plan, state, "step")[0]) if "step" in plan else 0
    said = any(p.doc.startswith(f"{OWN}: ") for p in plan.programs.values())
    counting: dict[str, list[Step]] = {}
    for _, _, step in plan.ops():
        if counted := step.args.get("saturated"):
            counting.setdefault(counted, []).append(step)
    found = []
    for counted, changing in counting.items():
        values = _updates(plan, "adapt", counted)
        met = _at_limits(plan, state, {n for step in changing for n in changed(step).values()})
        saturated = int(_content(plan, state, counted)[0])
        made = [s for s in changing if any(plan[n].role != "sum" for n in _learned(plan, s, counted))]
        rates = [int(step.attrs["rate"]) for step in made if "rate" in step.attrs]
        rate = min(rates, default=None) if len(rates) == len(made) and not said else None
        found.append(Saturation(changing[0].node, saturated, int(steps * values), met, rate))
    return tuple(found)


def counts(plan: Plan, state: NDArray[np.uint8]) -> tuple[int, int]:
    """What STATS says of a state, modulo 2^32: samples learned from, and updates that met a limit."""
    counted = {step.args["saturated"] for _, _, step in plan.ops() if "saturated" in step.args}
    learned = int(_content(plan, state, "step")[0]) if "step" in plan else 0
    saturated = sum(int(_content(plan, state, name)[0]) for name in counted)
    return learned % (1 << 32), saturated % (1 << 32)


def _at_limits(plan: Plan, state: NDArray[np.uint8], names: set[str]) -> float:
    """The share of the weights among these tensors that stand at a limit; 0 where there are none."""
    met = values = 0
    for t in (plan[n] for n in names if plan[n].role == "weight"):
        w = _content(plan, state, t.name)
        met, values = met + int(np.count_nonzero((w == t.lo) | (w == t.hi))), values + w.size
    return met / values if values else 0.0


def _learned(plan: Plan, step: Step, counted: str) -> list[str]:
    """What a step changes of the state beside its counter."""
    return [n for n in changed(step).values() if n != counted and plan[n].space == "state"]


def _updates(plan: Plan, program: str, counted: str) -> Fraction:
    """How many values a run of `program` changes that counter `counted` watches: every condition holds, that
    of each n-th run in so many, and of programs that take turns the one with most runs."""
    every = {
        i.args["flag"]: int(i.attrs["period"])
        for i in plan.programs[program].items
        if isinstance(i, Step) and i.kernel == Every.name
    }

    def work(item: Item) -> Fraction:
        if not isinstance(item, Step):
            share = Fraction(item.times if isinstance(item, Repeat) else 1)
            if isinstance(item, When) and item.flag in every:
                share *= Fraction(1, every[item.flag])
            return share * _updates(plan, item.program, counted)
        if item.args.get("saturated") != counted:
            return Fraction(0)
        learned = [plan[name] for name in _learned(plan, item, counted)]
        return Fraction(sum(int(np.prod(t.shape)) for t in learned if t.role != "sum"))

    return sum((max(work(i) for i in items) for items in turns(plan.programs, program)), Fraction(0))


def _content(plan: Plan, state: NDArray[np.uint8], name: str) -> NDArray[Any]:
    t = plan[name]
    return state[t.offset : t.offset + t.nbytes].view(np.dtype(t.dtype)).reshape(t.stored)[..., : t.shape[-1]]


def warning(found: Sequence[Saturation]) -> str:
    """One line for the layer that saturates most, with what helps; empty where none has more than MOST."""
    worst = max(found, key=lambda x: x.share, default=None)
    if worst is None or worst.share <= MOST:
        return ""
    less = f"and if that is not enough, make what a learning step changes {2**LESS} times smaller"
    if worst.rate is not None:
        less = f"and if that is not enough, with a rate of 2^-{worst.rate + LESS} or smaller"
    if worst.rate is not None and worst.rate + LESS > MAX_RATE_SHIFT:
        less = "or scale the inputs down"
    return (
        f"{worst.layer}: {100 * worst.share:.1f} % of {worst.updates:,} updates met a limit, "
        f"{100 * MOST:.0f} % is the most that does no harm; compile with {ROOM} times the headroom, {less}"
    )
