"""Files with a fixed batch of several samples: the network of one; what takes samples together is refused.

Samples lie in front everywhere: an axis 0 of n in an activation is one of n times the batch in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnx import ValueInfoProto

from ...errors import CompileError
from .attention import equation
from .file import OnnxNode
from .layers import Act, Const, Operand, Scope

_ALONG = {
    **dict.fromkeys(("ArgMax", "Gather", "Split"), 0),
    **dict.fromkeys(("LayerNormalization", "LogSoftmax", "LpNormalization", "Softmax"), -1),
    **dict.fromkeys(("RMSNormalization", "SimplifiedLayerNormalization"), -1),
}
"""Operators whose axis is this one where the file names none."""
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
BY_VALUE = (*COMPARISONS, "Add", "Div", "Max", "Mean", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum", "Where")
"""Operators that align their operands at the last axis."""
_PRODUCTS = ("FusedMatMul", "MatMul")
_OVER_AXES = ("MeanVarianceNormalization", "RMSNormalization")
"""Operators over the axes of a list: RMSNormalization has one where it was written in several operators."""


def left_open(inputs: Iterable[ValueInfoProto]) -> bool:
    """Whether an input has a batch of any size."""
    shapes = [v.type.tensor_type.shape.dim for v in inputs]
    return any(len(dims) > 1 and not dims[0].HasField("dim_value") for dims in shapes)


def mixed(scope: Scope, node: OnnxNode) -> CompileError:
    """The error of a node that takes several samples of a file's batch together, or only some."""
    many = f"{scope.batch} samples" if scope.batch > 1 else "any number of samples"
    what = f"works along the batch, in which the file has {many}"
    return node.error(what, "a compiled network sees one sample: export with a batch of 1")


def refuse_mixing(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> None:
    """CompileError where a node works along axis 0, and that is a batch of several samples; running sums
    also where it may be one: nothing in their result would tell.
    """
    x = next((a for a in args if isinstance(a, Act)), None)
    several = scope.batch > 1 or (scope.open and node.op == "CumSum" and x is not None and len(x.shape) > 1)
    if several and x is not None and x.shape and _works_along(node, args, len(x.shape)):
        raise mixed(scope, node)


def _works_along(node: OnnxNode, args: Sequence[Operand], rank: int) -> bool:
    """Whether a node takes together what lies along axis 0 of an activation of so many axes."""
    if node.op in ("GatherElements", "GatherND"):  # whose tables have an axis 0 of their own
        return True
    if "axis" in node.attrs and node.op != "Flatten":
        return node.integer("axis", 0) in (0, -rank)
    if _adds_axes(node, args, rank):
        return True
    if node.op == "CumSum":
        along = args[1] if len(args) > 1 else None
        return isinstance(along, Const) and along.value.size == 1 and int(along.value.flat[0]) in (0, -rank)
    if node.op in _ALONG and "axes" not in node.attrs:
        return _ALONG[node.op] in (0, -rank)
    if node.op.startswith("Reduce") or node.op in _OVER_AXES:
        axes = _axes(node, args)
        everything = axes is None and not node.integer("noop_with_empty_axes", 0)
        return everything or any(a in (0, -rank) for a in axes or ())
    if node.op == "Transpose":
        order = node.integers("perm") or tuple(range(rank))[::-1]
        return order[:1] != (0,)
    if node.op == "Tile":
        times = args[1] if len(args) > 1 else None
        return isinstance(times, Const) and times.value.size > 0 and times.value.reshape(-1)[0] != 1
    if node.op == "Einsum":
        return not _keeps_first(node, args)
    if node.op in _PRODUCTS:
        left = isinstance(args[0], Const)
        pair = len(args) > 1 and all(isinstance(a, Act) for a in args[:2])
        turned = any(node.integer(name, 0) for name in ("transA", "transBatchA", "transBatchB"))
        return rank == 1 or (rank == 2 and (left or pair or turned))
    if node.op == "Pad":
        return _pads_first(node, args, rank)
    return False


def _keeps_first(node: OnnxNode, args: Sequence[Operand]) -> bool:
    """Whether the first axis of an Einsum's result is that of each activation."""
    terms, result = equation(node, args)
    first = {term[:1] for term, a in zip(terms, args, strict=True) if isinstance(a, Act)}
    return first == {result[:1]}


def _adds_axes(node: OnnxNode, args: Sequence[Operand], rank: int) -> bool:
    """Whether its operands have different numbers of axes: samples no longer lie along the first one."""
    if node.op == "Expand":
        target = args[1] if len(args) > 1 else None
        return isinstance(target, Const) and target.value.size > rank
    acts = [len(a.shape) for a in args if isinstance(a, Act)]
    constants = [a.value.ndim for a in args if isinstance(a, Const)]
    return node.op in (*BY_VALUE, *_PRODUCTS) and (len({*acts}) > 1 or max(constants, default=0) > rank)


def _axes(node: OnnxNode, args: Sequence[Operand]) -> tuple[int, ...] | None:
    """The axes of a reduction; None where it names none."""
    second = args[1] if len(args) > 1 else None
    if isinstance(second, Const):
        return tuple(int(a) for a in second.value.reshape(-1)) or None
    if node.op == "MeanVarianceNormalization":
        return node.integers("axes") or (0, 2, 3)
    return node.integers("axes") or None


def _pads_first(node: OnnxNode, args: Sequence[Operand], rank: int) -> bool:
    """Whether it puts something in front of the first sample or behind the last one."""
    given = args[1] if len(args) > 1 else None
    pads = given.value.reshape(-1).tolist() if isinstance(given, Const) else list(node.integers("pads") or ())
    listed = args[3] if len(args) > 3 else None
    axes = listed.value.reshape(-1).tolist() if isinstance(listed, Const) else list(range(rank))
    ends = zip(axes, pads, pads[len(axes) :], strict=False)
    return any(a in (0, -rank) and (before or after) for a, before, after in ends)
