"""What a graph must fulfil, whoever made it: order, names, values, and the shapes that each op gives."""

from __future__ import annotations

import numpy as np

from ..errors import CompileError
from ..ir.graph import Graph, Node
from ..ir.inputs import ambiguous
from ..ir.quantiser import LIMIT, misfit, no_input
from ..ops import Layer, layers


def verify(graph: Graph) -> Graph:
    """Checks order, names, shapes and values of `graph`; returns it, or raises CompileError."""
    if twice := ambiguous(graph.interface):
        raise CompileError(twice, "two inputs have this name", "name each input once")
    known = set(graph.inputs) | {t.name for t in graph.tensors.values() if t.value is not None}
    names: set[str] = set()
    for tensor in graph.tensors.values():
        if tensor.value is not None and not np.all(np.isfinite(tensor.value)):
            bad = int(np.size(tensor.value) - np.count_nonzero(np.isfinite(tensor.value)))
            raise CompileError(
                tensor.name,
                f"{bad} of {tensor.size} values are NaN or infinite",
                "train the model again or repair the file",
            )
    for name in graph.inputs:
        held = graph.tensors[name].format
        if held is not None and (what := no_input(held.meaning)):
            raise CompileError(name, f"this input {what}", "quantise the model again, with usual inputs")
    for name, quantiser in graph.quantisers.items():
        size = graph.tensors[name].size if name in graph.inputs else 0
        if what := misfit(quantiser, size, LIMIT) if size else "belongs to no input":
            raise CompileError(name, f"its quantiser {what}", "report this: an importer is wrong")
    for node in graph.nodes:
        missing = [i for i in node.inputs if i not in known]
        if missing:
            raise CompileError(
                node.name,
                f"input {missing[0]} is produced by nothing before it",
                "the graph must be in topological order",
            )
        if node.name in names:
            raise CompileError(node.name, "two layers have this name", "name each layer once")
        names.add(node.name)
        shape = _shape(graph, node, layers().get(node.op))
        if shape != graph.tensors[node.output].shape:
            raise CompileError(
                node.name,
                f"gives shape {shape}, the graph says {graph.tensors[node.output].shape}",
                "report this: an importer is wrong",
            )
        known.add(node.output)
    if graph.output not in known:
        raise CompileError(graph.output, "the output is produced by no node", "check the model's outputs")
    read = {graph.output} | {i for node in graph.nodes for i in node.inputs}
    for node in graph.nodes:
        if node.output not in read:
            raise CompileError(node.name, "nothing reads its output", "leave this layer out of the graph")
    return graph


def _shape(graph: Graph, node: Node, layer: Layer | None) -> tuple[int, ...]:
    """What the node gives, by its own word; CompileError where it is not what its op takes."""
    if layer is None:
        raise CompileError(node.name, f"there is no op {node.op}", "an op is a file of gen/ops")
    inputs = [graph.tensors[i] for i in node.inputs]
    data = len(inputs) - layer.constants
    for i, tensor in enumerate(inputs):
        if (tensor.value is not None) != (i >= data):
            what = (
                "is computed, where a constant belongs" if i >= data else "is a constant, where data belong"
            )
            raise CompileError(node.name, f"its input {tensor.name} {what}", f"see gen/ops/{node.op}.py")
    try:
        return layer.shape(node, [t.shape for t in inputs])
    except (KeyError, ValueError, TypeError, IndexError) as error:
        what = f"its inputs or attributes are not those of {node.op} ({type(error).__name__}: {error})"
        raise CompileError(node.name, what, f"see gen/ops/{node.op}.py") from None
