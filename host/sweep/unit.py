"""The smallest thing that a sweep runs: one setting, one seed, and the wearers of one fold.

It is a function of what it is given and gives plain data, so that it may run in any process of any machine.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError, DataWarning
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.inputs import LABEL
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages.float_run import spread

from ..run.emulator import Emulator
from ..run.scores import confusion
from ..run.wearer_data import ONE, Part, by_wearer
from ..run.wearers import (
    FloatTest,
    Wearers,
    learn_float,
    learn_integer,
    predict_integer,
    right_in_float,
    right_in_integers,
)

Matrices = dict[str, list[list[int]]]
Side = Mapping[str, Mapping[str, NDArray[Any]]]
OWN = 2_000  # calibration samples that are asked again


def _refused(plan: Plan, passes: Sequence[int]) -> str:
    """Why wearers cannot learn this; "" where they can."""
    if plan.numbers or not plan.learning:
        return "numbers are learned, not classes" if plan.numbers else "nothing learns"
    if max(passes) > 1 and "rehearse" not in plan.entries:
        return "more than one pass needs [store] in the rule file"
    return ""


def run_unit(
    graph: Graph,
    spec: RuleSpec,
    calibration: Mapping[str, NDArray[Any]],
    learn: Side,
    test: Side,
    passes: Sequence[int],
    floats: bool = False,
) -> dict[str, Any]:
    """digest: of the Plan; before, after[passes]: the confusion matrix of each wearer's test samples;
    base[passes]: the mean over the wearers of how often the calibration samples, which are of the base's own
    data, are right then, 0 before learning, where they have labels; warnings: of the data, a line each; or
    `refused`: why the setting cannot be compiled.

    floats: learn in float32, the programs of the rule as they are before they become integers
    learn, test: arrays by wearer, inputs by name [n, ...] and `label` [n]. Raises SynapccError where they do
    not fit the network.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataWarning)
        try:
            compiled = compile_model(graph, spec, calibration)
        except CompileError as error:
            return {"refused": error.line}
        plan = compiled.plan
        if refused := _refused(plan, passes):
            return {"refused": refused}
        order = sorted(learn, key=lambda name: (-len(learn[name]["label"]), name))
        sides = (
            {name: by_wearer(plan, side[name], f"samples of {name}")[ONE] for name in order}
            for side in (learn, test)
        )
        people = Wearers(*sides)

        own = _own(plan, calibration)

    before = np.repeat(Emulator(plan).state, len(order), axis=0)
    first = _matrices(plan.classes, people, predict_integer(plan, before, people))
    after: dict[str, Matrices] = {}
    base = {"0": right_in_integers(plan, before[:1], own)} if own else {}
    if floats:
        asked = FloatTest(compiled, people)
        for k, state in learn_float(compiled, people, passes):
            after[str(k)] = _matrices(plan.classes, people, asked.predict(state))
            base |= {str(k): right_in_float(compiled, state, people, own)} if own else {}
    else:
        for k, states in learn_integer(plan, people, passes):
            after[str(k)] = _matrices(plan.classes, people, predict_integer(plan, states, people))
            base |= {str(k): right_in_integers(plan, states, own)} if own else {}
    lines = sorted({str(w.message) for w in told if issubclass(w.category, DataWarning)})
    return {"digest": plan.digest.hex(), "before": first, "after": after, "base": base, "warnings": lines}


def _own(plan: Plan, calibration: Mapping[str, NDArray[Any]]) -> Part | None:
    """Calibration samples, evenly spread, to ask again; None where they have no labels."""
    if LABEL not in calibration:
        return None
    some = spread(len(calibration[LABEL]), OWN)
    arrays = {name: values[some] for name, values in calibration.items()}
    return by_wearer(plan, arrays, "calibration")[ONE]


def _matrices(classes: int, people: Wearers, said: Mapping[str, NDArray[np.int64]]) -> Matrices:
    """Confusion matrices by wearer."""
    parts = sorted(people.test.items())
    return {name: confusion(part.label, said[name], classes).tolist() for name, part in parts}
