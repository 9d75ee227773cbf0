"""Forms in which exporters write what ONNX has an operator for, drawn at random: FORMS, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_models as om
from onnx import ModelProto, helper, numpy_helper
from onnx_nets import Net, pick


def ints(net: Net, *values: int) -> str:
    return net.value(np.array(values, np.int64))


def sizes(net: Net, count: int) -> list[int]:
    return [int(n) for n in net.g.integers(2, 5, count)]


def rows(net: Net) -> None:
    """A dense layer on each row, in the ways of Gemm and MatMul; on columns; and one column or row of it."""
    _, length, width = net.shape
    way = pick(net.g, "Gemm", "MatMul", "left", "column", "row")
    if way == "Gemm":
        net.put("Reshape", ints(net, length, width))
        net.put("Gemm", net.weight(3, width), net.weight(3), transB=1, alpha=0.5)
        net.put("Reshape", ints(net, 1, length, 3))
    elif way == "MatMul":
        net.put("MatMul", net.weight(width, 3))
    elif way == "left":
        net.join("MatMul", net.weight(4, length), net.last)
    elif way == "column":
        net.put("MatMul", net.weight(width))
    else:
        net.join("MatMul", net.weight(length), net.last)


def beside_constants(net: Net) -> None:
    """Constants before, between and behind activations: a class token, a border of channels."""
    axis = pick(net.g, 1, 2, -1)
    here, parts = net.last, []
    for part in pick(net.g, "cx", "xc", "xcx", "ccx", "cxxc"):
        shape = [1, *net.shape[1:]]
        shape[axis] = int(net.g.integers(1, 4))
        parts.append(here if part == "x" else net.weight(*shape))
    net.join("Concat", *parts, axis=axis)


def padded(net: Net) -> None:
    """Every mode, along any axes but the first, and margins that take away."""
    mode = pick(net.g, "constant", "edge", "reflect", "wrap")
    least = -1 if mode == "constant" else 0  # onnx's reference takes nothing away but there
    ends = [[0, 0], *(net.g.integers(least, n, 2).tolist() for n in net.shape[1:])]
    pads = np.array(ends).T.reshape(-1)
    value = [net.value(np.float32(0.5))] if mode == "constant" else []
    net.put("Pad", net.value(pads), *value, mode=mode)


def normalised(net: Net) -> None:
    """As Keras writes it: one factor and one summand, of which the mean is taken off."""
    x, width = net.last, int(net.shape[-1])
    axes = pick(net.g, (2,), (1, 2))
    mean = net.join("ReduceMean", x, ints(net, *axes), keepdims=1)
    gone = net.join("Sub", x, mean)
    spread = net.join("ReduceMean", net.join("Mul", gone, gone), ints(net, *axes), keepdims=1)
    root = net.join("Sqrt", net.join("Add", spread, net.value(np.float32(1e-3))))
    scale = net.join("Reciprocal", root)
    if net.g.random() < 0.7:
        scale = net.join("Mul", scale, net.weight(1, 1, width))
    off = net.join("Mul", net.join("Neg", mean), scale)
    how = pick(net.g, "none", "add", "sub")
    if how == "add":
        off = net.join("Add", net.weight(1, 1, width), off)
    elif how == "sub":
        off = net.join("Sub", net.weight(1, 1, width), net.join("Mul", mean, scale))
    sides = [net.join("Mul", x, scale), off]
    net.join("Add", *sides[:: pick(net.g, 1, -1)])


def stretched(net: Net) -> None:
    """A constant beside which the activation stands still."""
    net.put("ReduceMean", ints(net, 2), keepdims=1)
    net.put(pick(net.g, "Mul", "Add", "Sub"), net.weight(1, net.shape[1], 3))


def attention(net: Net) -> None:
    """Heads apart or side by side, some with keys in common, with and without a mask."""
    g, (_, length, width) = net.g, net.shape
    heads, shared, each = pick(g, (2, 2, 3), (4, 2, 2), (1, 1, 4))
    x = net.last
    q, k, v = (net.join("MatMul", x, net.weight(width, n * each)) for n in (heads, shared, shared))
    flat = g.random() < 0.5
    attrs = {"q_num_heads": heads, "kv_num_heads": shared} if flat else {}
    if not flat:
        q, k, v = (
            net.join("Transpose", net.join("Reshape", t, ints(net, 1, length, n, each)), perm=[0, 2, 1, 3])
            for t, n in ((q, heads), (k, shared), (v, shared))
        )
    mask = [net.weight(length, length)] if g.random() < 0.5 else []
    net.join("Attention", q, k, v, *mask, **attrs, **({"scale": 0.25} if g.random() < 0.5 else {}))


def summed(net: Net) -> None:
    """Einsum of activations, or of one and a constant, its axes in any order."""
    x = net.last
    letters, result = "bij", "".join(net.g.permutation(list("ik")))
    if net.g.random() < 0.5:
        term = "".join(net.g.permutation(list("jk")))
        w = net.weight(*(net.shape[2] if c == "j" else 3 for c in term))
        sides = [(letters, x), (term, w)]
        sides = sides[:: pick(net.g, 1, -1)]
        net.join("Einsum", *(n for _, n in sides), equation=f"{sides[0][0]},{sides[1][0]}->b{result}")
    else:
        other = net.join("Tanh", x)
        net.join("Einsum", x, other, equation=f"bij,bkj->b{result}")


def chunks(net: Net) -> None:
    """Sequences: what a split gave, or what was put together."""
    axis, x = pick(net.g, 1, 2), net.last
    if net.g.random() < 0.5:
        size = int(net.shape[axis])
        lengths = pick(net.g, np.array(1), np.array([1, size - 1]))
        net.join("SplitToSequence", x, net.value(lengths), axis=axis)
        net.put("SequenceAt", net.value(np.array(1)))
    else:
        net.join("SequenceConstruct", x, net.join("Tanh", x))
        new = int(net.g.integers(2))
        net.put("ConcatFromSequence", axis=axis, new_axis=new)


def branched(net: Net) -> None:
    """If, which of its branches is taken following from the shape, as torch.squeeze becomes.

    The branches of one call their tensors and nodes as those of another do.
    """
    for factor in pick(net.g, (2.0,), (2.0, 0.5)):
        x = net.last
        size = net.join("Gather", net.join("Shape", x), net.value(np.array(pick(net.g, 1, 2))), axis=0)
        equal = net.join("Equal", size, net.value(np.array(3)))
        branches = [
            helper.make_graph(
                [helper.make_node("Mul", [x, "factor"], ["scaled"]), helper.make_node(op, ["scaled"], [op])],
                op,
                [],
                [helper.make_empty_tensor_value_info(op)],
                [numpy_helper.from_array(np.float32(factor), "factor")],
            )
            for op in ("Relu", "Tanh")
        ]
        net.join("If", equal, then_branch=branches[0], else_branch=branches[1])


def cast(net: Net) -> None:
    """Of an activation, and of a constant as an activation is."""
    x = net.put("CastLike", net.weight(1))
    net.join("Mul", x, net.join("CastLike", net.value(np.array(3)), x))


def chosen(net: Net) -> None:
    """Where, as torch.where makes a leaky ReLU of it, or torch's softplus with a factor."""
    x, factor = net.last, net.value(np.float32(pick(net.g, 0.5, 2.0)))
    if net.g.random() < 0.5:
        condition = net.join("Greater", x, net.value(np.float32(0)))
        net.join("Where", condition, x, net.join("Mul", x, factor))
    else:
        inner = net.join("Mul", x, factor)
        condition = net.join("Greater", inner, net.value(np.float32(20)))
        net.join("Where", condition, x, net.join("Div", net.join("Softplus", inner), factor))


def turned(net: Net) -> None:
    """A map whose axes are split and come in any order, as pixel shuffles and windows of a map do."""
    net.put("Reshape", ints(net, 1, 2, 3, 2, 2, 3))
    net.put("Transpose", perm=[0, *(1 + net.g.permutation(5)).tolist()])
    net.put("Reshape", ints(net, 1, 12, 6))
    net.put("MatMul", net.weight(6, 4))


FORMS: Mapping[str, Callable[[Net], None]] = {
    f.__name__: f
    for f in (
        *(rows, beside_constants, padded, normalised, stretched, attention),
        *(summed, chunks, branched, cast, chosen, turned),
    )
}


def form(name: str, seed: int) -> ModelProto:
    """A network that is little more than the form."""
    g = om.rng(seed)
    shape = (8, 9) if name == "turned" else [int(n) for n in g.integers(3, 6, 2)]
    net = Net(g, [1, *shape], 23)
    FORMS[name](net)
    net.put("Tanh")
    return net.proto()
