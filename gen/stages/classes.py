"""What classes weigh in learning, and which rules hear of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..errors import CompileError
from ..ir.program import Step, reached
from ..rules import Rule, RuleTape
from ..spec import EVEN, RuleSpec
from ..spec.loss import MOST_SHIFT

KEY = "loss.class_weights"


def weighed(spec: RuleSpec, classes: int, calibration: Mapping[str, np.ndarray]) -> RuleSpec:
    """The rule file with k of the weight 2^-k of each class, where it has weights of classes.

    Balanced: the nearest power of two to n_min / n_c, n_c the calibration samples of class c and n_min those
    of the rarest that has any; 1 for a class without. Raises CompileError where that cannot be said.
    """
    given = spec.loss.class_weights
    if given != EVEN:
        if len(given) != classes:
            what = f"has {len(given)} numbers, and there are {classes} classes"
            raise CompileError(KEY, what, "give one for each class")
        return spec
    if "label" not in calibration:
        what = f'is "{EVEN}", and the calibration data have no labels'
        raise CompileError(KEY, what, "add an array `label`, or list the weights")
    counts = np.bincount(calibration["label"].astype(np.intp).ravel(), minlength=classes)
    least = counts[counts > 0].min()
    shifts = tuple(min(round(float(np.log2(max(n, least) / least))), MOST_SHIFT) for n in counts)
    return replace(spec, loss=replace(spec.loss, class_weights=shifts))


def refuse_unheard(tape: RuleTape, rule: Rule) -> None:
    """Raises CompileError where what [loss] makes of the error would change nothing of what is learned."""
    steps = (i for p in reached(tape.b.programs, "correct") for i in tape.b.programs[p].items)
    if not any(isinstance(i, Step) and tape.error in i.args.values() for i in steps):
        what = f"rule {rule.name} does not read the error"
        raise CompileError("loss", what, "leave class_weights, clip and skip_below out")
    if tape.spec.loss.skip_below and not rule.waits:
        what = f"rule {rule.name} learns from samples without an error, too"
        raise CompileError("loss.skip_below", what, "leave it out")
