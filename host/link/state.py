"""What a chip has learned, outside of the chip: read, kept as an .npz of integers, checked, put onto another.

The file has each persistent tensor under its name, in logical shape, as the integers the chip holds; under
ABOUT a JSON text says of which Plan they are, where they were, and the Q format of each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.files.npz import load_arrays
from synapcc.gen.ir.plan import Plan, PlanTensor, padded
from synapcc.gen.ir.roles import GOOD, STORED, STREAM
from synapcc.gen.stages.state_check import contradiction, rings
from synapcc.gen.target.messages import WRITE, Region

from ..devices import DeviceError
from ..terminal.files import packed
from .client import WORD, Client

ABOUT = "synapcc.about"  # no tensor's name has a dot
FORMAT = 1

Tensors = Mapping[str, NDArray[Any]]


def split(plan: Plan, block: bytes) -> dict[str, NDArray[Any]]:
    """The persistent tensors, in logical shape, of the [state_bytes] as a chip holds them."""
    out = {}
    for t in plan.space("state"):
        raw = np.frombuffer(block, np.dtype(t.dtype).newbyteorder("<"), t.count, t.offset)
        out[t.name] = raw.reshape(t.stored)[..., : t.shape[-1]].astype(t.dtype)
    return out


def joined(plan: Plan, tensors: Tensors) -> bytes:
    """The opposite of `split`; what no tensor fills is zero, as on the chip."""
    block = bytearray(plan.state_bytes)
    for t in plan.space("state"):
        block[t.offset : t.offset + t.nbytes] = padded(tensors[t.name], t.row)
    return bytes(block)


def real(t: PlanTensor, integers: NDArray[Any]) -> NDArray[np.float64]:
    """What the integers of a tensor stand for."""
    return t.meaning.real(integers)


# ---- the chip -----------------------------------------------------------------------------------------


def read(client: Client) -> bytes:
    """Region state, [state_bytes]. DeviceError unless it is what the chip computes a digest of."""
    block = client.read(Region.STATE, 0, client.info.state_bytes)
    if client.digest() != hashlib.sha256(block).digest():
        what = "the state read back is not the one that the chip computes a digest of"
        raise DeviceError(client.device.name, what, "the link or the device's memory is unreliable")
    return block


def pull(plan: Plan, client: Client) -> dict[str, NDArray[Any]]:
    """The persistent tensors of the chip. Raises DeviceError; SynapccError where they cannot be right."""
    tensors = split(plan, read(client))
    check(plan, tensors, client.device.name, "reset the device: its memory was overwritten")
    return tensors


def push(plan: Plan, client: Client, tensors: Tensors) -> bytes:
    """Writes the persistent tensors, which `load` has checked, onto the chip; their SHA-256.

    From the first byte to the last, all of them, and then the chip's digest must be theirs. Where the link
    breaks in between, the chip holds a mixture of two states until this was repeated: DeviceError says so.
    """
    block = joined(plan, tensors)
    want = hashlib.sha256(block).digest()
    written, most = 0, WRITE.ask.tail_bytes // WORD * WORD
    again = "push again, which writes all of it, or reset the device"

    def torn() -> str:
        return f"{written} of {len(block)} bytes written: the chip may hold parts of two states"

    try:
        while written < len(block):
            client.write(Region.STATE, written, block[written : written + most])
            written = min(written + most, len(block))
        got = client.digest()
    except DeviceError as error:
        raise DeviceError(error.where, f"{error.what}; {torn()}", again) from None
    except BaseException as error:  # Ctrl-C, or the system ends us
        error.add_note(f"{torn()}; {again}")
        raise
    if got != want:
        found = client.read(Region.STATE, 0, plan.state_bytes)
        wrong = [t.name for t in plan.space("state") if _part(t, found) != _part(t, block)]
        what = f"does not hold what was written to it: {', '.join(wrong) or 'only its digest differs'}"
        raise DeviceError(client.device.name, what, "the link or the device's memory is unreliable")
    return want


def _part(t: PlanTensor, block: bytes) -> bytes:
    return block[t.offset : t.offset + t.nbytes]


# ---- a wearer's samples -------------------------------------------------------------------------------


def kept_samples(plan: Plan, tensors: Tensors) -> int:
    """How many samples of the wearer the state holds: to learn from again, and to judge by."""
    return sum(int(tensors[count][0]) for _, count, _ in rings(plan))


def check_leaving_out(plan: Plan) -> None:
    """SynapccError where samples of the wearer cannot be left out of a state of this Plan.

    A guard judges by samples that it holds back: without them its counts mean nothing.
    """
    if any(t.use == GOOD for t in plan.space("state")):
        hint = "give --samples to keep them, which are data about a person, or leave out --npz"
        raise SynapccError(plan.model, "a guard judges by the samples that it holds back", hint)


def without_samples(plan: Plan, tensors: Tensors) -> dict[str, NDArray[Any]]:
    """What was learned, with no sample that it was learned from: the store is as compiled, empty, and so is
    what a front end keeps of its stream.

    SynapccError as `check_leaving_out`.
    """
    check_leaving_out(plan)
    stored = {t.name for t in plan.space("state") if t.use == STORED}
    counts = {count for _, count, _ in rings(plan)}
    places = {
        name
        for _, _, step in plan.ops()
        if counts & set(step.args.values())
        for name in step.args.values()
        if plan[name].space == "state" and plan[name].role == "counter" and name != "step"
    }
    begun = {t.name: t.array().astype(t.dtype) for t in plan.space("state") if t.use == STREAM}
    return {n: np.zeros_like(v) if n in stored | places else v for n, v in tensors.items()} | begun


# ---- the file -----------------------------------------------------------------------------------------


def save(plan: Plan, tensors: Tensors, device: str, board: str) -> bytes:
    """The .npz. device, board: where the tensors come from."""
    about = {
        "format": FORMAT,
        "model": plan.model,
        "plan_digest": plan.digest.hex(),
        "numeric_version": plan.numeric_version,
        "device": device,
        "board": board,
        "tensors": {
            t.name: {**t.meaning.to_json(), "limits": [t.lo, t.hi], "role": t.role}
            for t in plan.space("state")
        },
    }
    return packed({ABOUT: np.array(json.dumps(about, sort_keys=True)), **tensors})


def load(plan: Plan, path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The persistent tensors of an .npz and what it says about them; SynapccError unless they fit `plan`."""
    hint = "give a file that synapcc pull, emulate --state-out or Emulator.save wrote"
    arrays = load_arrays(path, hint)
    try:
        about = json.loads(str(arrays.pop(ABOUT)))
        form, digest = about["format"], str(about["plan_digest"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise SynapccError(str(path), f"is no state: it has no {ABOUT}", hint) from None
    if form != FORMAT:
        hint = "take this version for both"
        raise SynapccError(str(path), f"has format {form}, this synapcc reads {FORMAT}", hint)
    if digest != plan.digest.hex():
        what = f"holds a state of Plan {digest[:12]}, this project's Plan is {plan.digest.hex()[:12]}"
        raise SynapccError(str(path), what, "a state fits the very compilation that it was learned with")
    check(plan, arrays, str(path), "pull it again")
    return arrays, about


def check(plan: Plan, tensors: Tensors, where: str, hint: str) -> None:
    """SynapccError unless these are the Plan's persistent tensors: names, types, shapes, and what the chip's
    own check demands of their values (gen.stages.state_check)."""
    expected = {t.name: t for t in plan.space("state")}
    for name in (*expected, *tensors):
        if name not in tensors or name not in expected:
            what = "is missing" if name in expected else "is no persistent tensor of this Plan"
            raise SynapccError(where, f"{name} {what}", hint)
    for name, t in expected.items():
        v = tensors[name]
        if v.dtype != np.dtype(t.dtype) or v.shape != t.shape:
            listed = f"{v.dtype} {list(v.shape)}, the Plan has {t.dtype} {list(t.shape)}"
            raise SynapccError(where, f"{name} is {listed}", hint)
    if wrong := contradiction(plan, tensors):
        raise SynapccError(where, wrong, hint)
