"""A verification that goes on where it stopped: a file says how far it came, with the state of both sides.

It is written whole after every SHA-256 that agreed. So a run may end at any time, and the same command goes
on from the last of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.files.npz import load_arrays
from synapcc.gen.target.messages import Flag

from ..link.state import ABOUT, check, split
from ..terminal.files import check_target, packed, write_whole
from .samples import Samples
from .sides import Sides

FORMAT = 1
_HINT = "give the file that the same command wrote, or one that is not there yet"


def begin(path: Path, sides: Sides, steps: int) -> int:
    """How many steps the file says are done, 0 where there is none; both sides then hold its state.

    Raises SynapccError: no such file, or of another Plan, of other samples, of more steps than `steps`.
    """
    check_target(path)
    if not path.exists():
        return 0
    done, state = _load(path, sides)
    if done > steps:
        raise SynapccError(str(path), f"holds a run of {done} steps", f"give --steps {done} or more")
    sides.begin_from(state[None])
    if sides.client.digest() != sides.proof(Flag.DIGEST):
        what = "does not hold the state that was written to it"
        raise SynapccError(sides.client.device.name, what, "the link or the device's memory is unreliable")
    return done


def keeper(path: Path | None, sides: Sides) -> Callable[[int, NDArray[np.uint8]], None]:
    """Writes how far a run came: (steps, state [1, state_bytes])."""
    if path is None:
        return lambda steps, state: None
    about = {"format": FORMAT, "plan_digest": sides.plan.digest.hex(), "samples": fingerprint(sides.samples)}

    def keep(steps: int, state: NDArray[np.uint8]) -> None:
        told = np.array(json.dumps(about | {"steps": steps}, sort_keys=True))
        write_whole(path, packed({ABOUT: told, "state": state[0]}))

    return keep


def fingerprint(samples: Samples) -> str:
    """SHA-256 of all integers that the samples give, in their order."""
    found = hashlib.sha256()
    arrays = [*sorted(samples.inputs.items()), ("label", samples.labels), ("target", samples.targets)]
    for name, array in arrays:
        if array is not None:
            found.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return found.hexdigest()


def _load(path: Path, sides: Sides) -> tuple[int, NDArray[np.uint8]]:
    """(steps, state [state_bytes]) of a file of this Plan and of these samples."""
    arrays = load_arrays(path, _HINT)
    try:
        about = json.loads(str(arrays[ABOUT]))
        form, steps = int(about["format"]), int(about["steps"])
        plan, samples, state = str(about["plan_digest"]), str(about["samples"]), arrays["state"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise SynapccError(str(path), "is no verification that was interrupted", _HINT) from None
    if form != FORMAT:
        raise SynapccError(str(path), f"has format {form}, this synapcc reads {FORMAT}", _HINT)
    if plan != sides.plan.digest.hex():
        what = f"is of Plan {plan[:12]}, this project's Plan is {sides.plan.digest.hex()[:12]}"
        raise SynapccError(str(path), what, _HINT)
    if samples != fingerprint(sides.samples):
        raise SynapccError(str(path), "is of other samples than --data holds", _HINT)
    if state.dtype != np.uint8 or state.shape != (sides.plan.state_bytes,) or steps < 0:
        raise SynapccError(str(path), "holds no state of this Plan", _HINT)
    check(sides.plan, split(sides.plan, state.tobytes()), str(path), _HINT)
    return steps, state
