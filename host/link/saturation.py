"""How many updates met the limit of a learned value, and what helps where they are too many.

An *update* is one learned value in one learning step: a layer of n weights and biases has n updates a step,
the learned feedback matrix counts as well, and a step whose signal was zero counts like any other. So the
share follows from what every chip keeps in its state: `<layer>_saturated` and `step`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.ir.plan import Plan
from synapcc.gen.ops import changed
from synapcc.gen.spec import MAX_RATE_SHIFT

MOST = 0.01  # the share above which learning is told to be hampered
ROOM, LESS = 8, 2  # what is advised: so many times the headroom, so many powers of two off the rate


@dataclass(frozen=True, slots=True)
class Saturation:
    """One learned layer: how often a value was held at its limit, of so many updates.

    at_limits: the share of its weights that stand at a limit now
    rate:      k of its learning rate 2^-k
    """

    layer: str
    saturated: int
    updates: int
    at_limits: float
    rate: int

    @property
    def share(self) -> float:
        return self.saturated / self.updates if self.updates else 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"share": self.share}


def saturation(plan: Plan, state: NDArray[np.uint8]) -> tuple[Saturation, ...]:
    """Every learned layer, from one device's persistent bytes ([state_bytes] uint8)."""
    found = []
    for _, _, step in plan.ops():
        if not step.kernel.endswith(".update"):
            continue
        steps = int(_content(plan, state, "step")[0])
        counted = step.args["saturated"]  # by this step, and by one of a matrix that learns beside the layer
        learned = [
            n for _, _, s in plan.ops() if s.args.get("saturated") == counted for n in changed(s).values()
        ]
        values = sum(int(np.prod(plan[name].shape)) for name in learned if name != counted)
        weight = plan[step.args["w"]]
        w = _content(plan, state, weight.name)
        met = float(np.mean((w == weight.lo) | (w == weight.hi)))
        saturated = int(_content(plan, state, step.args["saturated"])[0])
        found.append(Saturation(step.node, saturated, steps * values, met, int(step.attrs["rate"])))
    return tuple(found)


def _content(plan: Plan, state: NDArray[np.uint8], name: str) -> NDArray[Any]:
    t = plan[name]
    return state[t.offset : t.offset + t.nbytes].view(np.dtype(t.dtype)).reshape(t.stored)[..., : t.shape[-1]]


def warning(found: Sequence[Saturation]) -> str:
    """One line for the layer that saturates most, with what helps; empty where none has more than MOST."""
    worst = max(found, key=lambda x: x.share, default=None)
    if worst is None or worst.share <= MOST:
        return ""
    less = f"and if that is not enough, with a rate of 2^-{worst.rate + LESS} or smaller"
    if worst.rate + LESS > MAX_RATE_SHIFT:
        less = "or scale the inputs down"
    return (
        f"{worst.layer}: {100 * worst.share:.1f} % of {worst.updates:,} updates met a limit, "
        f"{100 * MOST:.0f} % is the most that does no harm; compile with {ROOM} times the headroom, {less}"
    )
