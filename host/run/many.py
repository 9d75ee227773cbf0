"""What a fleet is given over many steps: inputs, labels and who takes part, checked before the first one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.inputs import check_labels
from synapcc.gen.ir.plan import Plan

from ..link.checksum import SUMS
from .inputs import Clipping, Inputs, quantise_inputs


def many_count(plan: Plan, inputs: Inputs, devices: int) -> int:
    """n of inputs [n, devices, ...]."""
    given = {name: np.asarray(x) for name, x in inputs.items()}
    begins = {x.shape[:2] for x in given.values()}
    if len(begins) != 1 or (shape := next(iter(begins)))[1:] != (devices,):
        told = ", ".join(f"{name} has shape {x.shape}" for name, x in given.items()) or "no inputs"
        raise SynapccError(plan.model, told, f"give [n, {devices}, ...], n samples a device")
    return int(shape[0])


def many_inputs(
    plan: Plan, inputs: Inputs, active: NDArray[np.bool_], clipping: Clipping
) -> dict[str, NDArray[Any]]:
    """Integers [n, devices, size] by input, of [n, devices, ...]; what takes no part is zero, unread."""
    given = {name: np.asarray(x) for name, x in inputs.items()}
    if active.all():
        flat = {name: x.reshape(active.size, *x.shape[2:]) for name, x in given.items()}
        arrays = quantise_inputs(plan, flat, clipping=clipping)
        return {name: x.reshape(*active.shape, x.shape[1]) for name, x in arrays.items()}
    if not active.any():  # a sample of zeros has the shape that is checked
        arrays = quantise_inputs(plan, {name: np.zeros_like(x[0, :1]) for name, x in given.items()})
        return {name: np.zeros((*active.shape, x.shape[1]), x.dtype) for name, x in arrays.items()}
    arrays = quantise_inputs(plan, {name: x[active] for name, x in given.items()}, clipping=clipping)
    found = {name: np.zeros((*active.shape, x.shape[1]), x.dtype) for name, x in arrays.items()}
    for name, x in arrays.items():
        found[name][active] = x
    return found


def check_checksums(plan: Plan, checksums: NDArray[np.uint64] | None, active: NDArray[np.bool_]) -> None:
    """SynapccError unless compiled code may write there: it looks at no bounds."""
    wanted = (*active.shape, SUMS)
    if checksums is None:
        return
    hint = f"give numpy.zeros({wanted}, numpy.uint64)"
    if not isinstance(checksums, np.ndarray):
        raise SynapccError(plan.model, f"checksums is {type(checksums).__name__}", hint)
    if checksums.shape != wanted or checksums.dtype != np.uint64:
        raise SynapccError(plan.model, f"checksums is {checksums.dtype} of shape {checksums.shape}", hint)
    if not (checksums.flags.c_contiguous and checksums.flags.writeable and checksums.flags.aligned):
        raise SynapccError(plan.model, "checksums is no contiguous array that may be written", hint)


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
    places = np.argwhere(active)[:, : np.ndim(labels)]  # of each label in what the user gave
    found[active] = check_labels(y[active], plan.classes, plan.model, places)
    return found
