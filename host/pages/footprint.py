"""What a Plan takes: bytes of flash and RAM against the board's, by tensor and by layer."""

from __future__ import annotations

from typing import Any

from synapcc.gen.compile import Compiled
from synapcc.gen.emit.fits import firmware_bytes, least_flash, least_ram
from synapcc.gen.emit.flash import stored
from synapcc.gen.ir.plan import Plan, PlanTensor
from synapcc.gen.ir.roles import FIRST, GOOD, HISTORY, ROLES, STORED, STREAM
from synapcc.gen.sets import REF
from synapcc.gen.target.boards import Board

KINDS = ("weights", "feedback", "samples", "activations", "teaching", "other")
"""What a tensor is for, as `kinds` tells it."""


def memory(plan: Plan, kernel_set: str = REF) -> dict[str, int]:
    """Bytes of constants and initial state in flash, as `kernel_set` stores them, and of RAM: state, arena.

    infer_arena: that of `infer`, 0 where it shares the other; run: what says which program runs, and where
    """
    flash = stored(plan, kernel_set)
    store = sum(t.nbytes for t in plan.space("state") if t.use in (STORED, STREAM))
    return {
        "constants": sum(t.nbytes for t in flash.constants),
        "initial_state": sum(t.nbytes for t in flash.starts),
        "state": plan.state_bytes,
        "of_which_samples": store,
        "arena": plan.arena_bytes,
        "of_which_history": sum(t.nbytes for t in plan.tensors if t.use == HISTORY),
        "infer_arena": plan.infer_arena_bytes,
        "run": plan.run_bytes,
    }


def budget(plan: Plan, board: Board | None, kernel_set: str) -> dict[str, dict[str, int]] | None:
    """What the board has, and what firmware for this Plan takes of it at least; None without a board.

    `synapcc build` measures the firmware; this is what is known before there is one.
    """
    if board is None:
        return None
    tensors = stored(plan, kernel_set).nbytes
    flash = least_flash(plan, board, kernel_set)
    inputs = sum(plan[i].nbytes for i in plan.inputs)
    return {
        "flash": {"size": board.flash.size, "needs": flash, "tensors": tensors, "code": flash - tensors},
        "ram": {
            "size": board.ram.size,
            "needs": least_ram(plan, board),
            "state": plan.state_bytes,
            "arena": plan.arena_bytes,
            "infer_arena": plan.infer_arena_bytes,
            "run": plan.run_bytes,
            "firmware": firmware_bytes(plan, board)[1] + inputs,
            "stack": board.stack,
        },
    }


def kinds(plan: Plan) -> dict[str, str]:
    """What each tensor is for, one of KINDS. Feedback: what only teaching signals pass through."""
    weights = {step.args[r] for _, _, step in plan.ops() for r in ("w", "b", "s") if r in step.args}
    return {t.name: _kind(t, weights) for t in plan.tensors}


def _kind(t: PlanTensor, weights: set[str]) -> str:
    kind = ROLES[t.role].kind
    if t.space == "arena":
        return kind if kind != "weights" else "other"
    if t.use in (STORED, STREAM, "replayed") or t.role == "label":
        return "samples"
    if t.use in (GOOD, FIRST):
        return "other"
    if t.role in ("weight", "matrix") and t.name not in weights:
        return "feedback"
    return kind if kind == "weights" else "other"


def owners(plan: Plan) -> dict[str, str]:
    """The node of each tensor: the one that first names it, forward before learning; "input" for inputs."""
    rank = {name: i for i, name in enumerate(("forward", "infer", "adapt", "correct"))}
    found = dict.fromkeys((*plan.inputs, *(("label",) if "label" in plan else ())), "input")
    for _, _, step in sorted(plan.ops(), key=lambda op: rank.get(op[0], len(rank))):
        for name in step.args.values():
            found.setdefault(name, step.node)
    return found


def tensors(plan: Plan, kernel_set: str = REF) -> list[dict[str, Any]]:
    """Every tensor, ready for JSON; the constants as the library of `kernel_set` holds them."""
    kind, owner, flash = kinds(plan), owners(plan), stored(plan, kernel_set)
    origin = {t.name: flash.origin.get(t.name, t.name) for t in (*plan.tensors, *flash.constants)}
    copied = {t.name for t in flash.tensors}
    return [
        {
            "tensor": t.name,
            "node": owner.get(origin[t.name], ""),
            "kind": kind[origin[t.name]],
            "role": t.role,
            "dtype": t.dtype,
            "shape": list(t.shape),
            "q": plan.q(t),
            "space": t.space,
            "offset": t.offset,
            "bytes": t.nbytes,
            "in_flash": t.nbytes if t.name in copied else 0,
            "note": t.about,
        }
        for t in (*flash.constants, *(t for t in plan.tensors if t.space != "const"))
    ]


def network(compiled: Compiled) -> list[dict[str, Any]]:
    """Bytes by layer and kind, in the graph's order; then those of all that is no layer of the network."""
    nodes = {n.name: n for n in compiled.graph.nodes}
    sums: dict[str, dict[str, int]] = {name: dict.fromkeys(KINDS, 0) for name in nodes}
    places: dict[str, dict[str, int]] = {name: {"flash": 0, "ram": 0} for name in nodes}
    for t in tensors(compiled.plan, compiled.kernel_set):
        part = sums.setdefault(t["node"], dict.fromkeys(KINDS, 0))
        place = places.setdefault(t["node"], {"flash": 0, "ram": 0})
        part[t["kind"]] += t["bytes"]
        place["flash"] += t["in_flash"]
        place["ram"] += t["bytes"] if t["space"] == "state" else 0
    return [
        {
            "node": name,
            "op": nodes[name].op if name in nodes else "",
            "shape": list(compiled.graph.tensors[nodes[name].output].shape) if name in nodes else [],
            "learned": name in compiled.learned,
            **places[name],
            "bytes": part,
        }
        for name, part in sums.items()
    ]
