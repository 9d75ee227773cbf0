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

from .emit.fits import check_memory
from .emit.role import of_role
from .equations import placed, rule_of
from .errors import CompileError
from .files.npz import load_arrays
from .frontends import block_options
from .importers import load_model
from .ir.graph import Graph
from .ir.inputs import LABEL, listed, unread
from .ir.plan import Plan
from .ir.program import Abstract
from .ir.quantiser import checked, normalised, warnings
from .ops import layer
from .rules import Rule, options
from .sets import AUTO, select
from .spec import FAST, INFER, INFERENCE_ONLY, LEARN, MODES, RuleSpec, load_spec, select_layers
from .stages.border import adopt, given_integers, without_head
from .stages.bounds import Proof
from .stages.calibrate import Runs, far_targets
from .stages.choose import choose
from .stages.compose import composed
from .stages.given import Calibration, check_calibration, no_calibration
from .stages.graph_check import verify
from .stages.head import from_samples, prototyped, refuse_frozen, replaced
from .stages.heard import Heard, heard
from .stages.level import levelled
from .stages.lower import lower
from .stages.probe import seen
from .stages.quantise import Quantised
from .stages.schedule import build
from .stages.sparse import rows_moved, thinned
from .stages.start import refuse_deaf, started
from .stages.still import drowned, settle
from .stages.timed import refuse_timed
from .stages.trials import farthest
from .stages.untie import untie
from .target.boards import Board, load_board

NO_FRONT = "frontend: a library of inference alone has no push; windows must come to it ready"


@dataclass(frozen=True)
class Compiled:
    """A compilation: the Plan, and what led to it, for reports and float baselines.

    calibration: the inputs by name, float64 [n, *shape], and `label` [n] if there are labels
    learned:     the layers that learn, in the graph's order
    untouched:   the network as its file has it in integers, where something of it learns
    warnings:    what a user should mend, a line each
    heard:       what each of the layers that learn hears
    kernel_set:  the kernel set that prints it
    quantise:    how its integers were chosen, "fast" or "best"
    role:        what its library is for: "learn", or "infer" alone
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
    heard: Mapping[str, Heard]
    warnings: tuple[str, ...]
    kernel_set: str
    untouched: Graph | None = None
    quantise: str = FAST
    role: str = LEARN

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
    role: str = LEARN,
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
    role:        "learn", or "infer" for a library of inference alone: it is that which must fit the board

    Raises CompileError for whatever is wrong.
    """
    if quantise not in MODES:
        raise CompileError("quantise", f"{quantise!r} is no way to quantise", f"take {' or '.join(MODES)}")
    graph, spec = _read(model, rule, name, output)
    where = str(calibration) if isinstance(calibration, str | Path) else "calibration"
    graph, given = _given(graph, spec, calibration, where)
    graph, still = settle(graph, given)
    target = load_board(board) if isinstance(board, str) else board
    chosen = None if spec.rule == INFERENCE_ONLY else rule_of(spec)
    taken, quantisers = checked(normalised(graph.quantisers, given), where), graph.quantisers
    graph, untouched, learned, rows = _for_learning(graph, spec, chosen, taken)
    known = heard(graph, learned, bool(spec.init), rows)

    def made(graph: Graph) -> tuple[Abstract, Mapping[str, NDArray[np.float64]]]:
        data = taken  # one copy of them for all candidates that take them alike
        if graph.quantisers != quantisers:
            data = checked(normalised(graph.quantisers, given), where)
        return build(graph, spec, chosen, learned, data), data

    abstract, data = made(graph)
    quiet = drowned(still, Runs(abstract, data)) if still else []
    try:
        found = choose(graph, (abstract, data), made, spec, learned, quantise, say)
        found.quantised.refuse_unmet(found.abstract)
        if spec.init == "zero":
            refuse_deaf(Runs(found.abstract, found.data))
        plan, proofs = lower(found.abstract, found.quantised, found.graph, spec)
    except CompileError as error:
        far = far_targets(Runs(abstract, data)) if spec.numbers else []
        raise _because(placed(error, spec), [*warnings(_of_a_byte(graph), data), *quiet, *far]) from None
    usual = found.quantised.sampled.usual
    walk = farthest(found.abstract, found.data, usual, found.quantised.untrained)
    uneven = warnings(_of_a_byte(found.graph), {n: found.data[n][usual] for n in found.graph.inputs})
    compiled = Compiled(
        plan=plan,
        graph=found.graph,
        spec=spec,
        abstract=found.abstract,
        quantised=found.quantised,
        proofs=tuple(proofs),
        calibration=given,
        board=target,
        learned=learned,
        heard=known,
        warnings=(
            *uneven,
            *quiet,
            *found.quantised.warnings(found.abstract.inputs),
            *([walk.warning()] if walk else []),
            *([NO_FRONT] if spec.frontend and role == INFER else []),
        ),
        kernel_set=select(kernel_set, target),
        untouched=untouched,
        quantise=quantise,
        role=role,
    )
    part = of_role(plan, role)
    if target:
        check_memory(part, target, compiled.kernel_set)
    return compiled


