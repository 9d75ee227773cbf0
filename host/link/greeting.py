"""What a firmware says of itself, and what it must say: nothing that a device says is used before that.

Where the Plan is known, every size and count is that of the Plan. Where it is not, each is held against a
bound below, so that a device which lies can make nobody wait, or ask for memory, without end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from synapcc.gen.emit.manifest import largest
from synapcc.gen.ir.plan import Plan
from synapcc.gen.target import messages
from synapcc.gen.target.messages import PROOFS, PROTOCOL_VERSION, Kept

MOST_BYTES = 1 << 29
"""Of a region: what the memory map of a Cortex-M has for RAM."""

MOST_FLASH = 1 << 24
"""Of region flash, which goes over the link as a whole."""

MOST_STEPS = 1 << 16
"""Programs and steps of a model, and its classes: labels are u16."""

VERDICT_BYTES = 8
"""Winner and margin, which stand before the scores of region output."""

SCORE_BYTES = 2


@dataclass(frozen=True, slots=True)
class Hello:
    """What the firmware says of itself; sizes in bytes."""

    protocol_version: int
    numeric_version: int
    runtime_version: int
    plan_digest: bytes
    clock_hz: int
    state_bytes: int
    arena_bytes: int
    input_bytes: int
    output_bytes: int
    tensors: int
    programs: int
    ops: int
    classes: int
    batch: int
    kept: int
    keep_bytes: int
    flash_bytes: int
    found: int
    model: str
    board: str


def sample_bytes(input_bytes: int) -> int:
    """A sample as LEARN_MANY and region samples have it."""
    return messages.SAMPLE.fixed_bytes + input_bytes


def batch(input_bytes: int) -> int:
    """Samples that LEARN_MANY takes at most: what fits the request, and their proofs the reply."""
    return min(messages.LEARN_MANY.ask.tail_bytes // sample_bytes(input_bytes), PROOFS)


def of_plan(plan: Plan) -> dict[str, int | str]:
    """What HELLO says of this Plan, whatever chip it is on."""
    inputs = sum(plan[name].nbytes for name in plan.inputs)
    return {
        "state_bytes": plan.state_bytes,
        "arena_bytes": plan.arena_bytes,
        "input_bytes": inputs,
        "output_bytes": VERDICT_BYTES + SCORE_BYTES * plan.scores,
        "tensors": len(plan.space("state")),
        "programs": len(plan.entries),
        "ops": len(plan.ops()),
        "classes": plan.classes,
        "model": plan.model,
    }


def contradiction(said: Hello, plan: Plan | None) -> str:
    """The first field that cannot be, and why; "" where all of them can."""
    if plan is not None:
        for name, want in of_plan(plan).items():
            if (got := getattr(said, name)) != want:
                return f"{name} {got!r}, the Plan has {want!r}"
    for name, (least, most) in _bounds(said).items():
        got = getattr(said, name)
        if not least <= got <= most:
            return f"{name} {got}, which is not {least}" + (f" to {most}" if most > least else "")
    if Kept.find(said.found) is None or (said.found == Kept.NONE) != (said.keep_bytes == 0):
        return f"found {said.found} in a store of {said.keep_bytes} bytes"
    if (said.output_bytes - VERDICT_BYTES) % SCORE_BYTES:
        return f"output_bytes {said.output_bytes}, which are no whole scores"
    return ""


def _bounds(said: Hello) -> Mapping[str, tuple[int, int]]:
    inputs = min(said.input_bytes, MOST_BYTES)
    fitting = batch(inputs)
    return {
        "protocol_version": (PROTOCOL_VERSION, PROTOCOL_VERSION),
        "state_bytes": (0, MOST_BYTES),
        "arena_bytes": (0, MOST_BYTES),
        "input_bytes": (1, MOST_BYTES),
        "output_bytes": (VERDICT_BYTES + SCORE_BYTES, VERDICT_BYTES + SCORE_BYTES * MOST_STEPS),
        "tensors": (0, min(said.state_bytes, MOST_STEPS)),
        "programs": (1, MOST_STEPS),
        "ops": (0, MOST_STEPS),
        "classes": (0, MOST_STEPS),
        "batch": (fitting, fitting),
        "kept": (0, MOST_BYTES // sample_bytes(inputs)),
        "keep_bytes": (0, said.state_bytes + largest(said.state_bytes)),  # a tensor takes a byte at least
        "flash_bytes": (0, MOST_FLASH if said.keep_bytes else 0),
    }
