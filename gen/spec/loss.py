"""[loss]: what the error of a sample is, and what learning makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..words import what_is
from .table import Table, exponent

MSE = "mse"  # the loss whose targets are numbers
EVEN = "balanced"  # class weights that follow from how often classes occur
MOST_SHIFT = 7  # of a class weight 2^-k
KEYS = ("kind", "margin", "mu", "target", "class_weights", "clip", "skip_below")


@dataclass(frozen=True, slots=True)
class Loss:
    """What the error is made of. `margin` and `mu` (Amit 2019: weight of wrong classes) belong to hinge;
    mse learns numbers, not classes, those that a caller gives or the network's own input (`target`).

    class_weights: k of 2^-k, what errors of each class's samples are times; EVEN; or (): none
    clip:          the largest magnitude that an element of the error may have
    skip_below:    a sample of which no element is as large is not learned
    """

    kind: str = "softmax"
    margin: float = 1.0
    mu: float = 1.0
    target: str = "given"
    class_weights: tuple[int, ...] | str = ()
    clip: float = math.inf
    skip_below: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether the error is learned as it is."""
        return not self.class_weights and math.isinf(self.clip) and not self.skip_below


PLAIN = Loss()


def loss_table(loss: Loss) -> dict[str, Any]:
    """[loss] as the rule file would say it. read_loss reads it back."""
    raw: dict[str, Any] = {"kind": loss.kind}
    if loss.kind == "hinge":
        raw |= {"margin": loss.margin, "mu": loss.mu}
    if loss.kind == MSE:
        raw["target"] = loss.target
    if loss.class_weights:
        given = loss.class_weights
        raw["class_weights"] = given if isinstance(given, str) else [f"2^-{k}" for k in given]
    if not math.isinf(loss.clip):
        raw["clip"] = loss.clip
    if loss.skip_below:
        raw["skip_below"] = loss.skip_below
    return raw


def read_loss(whole: Table) -> Loss:
    table = whole.subtable("loss", KEYS)
    kind = table.choice("kind", ("softmax", "hinge", MSE), "softmax")
    target = table.choice("target", ("given", "input"), "given")
    if kind != MSE and table.get("target") is not None:
        raise table.error("target", f"belongs to the {MSE} loss", f'drop it, or set kind = "{MSE}"')
    weights, clip = _class_weights(table, kind), table.number("clip", 0.0, 2.0**15, math.inf)
    if not clip:
        raise table.error("clip", "is 0", "give a number above 0")
    skip = table.power_of_two("skip_below", -15, 15, 0.0)
    if kind != "hinge":
        for key in ("margin", "mu"):
            if table.get(key) is not None:
                raise table.error(key, "belongs to the hinge loss", 'drop it, or set kind = "hinge"')
        return Loss(kind, target=target, class_weights=weights, clip=clip, skip_below=skip)
    margin = table.number("margin", 0.0, 2.0**15, 1.0)
    if margin == 0.0:
        raise table.error("margin", "is 0", "give a number above 0")
    mu = table.power_of_two("mu", -4, 4, 1.0)
    return Loss(kind, margin, mu, class_weights=weights, clip=clip, skip_below=skip)


def _class_weights(table: Table, kind: str) -> tuple[int, ...] | str:
    value = table.get("class_weights")
    if value is None:
        return ()
    if kind == MSE:
        raise table.error("class_weights", f"belongs to losses of classes, not to {MSE}", "drop it")
    if value == EVEN:
        return EVEN
    powers = [exponent(v) for v in value] if isinstance(value, list) else []
    shifts = tuple(-k for k in powers if k is not None and -MOST_SHIFT <= k <= 0)
    if not shifts or len(shifts) != len(powers) or min(shifts):
        hint = f'give "{EVEN}", or for each class a power of two from "2^-{MOST_SHIFT}" to 1, one of them 1'
        raise table.error("class_weights", f"is {what_is(value)}", hint)
    return shifts