def _read(
    model: Path | str | Graph, rule: Path | str | RuleSpec, name: str | None, output: str | None
) -> tuple[Graph, RuleSpec]:
    """The network, with the classifier that the rule file gives it, and the rule file."""
    if isinstance(model, Graph) and output is not None:
        raise CompileError("output", "chooses from a model file, and the model is a Graph", "leave it out")
    graph = verify(model if isinstance(model, Graph) else load_model(Path(model), name, output))
    spec = rule if isinstance(rule, RuleSpec) else load_spec(Path(rule), options(), block_options())
    return (replaced(graph, spec) if spec.head else graph), spec


def _given(
    graph: Graph, spec: RuleSpec, calibration: Path | str | Calibration | None, where: str
) -> tuple[Graph, dict[str, NDArray[np.float64]]]:
    """Calibration data as the graph takes them, and the graph with a note of what nothing reads."""
    if calibration is None:
        return graph, no_calibration(graph, spec)
    if not isinstance(calibration, str | Path):
        return graph, check_calibration(graph, calibration, where, spec)
    arrays = load_arrays(Path(calibration))
    given = check_calibration(graph, arrays, where, spec)
    if rest := unread(graph.interface, arrays):
        note = f"nothing reads these arrays of the calibration data: {listed(rest)}"
        graph = replace(graph, notes=(*graph.notes, note))
    return graph, given


def _for_learning(
    graph: Graph, spec: RuleSpec, rule: Rule | None, data: Mapping[str, NDArray[np.float64]]
) -> tuple[Graph, Graph | None, tuple[str, ...], dict[str, tuple[int, ...]]]:
    """The network as it will learn, what the file holds in integers (or None), the layers that learn, and
    the rows of those that do in part.

    data: calibration data, normalised.
    """

    def looks(graph: Graph, tensor: str) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        return seen(graph, spec, data, tensor)

    if not spec.init:
        graph = from_samples(graph, spec, data.get(LABEL), looks)
    made_anew = spec.head is not None or (rule is not None and rule.prototypes)
    if rule and rule.prototypes:
        graph = prototyped(graph, spec, data.get(LABEL), looks)
    untouched = graph if spec.numbers else without_head(graph, rule is not None)
    weighted = [n for n in graph.nodes if layer(n.op).weighted or layer(n.op).timed]
    learned = select_layers(spec, [n.name for n in weighted], [n.name for n in weighted if layer(n.op).fully])
    if rule:
        learned = rule.narrow(learned, spec)
    refuse_frozen(graph, spec, learned)
    refuse_timed(graph, spec, rule, learned)

    def ready(graph: Graph) -> Graph:
        graph = adopt(untie(graph, spec.untied), learned, not spec.numbers)
        return composed(graph, learned) if rule and rule.passes else graph

    rows: dict[str, tuple[int, ...]] = {}
    if spec.sparse:
        assert rule is not None
        graph, rows = thinned(
            graph, spec, learned, lambda: rows_moved(ready(graph), spec, rule, learned, data)
        )
    graph = ready(graph)
    if spec.numbers and graph.head != "none":
        what = f'is "mse", and the scores are what lies in front of the {graph.head} at the end'
        raise CompileError("loss.kind", what, "end the network without it, or learn classes")
    if spec.init and rule and rule.levels(spec):
        graph = levelled(graph, learned)
    if spec.init:  # rows from samples are made of features of the layers that have started
        graph = from_samples(started(graph, spec, learned), spec, data.get(LABEL), looks)
    kept = untouched if learned and given_integers(untouched) and not made_anew else None
    return graph, kept, learned, rows


def _of_a_byte(graph: Graph) -> list[str]:
    """The inputs that have 8 bits, of which one scale may leave a feature few steps."""
    return [n for n in graph.inputs if (f := graph.tensors[n].format) is None or f.dtype == "int8"]


def _because(error: CompileError, causes: Sequence[str]) -> CompileError:
    """The refusal of number formats, with what is wrong with the data: most often that is why."""
    if not causes:
        return error
    return CompileError(error.where, error.what, "; ".join([error.hint, *causes]), error.excerpt)
