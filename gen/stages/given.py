"""What calibration data may be: inputs by name, with labels or targets; or none at all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError, SynapccError
from ..ir.graph import Graph
from ..ir.inputs import (
    LABEL,
    TARGET,
    check_counts,
    check_labels,
    check_magnitude,
    check_samples,
    check_targets,
    match,
)
from ..spec import INFERENCE_ONLY, RuleSpec

Calibration = Mapping[str, NDArray[np.generic]]


def no_calibration(graph: Graph, spec: RuleSpec) -> dict[str, NDArray[np.float64]]:
    """No samples at all, [0, *shape] of each input. CompileError where number formats need some."""
    made = [*graph.inputs, *(n.output for n in graph.nodes)]
    ours = next((name for name in made if graph.tensors[name].format is None), "")
    if ours or spec.rule != INFERENCE_ONLY:
        why = f"the number format of {ours} is" if ours else "the number formats of what learns are"
        hint = "give --calibrate CAL.npz, some hundred typical inputs"
        raise CompileError("calibration data", f"are missing: {why} chosen from them", hint)
    return {i.name: np.zeros((0, *i.shape)) for i in graph.interface}


def check_calibration(
    graph: Graph, arrays: Calibration, where: str, spec: RuleSpec
) -> dict[str, NDArray[np.float64]]:
    """Calibration data in float64, inputs [n, *shape] and labels [n], checked against the graph.

    `where` names the data in the CompileError that a misfit raises.
    spec: what learns: classes, of which one output has two, or numbers.
    """
    out: dict[str, NDArray[np.float64]] = {}
    try:
        for i, x in zip(graph.interface, match(graph.interface, arrays, where).values(), strict=True):
            # int8 is what a chip takes, in DATA.npz; where no file says what it stands for, it would
            # silently mean other numbers here.
            held = graph.tensors[i.name].format
            if held is not None and x.dtype == held.dtype:
                x = held.meaning.real(x)
            if x.dtype.kind not in "fiu" or x.dtype == np.int8:
                hint = "give float32 as the network takes it"
                raise CompileError(where, f"{i.name} is {x.dtype}", hint)
            check_magnitude(i, x, where)
            out[i.name] = check_samples(i, x, where).astype(np.float64)
        scores = graph.tensors[graph.output].size
        if spec.numbers:
            if TARGET in arrays and TARGET not in graph.inputs:
                out[TARGET] = check_targets(arrays[TARGET], scores, where)
        elif LABEL in arrays and LABEL not in graph.inputs:
            out[LABEL] = check_labels(arrays[LABEL], max(scores, 2), where).astype(np.float64)
        check_counts(out, where)
    except SynapccError as error:
        raise CompileError(error.where, error.what, error.hint) from None
    return out
