"""Damaged ONNX files, made from valid ones; fuzzing.py says how to try them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_variants
import quant_onnx
from fuzzing import REALS, WORDS, Rng, change_bytes, command, integer, pick
from onnx import AttributeProto, ModelProto, TensorProto
from onnx_forms import FORMS, form
from onnx_operators import OPERATORS

EXPORTS = Path(__file__).parents[1] / "gen" / "importers" / "exports"

OPS = (
    *("Add", "Mul", "Sub", "Div", "Neg", "Max", "Min", "Relu", "Clip", "Sigmoid", "Erf", "Where", "Greater"),
    *("LeakyRelu", "HardSigmoid", "Softmax", "ArgMax", "BatchNormalization", "Cast", "Identity", "Dropout"),
    *("Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean", "Pad", "Concat"),
    *(
        "Flatten",
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Shape",
        "Gather",
        "Slice",
        "Expand",
        "Loop",
    ),
    *("ConstantOfShape", "ReduceProd", "Pow", "Sqrt"),
    *("QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"),
    *("DynamicQuantizeLinear", "QLinearAdd", "QGemm", "Quant"),
)
DOMAINS = (*WORDS, "com.microsoft", "onnx.brevitas")


@cache
def corpus() -> tuple[bytes, ...]:
    """The valid files."""
    builders = [*onnx_variants.VARIANTS.items(), *OPERATORS.items()]
    built = [build().SerializeToString() for _, build in sorted(builders)]
    built += [form(name, seed).SerializeToString() for name in FORMS for seed in range(3)]
    built += [model.SerializeToString() for model in quant_onnx.examples()]
    return (*built, *(p.read_bytes() for p in sorted(EXPORTS.glob("*.onnx"))))


def damaged(number: int) -> bytes:
    """File `number`: every fifth damaged in its bytes, the others in what the bytes say."""
    g = np.random.default_rng(number)
    data = corpus()[int(g.integers(len(corpus())))]
    if number % 5 == 0:
        return change_bytes(g, bytearray(data))
    proto = onnx.load_from_string(data)
    for _ in range(int(g.integers(1, 4))):
        change = CHANGES[int(g.integers(len(CHANGES)))]
        try:
            with np.errstate(all="ignore"):
                change(g, proto)
        except (
            ValueError,
            TypeError,
            IndexError,
        ):  # protobuf refuses the value, or there is nothing to change
            continue
    return proto.SerializeToString()


def _list(g: Rng, values: Any) -> None:
    """One number of a repeated field changed, added or taken."""
    kind = int(g.integers(4))
    if kind == 0 or not values:
        values.append(integer(g))
    elif kind == 1:
        values.pop()
    else:
        values[int(g.integers(len(values)))] = integer(g)


def _attribute(g: Rng, proto: ModelProto) -> None:
    node = pick(g, [n for n in proto.graph.node if n.attribute])
    a = pick(g, node.attribute)
    match int(g.integers(8)):
        case 0:
            node.attribute.remove(a)
        case 1:
            a.type = int(g.integers(0, 15))
        case 2:
            a.name = pick(g, WORDS)
        case _:
            if a.type == AttributeProto.INT:
                a.i = integer(g)
            elif a.type == AttributeProto.INTS:
                _list(g, a.ints)
            elif a.type == AttributeProto.FLOAT:
                a.f = pick(g, REALS)
            elif a.type == AttributeProto.STRING:
                a.s = pick(g, WORDS).encode()
            elif a.type == AttributeProto.TENSOR:
                _tensor(g, a.t)


def _initializer(g: Rng, proto: ModelProto) -> None:
    _tensor(g, pick(g, proto.graph.initializer))


def _tensor(g: Rng, t: TensorProto) -> None:
    match int(g.integers(7)):
        case 0:
            _list(g, t.dims)
        case 1:
            t.data_type = int(g.integers(0, 26))
        case 2:
            t.raw_data = t.raw_data[: int(g.integers(len(t.raw_data) + 1))]
        case 3:
            t.ClearField("raw_data")
            t.float_data.extend([float(pick(g, REALS))] * min(int(np.prod(t.dims[:3])), 4096))
        case 4 if t.data_type == TensorProto.INT64:
            values = np.frombuffer(t.raw_data, np.int64).copy()
            values[int(g.integers(len(values)))] = integer(g)
            t.raw_data = values.tobytes()
        case 4 | 5:
            values32 = np.frombuffer(t.raw_data, np.float32).copy()
            n = int(g.integers(1, len(values32) + 1))
            values32[g.integers(len(values32), size=n)] = pick(g, REALS)
            t.raw_data = values32.tobytes()
        case _:
            t.raw_data = (
                np.frombuffer(t.raw_data, np.float32) * np.float32(10.0 ** g.integers(-20, 20))
            ).tobytes()


def _shape(g: Rng, proto: ModelProto) -> None:
    value = pick(g, [*proto.graph.input, *proto.graph.output])
    dims = value.type.tensor_type.shape.dim
    match int(g.integers(6)):
        case 0:
            value.type.tensor_type.elem_type = int(g.integers(0, 20))
        case 1:
            dims.add().dim_value = integer(g)
        case 2:
            dims.pop()
        case 3:
            pick(g, dims).dim_param = pick(g, WORDS)
        case 4:
            value.type.tensor_type.ClearField("shape")
        case _:
            pick(g, dims).dim_value = integer(g)


def _node(g: Rng, proto: ModelProto) -> None:
    nodes = proto.graph.node
    node = pick(g, nodes)
    match int(g.integers(9)):
        case 0:
            nodes.remove(node)
        case 1:
            copy = nodes.add()
            copy.CopyFrom(node)
            copy.output[0] = f"{copy.output[0]}_copy"
        case 2:
            order = [nodes[int(i)] for i in g.permutation(len(nodes))]
            new = [n.SerializeToString() for n in order]
            del nodes[:]
            for data in new:
                nodes.add().ParseFromString(data)
        case 3 | 4:
            node.op_type = pick(g, OPS)
        case 5:
            node.input[int(g.integers(len(node.input)))] = _name(g, proto)
        case 6:
            node.input.pop()
        case 7:
            node.input.append(_name(g, proto))
        case _:
            node.domain = pick(g, DOMAINS)


def _name(g: Rng, proto: ModelProto) -> str:
    """Any tensor of the network."""
    names = [i.name for i in (*proto.graph.input, *proto.graph.initializer)]
    return str(pick(g, [*names, *(o for n in proto.graph.node for o in n.output), ""]))


def _bypass(g: Rng, proto: ModelProto) -> None:
    """A node left out: its readers read what it read."""
    node = pick(g, [n for n in proto.graph.node if n.input])
    for other in proto.graph.node:
        for i, name in enumerate(other.input):
            if name in node.output:
                other.input[i] = node.input[0]


def _frame(g: Rng, proto: ModelProto) -> None:
    match int(g.integers(6)):
        case 0:
            proto.opset_import[0].version = int(pick(g, (0, 6, 7, 9, 10, 11, 13, 18, 21, 26, 10**6)))
        case 1:
            proto.graph.output[0].name = _name(g, proto)
        case 2:
            proto.graph.output.add().CopyFrom(proto.graph.input[0])
        case 3:
            del proto.graph.input[0]
        case 4:
            pick(g, proto.graph.initializer).name = pick(g, WORDS)
        case _:
            pick(g, proto.graph.node).name = pick(g, WORDS)


CHANGES: tuple[Callable[[Rng, ModelProto], None], ...] = (
    _attribute, _attribute, _initializer, _initializer, _shape, _node, _node, _bypass, _frame,
)  # fmt: skip


if __name__ == "__main__":
    command(damaged, ".onnx")
