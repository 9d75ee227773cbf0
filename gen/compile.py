"""The compiler's front door: model, rule file, calibration data and board in; everything a writer needs out.

Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .emit.flash import stored
from .errors import CompileError, SynapccError
from .files.npz import load_arrays
from .importers import load_model
from .ir.graph import Graph
from .ir.inputs import (
    LABEL,
    TARGET,
    check_counts,
    check_labels,
    check_magnitude,
    check_samples,
    check_targets,
    listed,
    match,
    unread,
)
from .ir.plan import Plan
from .ir.program import Abstract
from .ir.quantiser import checked, normalised, warnings
from .ops import layer
from .rules import options, rules
from .sets import AUTO, select
from .spec import FAST, INFERENCE_ONLY, MODES, RuleSpec, load_spec, select_layers
from .stages.border import adopt, given_integers, without_head
from .stages.bounds import Proof
from .stages.calibrate import Runs
from .stages.choose import choose
from .stages.graph_check import verify
from .stages.head import from_samples, refuse_frozen, replaced
from .stages.lower import lower
from .stages.quantise import Quantised
from .stages.schedule import build, seen
from .stages.still import drowned, settle
from .stages.untie import untie
from .target.boards import Board, load_board

Calibration = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Compiled:
    """A compilation: the Plan, and what led to it, for reports and float baselines.

    calibration: the inputs by name, float64 [n, *shape], and `label` [n] if there are labels
    learned:     the layers that learn, in the graph's order
    untouched:   the network as its file has it in integers, where something of it learns
    warnings:    what a user should mend, a line each
    kernel_set:  the kernel set that prints it
    quantise:    how its integers were chosen, "fast" or "best"
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
    warnings: tuple[str, ...]
    kernel_set: str
    untouched: Graph | None = None
    quantise: str = FAST

    def real(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Samples by name as the float programs take them: normalised where the network does that itself."""
        return normalised(self.graph.quantisers, arrays)


def compile_model(
    model: Path | str | Graph,
    rule: Path | str | RuleSpec,
    calibration: Path | str | Calibration | None = None,
    board: Board | str | None = None,
    name: str | None = None,
    kernel_set: str = AUTO,
    output: str | None = None,
    quantise: str = FAST,
    say: Callable[[float, str], None] = lambda done, what: None,
) -> Compiled:
    """Compiles a network for a learning rule.

    model:       a file (.onnx, .tflite) or a Graph
    rule:        a rule file or a RuleSpec
    calibration: an .npz or a mapping with the inputs by name, float [n, *shape] (or int8, where the file
                 says what these stand for), and optionally `label` [n]; None where a file brings all number
                 formats and nothing learns
    board:       name, TOML path or Board; None compiles without limits of memory
    name:        prefix of the emitted C; the model file's name if None
    kernel_set:  the kernel set, or "auto" for the fastest that the board's core can run
    output:      of a model file with several outputs, the one with the scores
    quantise:    "fast" or "best": how integers are chosen (gen.stages.choose)
    say:         is told which share of what takes long is done, and what comes

    Raises CompileError for whatever is wrong.
    """
    if quantise not in MODES:
        raise CompileError("quantise", f"{quantise!r} is no way to quantise", f"take {' or '.join(MODES)}")
    if isinstance(model, Graph) and output is not None:
        raise CompileError("output", "chooses from a model file, and the model is a Graph", "leave it out")
    graph = verify(model if isinstance(model, Graph) else load_model(Path(model), name, output))
    spec = rule if isinstance(rule, RuleSpec) else load_spec(Path(rule), options())
    graph = replaced(graph, spec) if spec.head else graph
    where = str(calibration) if isinstance(calibration, str | Path) else "calibration"
    if calibration is None:
        given = _no_calibration(graph, spec)
    else:
        arrays = load_arrays(Path(calibration)) if isinstance(calibration, str | Path) else calibration
        given = check_calibration(graph, arrays, where, spec)
        if isinstance(calibration, str | Path) and (rest := unread(graph.interface, arrays)):
            note = f"nothing reads these arrays of the calibration data: {listed(rest)}"
            graph = replace(graph, notes=(*graph.notes, note))
    graph, still = settle(graph, given)
    target = load_board(board) if isinstance(board, str) else board
    chosen = None if spec.rule == INFERENCE_ONLY else rules()[spec.rule]
    data = checked(normalised(graph.quantisers, given), where)
    graph = from_samples(graph, spec, data.get(LABEL), lambda g, tensor: seen(g, spec, data, tensor))
    untouched = graph if spec.numbers else without_head(graph, chosen is not None)
    graph = untie(graph, spec.untied)
    weighted = [n for n in graph.nodes if layer(n.op).weighted]
    learned = select_layers(spec, [n.name for n in weighted], [n.name for n in weighted if layer(n.op).fully])
    if chosen:
        learned = chosen.narrow(learned, spec)
    refuse_frozen(graph, spec, learned)
    graph = adopt(graph, learned, not spec.numbers)
    if spec.numbers and graph.head != "none":
        what = f'is "mse", and the scores are what lies in front of the {graph.head} at the end'
        raise CompileError("loss.kind", what, "end the network without it, or learn classes")
    kept = untouched if learned and given_integers(untouched) and not spec.head else None

    def made(graph: Graph) -> tuple[Abstract, Mapping[str, NDArray[np.float64]]]:
        data = checked(normalised(graph.quantisers, given), where)
        return build(graph, spec, chosen, learned, data), data

    abstract, data = made(graph)
    quiet = drowned(still, Runs(abstract, data)) if still else []
    try:
        found = choose(graph, (abstract, data), made, spec, learned, quantise, say)
        graph, abstract, data, quantised = found.graph, found.abstract, found.data, found.quantised
        plan, proofs = lower(abstract, quantised, graph, spec.arena.shared)
    except CompileError as error:
        raise _because(error, [*warnings(graph.inputs, data), *quiet]) from None
    usual = quantised.sampled.usual
    uneven = warnings(graph.inputs, {n: data[n][usual] for n in graph.inputs})
    told = (*uneven, *quiet, *quantised.warnings(abstract.inputs))
    chosen_set = select(kernel_set, target)
    compiled = Compiled(
        plan,
        graph,
        spec,
        abstract,
        quantised,
        tuple(proofs),
        given,
        target,
        learned,
        told,
        chosen_set,
        kept,
        quantise,
    )
    if target:
        check_memory(plan, target, compiled.kernel_set)
    return compiled


def _because(error: CompileError, causes: Sequence[str]) -> CompileError:
    """The refusal of number formats, with what is wrong with the inputs: most often that is why."""
    if not causes:
        return error
    return CompileError(error.where, error.what, "; ".join([error.hint, *causes]))


def _no_calibration(graph: Graph, spec: RuleSpec) -> dict[str, NDArray[np.float64]]:
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


# The least that the firmware adds to a model, with either toolchain: what is refused here cannot fit, and
# `synapcc build` measures the sum exactly. In RAM: buffers of the link, and the guard below the stack.
FIRMWARE_FLASH, FIRMWARE_RAM, CODE_PER_OP = 3700, 2400, 350


def firmware_bytes(board: Board) -> tuple[int, int]:
    """(flash, RAM) that the firmware adds at least; a board without a link holds the library alone."""
    return (FIRMWARE_FLASH, FIRMWARE_RAM) if board.link else (0, 0)


def least_flash(plan: Plan, board: Board, kernel_set: str) -> int:
    """Bytes of flash that this Plan takes at least on the board, printed by `kernel_set`."""
    return stored(plan, kernel_set).nbytes + CODE_PER_OP * len(plan.ops()) + firmware_bytes(board)[0]


def least_ram(plan: Plan, board: Board) -> int:
    """Bytes of RAM that this Plan takes at least on the board, whose stack is included."""
    inputs = sum(plan[i].nbytes for i in plan.inputs)
    return plan.ram_bytes + inputs + firmware_bytes(board)[1] + board.stack


def check_memory(plan: Plan, board: Board, kernel_set: str) -> None:
    """Raises CompileError, naming the largest tensors, if flash, or RAM beside the stack, is too small."""
    in_flash, flash, ram = (
        stored(plan, kernel_set).tensors,
        least_flash(plan, board, kernel_set),
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
