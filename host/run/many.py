"""What a fleet is given over many steps: inputs, labels and who takes part, checked before the first one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.inputs import check_labels
from synapcc.gen.ir.plan import Plan

from .inputs import Clipping, Inputs, quantise_inputs


def many_inputs(plan: Plan, inputs: Inputs, devices: int, clipping: Clipping) -> dict[str, NDArray[np.int8]]:
    """int8 [n, devices, size] by input, of [n, devices, ...]."""
    given = {name: np.asarray(x) for name, x in inputs.items()}
    begins = {x.shape[:2] for x in given.values()}
    if len(begins) != 1 or (shape := next(iter(begins)))[1:] != (devices,):
        told = ", ".join(f"{name} has shape {x.shape}" for name, x in given.items()) or "no inputs"
        raise SynapccError(plan.model, told, f"give [n, {devices}, ...], n samples a device")
    flat = {name: x.reshape(shape[0] * shape[1], *x.shape[2:]) for name, x in given.items()}
    arrays = quantise_inputs(plan, flat, clipping=clipping)
    return {name: x.reshape(*shape, x.shape[1]) for name, x in arrays.items()}


def many_active(plan: Plan, active: ArrayLike | None, n: int, devices: int) -> NDArray[np.bool_]:
    """bool [n, devices]; None: all."""
    mask: NDArray[Any] = np.ones((n, devices), bool) if active is None else np.asarray(active)
    if mask.shape != (n, devices) or not np.all((mask == 0) | (mask == 1)):
        what = f"active is {mask.dtype} of shape {mask.shape}"
        raise SynapccError(plan.model, what, f"give [{n}, {devices}] bool, a step and a device each")
    return mask.astype(bool)


def many_labels(plan: Plan, labels: ArrayLike, active: NDArray[np.bool_]) -> NDArray[Any]:
    """[n, devices] in the type of the Plan's label, of that or of [n]; those that take part are classes."""
    y = np.asarray(labels)
    y = np.broadcast_to(y[:, None], active.shape) if y.shape == active.shape[:1] else y
    if y.shape != active.shape:
        hint = f"give {list(active.shape)}, or [{len(active)}] where all devices have the same"
        raise SynapccError(plan.model, f"label has shape {y.shape}", hint)
    found = np.zeros(active.shape, plan["label"].dtype)
    found[active] = check_labels(y[active], plan.classes, plan.model)
    return found
