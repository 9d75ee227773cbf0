"""The compiler's front door: model, rule file, calibration data and board in; everything a writer needs out.

Writes nothing.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .boards import Board, load_board
from .bounds import Proof
from .errors import CompileError
from .flash import stored
from .graph import Graph, verify
from .importers import load_model
from .kernels import AUTO, select
from .lower import lower
from .ops import layer
from .plan import Plan
from .program import Abstract
from .quantise import Quantised, quantise
from .rules import rules
from .schedule import build
from .spec import INFERENCE_ONLY, RuleSpec, load_spec, select_layers
from .spec_table import short
from .untie import untie

Calibration = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Compiled:
    """A compilation: the Plan, and what led to it, for reports and float baselines.

    calibration: the inputs by name, float64 [n, *shape], and `label` [n] if there are labels
    learned:     the layers that learn, in the graph's order
    kernels:     the kernel set that prints it
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
    kernels: str


def compile_model(
    model: Path | str | Graph,
    rule: Path | str | RuleSpec,
    calibration: Path | str | Calibration,
    board: Board | str | None = None,
    name: str | None = None,
    kernels: str = AUTO,
) -> Compiled:
    """Compiles a network for a learning rule.

    model:       a file (.onnx) or a Graph
    rule:        a rule file or a RuleSpec
    calibration: an .npz or a mapping with the inputs by name, float [n, *shape], and optionally `label` [n]
    board:       name, TOML path or Board; None compiles without limits of memory
    name:        prefix of the emitted C; the model file's name if None
    kernels:     the kernel set, or "auto" for the fastest that the board's core can run

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
    compiled = Compiled(
        plan, graph, spec, abstract, quantised, tuple(proofs), data, target, learned, select(kernels, target)
    )
    if target:
        check_memory(plan, target, compiled.kernels)
    return compiled


MAX_ARRAYS = 1 << 31


def load_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of an .npz file; CompileError if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_ARRAYS:
            what = f"holds {size >> 20} MB of arrays, {MAX_ARRAYS >> 20} MB can be read"
            raise CompileError(str(path), what, "give fewer samples")
        with np.load(path, allow_pickle=False) as z:
            return {k: z[k] for k in z.files}
    except CompileError:
        raise
    except FileNotFoundError:
        raise CompileError(
            str(path), "there is no such file", "give an .npz with the model's inputs by name"
        ) from None
    # zipfile, zlib, the header's parser and numpy each have their own for a damaged file.
    except Exception as e:
        raise CompileError(
            str(path),
            f"cannot be read as .npz ({type(e).__name__}: {short(str(e))})",
            "write it with numpy.savez(path, input=..., label=...)",
        ) from None


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


def firmware_bytes(board: Board) -> tuple[int, int]:
    """(flash, RAM) that the firmware adds at least; a board without a link holds the library alone."""
    return (FIRMWARE_FLASH, FIRMWARE_RAM) if board.link else (0, 0)


def least_flash(plan: Plan, board: Board, kernels: str) -> int:
    """Bytes of flash that this Plan takes at least on the board, printed by the set `kernels`."""
    return stored(plan, kernels).nbytes + CODE_PER_OP * len(plan.ops()) + firmware_bytes(board)[0]


def least_ram(plan: Plan, board: Board) -> int:
    """Bytes of RAM that this Plan takes at least on the board, whose stack is included."""
    inputs = sum(plan[i].nbytes for i in plan.inputs)
    return plan.state_bytes + plan.arena_bytes + inputs + firmware_bytes(board)[1] + board.stack


def check_memory(plan: Plan, board: Board, kernels: str) -> None:
    """Raises CompileError, naming the largest tensors, if flash, or RAM beside the stack, is too small."""
    in_flash, flash, ram = (
        stored(plan, kernels).tensors,
        least_flash(plan, board, kernels),
        least_ram(plan, board),
    )
    in_ram = tuple(t for t in plan.tensors if t.space != "const")
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
