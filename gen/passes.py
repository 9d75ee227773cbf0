"""Rewrites of a Graph that keep what it computes: affine nodes go into the dense layers beside them.

Each pass is a function that looks for one place where it applies and returns the rewritten graph, or None.
What cannot be folded stays as it is. Every rewrite makes the graph smaller or moves an affine node nearer to
the output, so they end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np

from .graph import Graph, Node, Tensor
from .ops.clip import limits

Pass = Callable[[Graph], Graph | None]


def simplify(graph: Graph) -> Graph:
    """Applies all passes until none applies, then drops what nothing reads."""
    while (rewritten := next((g for p in PASSES if (g := p(graph)) is not None), None)) is not None:
        graph = _pruned(rewritten)
    return _pruned(graph)


def merge_clips(graph: Graph) -> Graph | None:
    """clip(clip(x)) is one clip, and a clip without limits is none."""
    for node in _nodes(graph, "clip"):
        lo, hi = limits(node)
        if np.isinf(lo) and np.isinf(hi):
            return _without(graph, node)
        before = graph.producer(node.inputs[0])
        if before is not None and before.op == "clip":
            inner = limits(before)
            new = {"lo": min(max(inner[0], lo), hi), "hi": max(min(inner[1], hi), lo)}
            if new["lo"] < new["hi"]:
                merged = replace(node, inputs=before.inputs, attrs=new)
                return _rewritten(
                    graph, {node.name: (merged,)}, {}, f"{node.name}: merged with {_called(before)}"
                )
    return None


def drop_affine(graph: Graph) -> Graph | None:
    """1 * x + 0 is x."""
    for node in _nodes(graph, "affine"):
        scale, shift = _constants(graph, node)
        only = node.output == graph.output and graph.producer(node.inputs[0]) is None
        if np.all(scale == 1.0) and np.all(shift == 0.0) and not only:
            return _without(graph, node)
    return None


def merge_affines(graph: Graph) -> Graph | None:
    """s2 * (s1 * x + t1) + t2 is one affine."""
    for node in _nodes(graph, "affine"):
        before = graph.producer(node.inputs[0])
        if before is not None and before.op == "affine":
            (scale1, shift1), (scale2, shift2) = _constants(graph, before), _constants(graph, node)
            changed = _with_values(graph, node, scale2 * scale1, scale2 * shift1 + shift2)
            merged = replace(node, inputs=(before.inputs[0], *node.inputs[1:]))
            return _rewritten(
                graph, {node.name: (merged,)}, changed, f"{node.name}: merged with {_called(before)}"
            )
    return None


def fold_affine_behind(graph: Graph) -> Graph | None:
    """s * (W x + b) + t = (s W) x + (s b + t), if nothing else reads the dense layer."""
    for node in _nodes(graph, "affine"):
        dense = graph.producer(node.inputs[0])
        if dense is None or dense.op != "dense" or len(graph.consumers(dense.output)) > 1:
            continue
        (weight, bias), (scale, shift) = _constants(graph, dense), _constants(graph, node)
        changed = _with_values(graph, dense, weight * scale[:, None], bias * scale + shift)
        note = f"{dense.name}: took in {_called(node)}, which stood behind it"
        return _renamed(_rewritten(graph, {node.name: ()}, changed, note), node.output, dense.output)
    return None


def fold_affine_before(graph: Graph) -> Graph | None:
    """W (s * x + t) + b = (W s) x + (W t + b)."""
    for dense in _nodes(graph, "dense"):
        node = graph.producer(dense.inputs[0])
        if node is None or node.op != "affine":
            continue
        (weight, bias), (scale, shift) = _constants(graph, dense), _constants(graph, node)
        changed = _with_values(graph, dense, weight * scale[None, :], weight @ shift + bias)
        folded = replace(dense, inputs=(node.inputs[0], *dense.inputs[1:]))
        note = f"{dense.name}: took in {_called(node)}, which stood in front of it"
        return _rewritten(graph, {dense.name: (folded,)}, changed, note)
    return None


def affine_through_concat(graph: Graph) -> Graph | None:
    """concat(affine(x), y) is affine(concat(x, y)), where dense layers behind it can take the affine in."""
    for concat in _nodes(graph, "concat"):
        branches = [graph.producer(i) for i in concat.inputs]
        affines = [b for b in branches if b is not None and b.op == "affine"]
        readers = graph.consumers(concat.output)
        if (
            not affines
            or not readers
            or concat.output == graph.output
            or any(r.op != "dense" for r in readers)
        ):
            continue
        pairs = []
        for source, branch in zip(concat.inputs, branches, strict=True):
            size = graph.tensors[source].size
            pairs.append(_constants(graph, branch) if branch in affines else (np.ones(size), np.zeros(size)))
        inputs = tuple(
            b.inputs[0] if b in affines else i for b, i in zip(branches, concat.inputs, strict=True)
        )
        names = {key: _fresh(graph, f"{concat.name}_{key}") for key in ("joined", "affine", "scale", "shift")}
        joined = replace(concat, inputs=inputs, output=names["joined"])
        operands = (names["joined"], names["scale"], names["shift"])
        moved = Node("affine", names["affine"], operands, concat.output, {}, affines[0].source)
        tensors = {names["joined"]: Tensor(names["joined"], graph.tensors[concat.output].shape)}
        for k, key in enumerate(("scale", "shift")):
            value = np.concatenate([p[k] for p in pairs])
            tensors[names[key]] = Tensor(names[key], value.shape, value)
        note = f"{concat.name}: {', '.join(_called(a) for a in affines)} moved behind it"
        return _rewritten(graph, {concat.name: (joined, moved)}, tensors, note)
    return None


PASSES: tuple[Pass, ...] = (
    merge_clips,
    drop_affine,
    merge_affines,
    fold_affine_behind,
    fold_affine_before,
    affine_through_concat,
)


def _nodes(graph: Graph, op: str) -> tuple[Node, ...]:
    return tuple(n for n in graph.nodes if n.op == op)


def _called(node: Node) -> str:
    return node.source or node.name


def _constants(graph: Graph, node: Node) -> tuple[np.ndarray, np.ndarray]:
    """The two constant operands of a dense or affine node."""
    first, second = (graph.tensors[i].value for i in node.inputs[1:])
    assert first is not None and second is not None
    return first, second


def _with_values(graph: Graph, node: Node, *values: np.ndarray) -> dict[str, Tensor]:
    """The constants of `node` with new values. Importers give every node constants of its own."""
    return {i: Tensor(i, v.shape, v) for i, v in zip(node.inputs[1:], values, strict=True)}


def _fresh(graph: Graph, name: str) -> str:
    taken: Collection[str] = {*graph.tensors, *(n.name for n in graph.nodes)}
    candidates = (name, *(f"{name}_{n}" for n in range(2, len(taken) + 3)))
    return next(c for c in candidates if c not in taken)


def _rewritten(
    graph: Graph, nodes: Mapping[str, tuple[Node, ...]], tensors: Mapping[str, Tensor], note: str
) -> Graph:
    """`graph` with the named nodes replaced in place, tensors replaced or added, and a note."""
    new = tuple(r for n in graph.nodes for r in nodes.get(n.name, (n,)))
    notes = (*graph.notes, note) if note else graph.notes
    return replace(graph, nodes=new, tensors={**graph.tensors, **tensors}, notes=notes)


def _renamed(graph: Graph, old: str, new: str) -> Graph:
    """Whoever read `old` reads `new`."""
    nodes = tuple(replace(n, inputs=tuple(new if i == old else i for i in n.inputs)) for n in graph.nodes)
    return replace(graph, nodes=nodes, output=new if graph.output == old else graph.output)


def _without(graph: Graph, node: Node) -> Graph:
    return _renamed(_rewritten(graph, {node.name: ()}, {}, ""), node.output, node.inputs[0])


def _pruned(graph: Graph) -> Graph:
    """Without nodes and tensors that the output does not need. Inputs stay."""
    needed = {graph.output}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            nodes.append(node)
    needed.update(graph.inputs)
    tensors = {k: t for k, t in graph.tensors.items() if k in needed}
    return replace(graph, nodes=tuple(reversed(nodes)), tensors=tensors)
