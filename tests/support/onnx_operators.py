"""A small network around each operator of ONNX, in the forms that exporters write: OPERATORS, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_models as om
from onnx import ModelProto
from onnx_nets import Net

MAP = (1, 4, 6, 5)
OPERATORS: dict[str, Callable[[], ModelProto]] = {}


def _net(shape: Sequence[int] = MAP, opset: int = 18) -> Net:
    """A network that starts with a layer which may learn."""
    net = Net(om.rng(7), shape, opset)
    if len(shape) == 4:
        net.conv(shape[1], 4, 1, 1)
    else:
        net.put("Gemm", net.weight(int(shape[1]), 12), net.weight(12))
    return net


def _end(net: Net, size: int) -> ModelProto:
    net.put("Flatten")
    net.put("Gemm", net.weight(size, 3), net.weight(3))
    return net.proto()


COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")


def _compared(net: Net, op: str, way: str) -> None:
    """A Where by a comparison: with 0, which many values behind a ReLU are, with a number a channel, or of
    two activations; of two activations, of one and numbers, or a Cast in its place."""
    here, other = net.put("Relu"), net.put("Sigmoid")
    side = {"zero": net.value(np.float32(0)), "channels": net.weight(4, 1, 1), "two": other}[way]
    net.join(op, *((here, side) if net.g.integers(2) or way == "zero" else (side, here)))
    if way == "two":
        net.join("Mul", net.put("Cast", to=1), here)
        return
    condition = net.put("Not") if way == "channels" else net.last
    branches = {"zero": (other, here), "channels": (net.weight(6, 5), other)}[way]
    net.join("Where", condition, *branches)


def _ints(net: Net, *values: int) -> str:
    return net.value(np.array(values, np.int64))


def _of_map(name: str, size: int, build: Callable[[Net], Any], opset: int = 18) -> None:
    """A case: what `build` puts behind a map [1, 4, 6, 5] has `size` values."""

    def made() -> ModelProto:
        net = _net(MAP, opset)
        build(net)
        return _end(net, size)

    OPERATORS[name] = made


def _gated(net: Net, op: str, *axes: int, swapped: bool = False) -> None:
    """The map, and its means over axes: stretched."""
    here = net.last
    mean = net.put("ReduceMean", _ints(net, *axes), keepdims=1)
    net.join(op, *((mean, here) if swapped else (here, mean)))


def _pair(net: Net, op: str) -> None:
    here = net.last
    net.join(op, here, net.put("Tanh"))


def _divided(net: Net, swapped: bool = False) -> None:
    here = net.last
    below = net.put("Exp")
    net.join("Div", *((net.weight(4, 1, 1), below) if swapped else (here, below)))


def _parts(net: Net, axis: int, operand: Sequence[int] | None, **attrs: Any) -> None:
    """Split, and its parts, turned round, joined again."""
    size = 2 if operand is None and "split" not in attrs else len(operand or attrs["split"])
    outputs = [f"part{i}" for i in range(size)]
    names = [net.last] + ([_ints(net, *operand)] if operand else [])
    net.nodes.append(om.node("Split", " ".join(names), " ".join(outputs), axis=axis, **attrs))
    net.join("Concat", *outputs[::-1], axis=axis)


def _slice(net: Net, *rows: Sequence[int]) -> None:
    net.put("Slice", *(_ints(net, *row) for row in rows))


for _op in ("Add", "Sub", "Mul"):
    for _axes in ((2, 3), (1,), (1, 2, 3), (3,)):
        for _swap in (False, True):
            _of_map(
                f"{_op} with means over {_axes}, {'right' if _swap else 'left'}",
                120,
                lambda n, op=_op, axes=_axes, swap=_swap: _gated(n, op, *axes, swapped=swap),  # type: ignore[misc]
            )
for _op in ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"):
    _of_map(f"{_op} of two", 120, lambda n, op=_op: _pair(n, op))  # type: ignore[misc]
    if _op not in ("Max", "Min"):
        continue
    for _shape in ((), (4, 1, 1), (6, 5)):
        _of_map(f"{_op} of {_shape}", 120, lambda n, op=_op, s=_shape: n.put(op, n.weight(*s)))  # type: ignore[misc]
_of_map("outer sum", 120, lambda n: _outer(n))


def _outer(net: Net) -> None:
    """Means of rows and of columns: both are stretched."""
    here = net.last
    rows = net.put("ReduceMean", _ints(net, 3), keepdims=1)
    net.last = here
    columns = net.put("ReduceMean", _ints(net, 2), keepdims=1)
    net.join("Mul", rows, columns)


_of_map("Sum of three", 120, lambda n: n.put("Sum", n.weight(4, 1, 1), n.last))
_of_map("Div of two", 120, _divided)
_of_map("Div of a constant", 120, lambda n: _divided(n, True))
_of_map("Where", 120, lambda n: n.join("Where", n.value(n.g.random((6, 5)) < 0.5), n.last, n.weight(4, 1, 1)))
_of_map(
    "Where of two",
    120,
    lambda n: n.join("Where", n.value(n.g.random((6, 5)) < 0.5), n.last, n.put("Tanh")),
)

_of_map("Slice", 4 * 3 * 2, lambda n: _slice(n, (1, 0), (4, 4), (2, 3), (1, 2)))
_of_map("Slice backwards", 120, lambda n: _slice(n, (-1, -1), (-(2**31), -(2**31)), (1, 2), (-1, -1)))
_of_map("Slice of channels", 60, lambda n: _slice(n, (-3,), (-1,), (1,)))
_of_map("Slice of opset 9", 60, lambda n: n.put("Slice", starts=[1], ends=[3], axes=[1]), 9)
_of_map("Slice of the batch", 120, lambda n: _slice(n, (0,), (2**31,), (0,)))
_of_map("Split", 120, lambda n: _parts(n, 1, (1, 3)))
_of_map("Split of opset 11", 120, lambda n: _parts(n, 2, None, split=[4, 2]), 11)
_of_map("Split into equal parts", 120, lambda n: _parts(n, 3, None, num_outputs=2))
_of_map("Gather", 4 * 3 * 5, lambda n: n.put("Gather", _ints(n, 0, 5, -2), axis=2))
_of_map("Gather one", 4 * 6, lambda n: n.put("Gather", n.value(np.array(3)), axis=3))
_of_map(
    "Gather of a table", 4 * 4 * 5, lambda n: n.put("Gather", n.value(np.array([[0, 1], [2, 3]])), axis=2)
)
_of_map("GatherElements", 120, lambda n: n.put("GatherElements", n.value(n.g.integers(-6, 6, MAP)), axis=2))
_of_map("GatherND", 10, lambda n: n.put("GatherND", n.value(np.array([[[0, 1, 2], [0, 3, 0]]]))))
_of_map("Expand", 120, lambda n: (_slice(n, (2,), (3,), (1,)), n.put("Expand", _ints(n, 4, 1, 5))))
_of_map("Tile", 480, lambda n: n.put("Tile", _ints(n, 1, 2, 1, 2)))
_of_map("SpaceToDepth", 96, lambda n: (_slice(n, (0,), (4,), (3,)), n.put("SpaceToDepth", blocksize=2)))
for _mode in ("DCR", "CRD"):
    _of_map(f"DepthToSpace {_mode}", 120, lambda n, m=_mode: n.put("DepthToSpace", blocksize=2, mode=m))  # type: ignore[misc]

for _op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare"):
    for _axes, _size in (((2, 3), 4), ((1,), 30), ((-1,), 24), ((1, 3), 6)):
        _of_map(
            f"{_op} over {_axes}",
            _size,
            lambda n, op=_op, axes=_axes: n.put(op, _ints(n, *axes), keepdims=len(axes) % 2),  # type: ignore[misc]
        )
_of_map("ReduceSum of opset 11", 4, lambda n: n.put("ReduceSum", axes=[2, 3], keepdims=0), 11)
_of_map("ReduceSum of nothing", 120, lambda n: n.put("ReduceSum", noop_with_empty_axes=1))
_of_map("GlobalMaxPool", 4, lambda n: n.put("GlobalMaxPool"))

for _op, _attrs in (
    *((op, {}) for op in ("Softsign", "Celu", "Mish", "ThresholdedRelu", "Shrink", "Erf", "Atan")),
    *((op, {}) for op in ("Sign", "Floor", "Ceil", "Round", "Sin", "Cos", "Abs", "Softplus", "HardSigmoid")),
    ("Celu", {"alpha": 0.25}),
    ("ThresholdedRelu", {"alpha": 0.125}),
    ("Shrink", {"lambd": 0.25, "bias": 0.125}),
    ("Elu", {"alpha": 0.5}),
    ("Selu", {}),
):
    _of_map(f"{_op} {_attrs or ''}".strip(), 120, lambda n, op=_op, a=_attrs: n.put(op, **a))  # type: ignore[misc]
for _power in (2.0, 3.0, 0.5, 1.5, 1.0):
    _of_map(
        f"Pow {_power}",
        120,
        lambda n, p=_power: (n.put("Abs"), n.put("Pow", n.value(np.float32(p)))),  # type: ignore[misc]
    )
for _power in (-0.5, -1.0, -2.0):
    _of_map(
        f"Pow {_power}",
        120,
        lambda n, p=_power: (n.put("Exp"), n.put("Pow", n.value(np.float32(p)))),  # type: ignore[misc]
    )
_of_map("Pow of 2", 120, lambda n: n.join("Pow", n.value(np.float32(2)), n.last))
_of_map("Reciprocal", 120, lambda n: (n.put("Exp"), n.put("Reciprocal")))

for _groups in (1, 2, 4):
    _of_map(
        f"Conv in {_groups} groups",
        8 * 30,
        lambda n, g=_groups: n.conv(4, 8, 3, 3, groups=g, auto_pad="SAME_LOWER"),  # type: ignore[misc]
    )
_of_map(
    "MaxPool, dilated",
    4 * 4 * 4,
    lambda n: n.put("MaxPool", kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 1, 1, 1]),
)
_of_map(
    "MaxPool, dilated, with strides",
    4 * 3 * 2,
    lambda n: n.put("MaxPool", kernel_shape=[2, 2], dilations=[2, 1], strides=[2, 3], pads=[1, 0, 1, 1]),
)
_of_map(
    "AveragePool, dilated",
    4 * 2 * 2,
    lambda n: n.put("AveragePool", kernel_shape=[3, 2], dilations=[2, 3]),
    19,
)
_of_map("Conv, dilated", 2 * 2 * 1, lambda n: n.conv(4, 2, 3, 3, dilations=[2, 2], auto_pad="VALID"))
_of_map("Concat with constants", 6 * 6 * 5, lambda n: n.join("Concat", n.weight(1, 2, 6, 5), n.last, axis=1))
_of_map("Pad of channels", 7 * 6 * 5, lambda n: n.put("Pad", _ints(n, 0, 1, 0, 0, 0, 2, 0, 0)))
_of_map("Pad reflected", 4 * 8 * 6, lambda n: n.put("Pad", _ints(n, 0, 0, 2, 0, 0, 0, 0, 1), mode="reflect"))

for _op in COMPARISONS:
    for _way in ("zero", "channels", "two"):
        _of_map(f"Where by {_op}, {_way}", 120, lambda n, o=_op, w=_way: _compared(n, o, w))  # type: ignore[misc]
for _along, _said in (
    (1, {}),
    (2, {"exclusive": 1}),
    (3, {"reverse": 1}),
    (-1, {"exclusive": 1, "reverse": 1}),
):
    _of_map(
        f"CumSum {_along}",
        120,
        lambda n, a=_along, s=_said: n.put("CumSum", n.value(np.int64(a)), **s),  # type: ignore[misc]
    )
