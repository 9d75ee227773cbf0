"""The compiler's front door: model, rule file, calibration data and board in; everything a writer needs out.

Writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .boards import Board, load_board
from .bounds import Proof
from .errors import CompileError
from .graph import Graph, verify
from .importers import load_model
from .lower import lower
from .npz import load_arrays
from .ops import layer
from .plan import Plan, PlanTensor
from .program import Abstract
from .quantise import Quantised, quantise
from .rules import rules
from .schedule import build
from .spec import INFERENCE_ONLY, RuleSpec, load_spec, select_layers
from .untie import untie

Calibration = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Compiled:
    """A compilation: the Plan, and what led to it, for reports and float baselines.

    calibration: the inputs by name, float64 [n, *shape], and `label` [n] if there are labels
    learned:     the layers that learn, in the graph's order
    """

    plan: Plan
    graph: Graph
    spec: RuleSpec
    abstract: Abstract
    quantised: Quantised
    proofs: tuple[Proof, ...]
    calibration: Mapping[str, NDArray[np.float64]]
    board: Board | None
    learned: tuple[str, ...]


def compile_model(
    model: Path | str | Graph,
    rule: Path | str | RuleSpec,
    calibration: Path | str | Calibration,
    board: Board | str | None = None,
    name: str | None = None,
) -> Compiled:
    """Compiles a network for a learning rule.

    model:       a file (.onnx) or a Graph
    rule:        a rule file or a RuleSpec
    calibration: an .npz or a mapping with the inputs by name, float [n, *shape], and optionally `label` [n]
    board:       name, TOML path or Board; None compiles without limits of memory
    name:        prefix of the emitted C; the model file's name if None

    Raises CompileError for whatever is wrong.
    """
    graph = verify(model if isinstance(model, Graph) else load_model(Path(model), name))
    spec = rule if isinstance(rule, RuleSpec) else load_spec(Path(rule), sorted(rules()))
    where = str(calibration) if isinstance(calibration, str | Path) else "calibration"
    arrays = load_arrays(Path(calibration)) if isinstance(calibration, str | Path) else calibration
    data = check_calibration(graph, arrays, where)
    target = load_board(board) if isinstance(board, str) else board
    chosen = None if spec.rule == INFERENCE_ONLY else rules()[spec.rule]
    graph = untie(graph, spec.untied)
    weighted = [n for n in graph.nodes if layer(n.op).weighted]
    learned = select_layers(spec, [n.name for n in weighted], [n.name for n in weighted if n.op == "dense"])
    if chosen:
        learned = chosen.narrow(learned)
    abstract = build(graph, spec, chosen, learned, data)
    quantised = quantise(abstract, spec, data)
    plan, proofs = lower(abstract, quantised, tuple(graph.tensors[i].shape for i in graph.inputs), graph.head)
    compiled = Compiled(plan, graph, spec, abstract, quantised, tuple(proofs), data, target, learned)
    if target:
        check_memory(plan, target)
    return compiled


def check_calibration(graph: Graph, arrays: Calibration, where: str) -> dict[str, NDArray[np.float64]]:
    """Calibration data in float64, inputs [n, *shape] and labels [n], checked against the graph.

    `where` names the data in the CompileError that a misfit raises.
    """
    out: dict[str, NDArray[np.float64]] = {}
    for name in graph.inputs:
        shape = graph.tensors[name].shape
        if name not in arrays:
            raise CompileError(
                where,
                f"input {name} is missing",
                f"the model's inputs are {', '.join(graph.inputs)}; "
                f"the file has {', '.join(arrays) or 'nothing'}",
            )
        x = arrays[name]
        # int8 is what the chip takes, in DATA.npz; here it would silently mean other numbers.
        if x.dtype.kind not in "fiu" or x.dtype == np.int8:
            raise CompileError(where, f"{name} is {x.dtype}", "give float32 as the network takes it")
        if x.shape[1:] != shape and not (x.ndim > 1 and x.shape[1:] == (int(np.prod(shape)),)):
            raise CompileError(
                where,
                f"{name} has shape {x.shape}",
                f"the model takes {name} as [n, {', '.join(map(str, shape))}]",
            )
        if len(x) == 0:
            raise CompileError(where, f"{name} holds no samples", "give at least one, some hundred are good")
        if not np.all(np.isfinite(x)):
            raise CompileError(
                where, f"{name} has NaN or infinite values", "remove the samples that hold them"
            )
        _check_magnitude(x, name, where)
        out[name] = x.astype(np.float64).reshape(len(x), *shape)
    counts = {name: len(x) for name, x in out.items()}
    if "label" in arrays and "label" not in graph.inputs:
        classes = graph.tensors[graph.output].size
        out["label"] = check_labels(arrays["label"], classes, where).astype(np.float64)
        counts["label"] = len(out["label"])
    if len(set(counts.values())) > 1:
        raise CompileError(
            where, f"the arrays hold different numbers of samples: {counts}", "one row a sample in each"
        )
    return out


def _check_magnitude(x: NDArray[Any], name: str, where: str) -> None:
    wrong: NDArray[np.intp] = np.argwhere(np.abs(x) > np.finfo(np.float32).max)
    if x.dtype.kind == "f" and len(wrong):
        at = "".join(f"[{i}]" for i in wrong[0])
        what = f"{name}{at} is {x[tuple(wrong[0])]:.3g}, beyond what a float32 holds"
        raise CompileError(where, what, "scale the inputs down, or remove the sample")


def check_labels(labels: NDArray[Any], classes: int, where: str) -> NDArray[np.uint8]:
    """Labels [n] as uint8; CompileError where one is no class."""
    labels = np.asarray(labels)
    kind = labels.dtype.kind
    whole = kind in "iub" or (kind == "f" and bool(np.all(labels == np.rint(labels))))
    if labels.ndim != 1 or not whole:
        raise CompileError(
            where, f"label is {labels.dtype} of shape {labels.shape}", "give class numbers, one a sample"
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        bad = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        raise CompileError(
            where, f"label[{bad}] is {labels[bad]}", f"the network has classes 0 to {classes - 1}"
        )
    return labels.astype(np.uint8)


# The least that the firmware adds to a model, with either toolchain: what is refused here cannot fit, and
# `synapcc build` measures the sum exactly. In RAM: buffers of the link, and the guard below the stack.
FIRMWARE_FLASH, FIRMWARE_RAM, CODE_PER_OP = 3700, 2400, 350


def flash_tensors(plan: Plan) -> list[PlanTensor]:
    """What lies in flash: constants, and a copy of each state tensor that does not start from zero."""
    return [t for t in plan.tensors if t.data is not None and (t.space == "const" or any(t.data))]


def firmware_bytes(board: Board) -> tuple[int, int]:
    """(flash, RAM) that the firmware adds at least; a board without a link holds the library alone."""
    return (FIRMWARE_FLASH, FIRMWARE_RAM) if board.link else (0, 0)


def least_flash(plan: Plan, board: Board) -> int:
    """Bytes of flash that this Plan takes at least on the board."""
    tensors = sum(t.nbytes for t in flash_tensors(plan))
    return tensors + CODE_PER_OP * len(plan.ops()) + firmware_bytes(board)[0]


def least_ram(plan: Plan, board: Board) -> int:
    """Bytes of RAM that this Plan takes at least on the board, whose stack is included."""
    inputs = sum(plan[i].nbytes for i in plan.inputs)
    return plan.state_bytes + plan.arena_bytes + inputs + firmware_bytes(board)[1] + board.stack


def check_memory(plan: Plan, board: Board) -> None:
    """Raises CompileError, naming the largest tensors, if flash, or RAM beside the stack, is too small."""
    in_flash, flash, ram = flash_tensors(plan), least_flash(plan, board), least_ram(plan, board)
    in_ram = [t for t in plan.tensors if t.space != "const"]
    for what, need, room, there in (
        ("flash", flash, board.flash.size, in_flash),
        ("RAM", ram, board.ram.size, in_ram),
    ):
        if need > room:
            large = sorted(there, key=lambda t: -t.nbytes)[:3]
            listed = ", ".join(f"{t.name} {t.nbytes}" for t in large)
            raise CompileError(
                plan.model,
                f"needs at least {need} bytes of {what}, {board.name} has {room}: {need - room} too many",
                f"largest: {listed}; use a smaller network, "
                'weights = "int8", fewer stored samples or a larger board',
            )
