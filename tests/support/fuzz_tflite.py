"""Damaged .tflite files, made from valid ones; fuzzing.py says how to try them."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import flatbuffers
import lite_composed
import lite_dilated
import lite_float
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from fuzzing import INTEGERS, REALS, WORDS, Rng, change_bytes, command, integer, pick
from lite import Author

FLOAT_NETWORKS, INT8_NETWORKS, DILATED, COMPOSED = 12, 12, 4, 4
OPERATORS = sorted(v for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_"))
TYPES = sorted(v for k, v in vars(schema.TensorType).items() if not k.startswith("_"))
OPTIONS = sorted(v for k, v in vars(schema.BuiltinOptions).items() if not k.startswith("_"))
OPTIONS_FIELD = 12  # where the table of an operator has the place of its options
CANNOT = (ValueError, TypeError, IndexError, AttributeError, KeyError, OverflowError, struct.error)
"""What changing or packing raises where there is nothing to change, or the schema holds no such value."""


def int8_network(rng: Rng) -> bytes:
    """Convolutions and dense layers in int8, for some between float ends, for some behind a softmax."""
    a, ends = Author(), bool(rng.integers(2))
    channels = int(rng.integers(1, 4))
    shape = (1, int(rng.integers(3, 8)), int(rng.integers(3, 8)), channels)
    x = now = a.tensor("x", shape, "FLOAT32" if ends else "INT8", None if ends else 0.05, 3)
    if ends:
        now = a.tensor("x_int8", shape, scale=0.05, zero=3)
        a.op("QUANTIZE", [x], [now], "QuantizeOptions")
    for i in range(int(rng.integers(1, 3))):
        depthwise = bool(rng.integers(2))
        outputs = channels if depthwise else int(rng.integers(1, 5))
        size = (1, 2, 2, outputs) if depthwise else (outputs, 2, 2, channels)
        scale = rng.uniform(0.005, 0.02, outputs)
        w = a.tensor(
            f"conv{i}/w", size, scale=scale, data=rng.integers(-127, 128, size), axis=3 if depthwise else 0
        )
        b = a.tensor(f"conv{i}/b", (outputs,), "INT32", 0.05 * scale, data=rng.integers(-999, 999, outputs))
        shape, channels = (*shape[:3], outputs), outputs
        y = a.tensor(f"conv{i}", shape, scale=0.05, zero=-10)
        name = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        options = {"strideH": 1, "strideW": 1, "padding": 0, "fusedActivationFunction": int(rng.integers(4))}
        options |= {"dilationHFactor": 1, "dilationWFactor": 1}
        kind = "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions"
        a.op(name, [now, w, b], [y], kind, 3, **options | ({"depthMultiplier": 1} if depthwise else {}))
        now = y
    inputs, classes = int(np.prod(shape)), int(rng.integers(2, 5))
    flat = a.tensor("flat", (1, inputs), scale=0.05, zero=-10)
    a.op("RESHAPE", [now, a.tensor("to", (2,), "INT32", data=[1, inputs])], [flat], "ReshapeOptions")
    w = a.tensor("fc/w", (classes, inputs), scale=0.01, data=rng.integers(-127, 128, (classes, inputs)))
    y = a.tensor("fc", (1, classes), scale=0.2, zero=5)
    a.op("FULLY_CONNECTED", [flat, w], [y], "FullyConnectedOptions", 4)
    if rng.integers(2):
        y, logits = a.tensor("classes", (1, classes), scale=1 / 256, zero=-128), y
        a.op("SOFTMAX", [logits], [y], "SoftmaxOptions", beta=1.0)
    if ends:
        y, held = a.tensor("real", (1, classes), "FLOAT32"), y
        a.op("DEQUANTIZE", [held], [y], "DequantizeOptions")
    return a.bytes([x], [y])


@cache
def corpus() -> tuple[bytes, ...]:
    """The valid files."""
    choices = [lite_composed.composition(np.random.default_rng([10, i])) for i in range(COMPOSED)]
    reals = [lite_float.network(np.random.default_rng([7, i]))[0] for i in range(FLOAT_NETWORKS)]
    dealt = [lite_dilated.dilated(np.random.default_rng([9, i]), bool(i % 2))[0] for i in range(DILATED)]
    return (
        *reals,
        *(int8_network(np.random.default_rng([8, i])) for i in range(INT8_NETWORKS)),
        *dealt,
        *choices,
    )


@cache
def _read(which: int) -> bytes:
    """A valid file as its tables, pickled: the schema's reader takes as long as an import."""
    return pickle.dumps(schema.ModelT.InitFromPackedBuf(corpus()[which], 0))


def damaged(number: int) -> bytes:
    """File `number`: every fifth damaged in its bytes, the others in what the bytes say."""
    g = np.random.default_rng(number)
    which = int(g.integers(len(corpus())))
    data = base = corpus()[which]
    if number % 5 == 0:
        return change_bytes(g, bytearray(data))
    if number % 10 == 1:
        to = int(g.integers(len(data))) if g.random() < 0.8 else integer(g) % 2**32
        return options_at(data, int(g.integers(99)), to)
    for _ in range(int(g.integers(1, 4))):
        try:
            # fails where the last change broke it
            model = pickle.loads(_read(which)) if data is base else schema.ModelT.InitFromPackedBuf(data, 0)
            with np.errstate(all="ignore"):
                pick(g, CHANGES)(g, model)
            builder = flatbuffers.Builder(1024)
            builder.Finish(model.Pack(builder), b"TFL3")
            data = bytes(builder.Output())
        except CANNOT:
            continue
    return data


def options_at(data: bytes, number: int, to: int) -> bytes:
    """The file where operator `number`, of those that there are, has its options `to` bytes further on."""
    graph, out = schema.Model.GetRootAs(data, 0).Subgraphs(0), bytearray(data)
    table = graph.Operators(number % graph.OperatorsLength())._tab
    if place := table.Offset(OPTIONS_FIELD):
        struct.pack_into("<I", out, table.Pos + place, to)
    return bytes(out)


def _list(g: Rng, values: Any, integers: Callable[[Rng], int] = integer) -> list[int]:
    """A list with one number changed, added or taken."""
    out = [int(v) for v in values] if values is not None else []
    kind = int(g.integers(4))
    if kind == 0 or not out:
        out.append(integers(g))
    elif kind == 1:
        out.pop()
    else:
        out[int(g.integers(len(out)))] = integers(g)
    return out


def _tensor(g: Rng, model: Any) -> None:
    t = pick(g, model.subgraphs[0].tensors)
    match int(g.integers(8)):
        case 0 | 1:
            t.shape = _list(g, t.shape)
        case 2:
            t.type = int(pick(g, TYPES))
        case 3:
            t.buffer = int(g.integers(-1, len(model.buffers) + 2))
        case 4:
            t.name = pick(g, WORDS).encode()
        case 5:
            t.shapeSignature = _list(g, t.shape, lambda g: -1)
        case 6:
            t.isVariable = True
        case _:
            t.sparsity = schema.SparsityParametersT()


def _quantisation(g: Rng, model: Any) -> None:
    t = pick(g, [t for t in model.subgraphs[0].tensors if t.quantization is not None])
    q = t.quantization
    scale, zero = [float(v) for v in q.scale], [int(v) for v in q.zeroPoint]
    match int(g.integers(7)):
        case 0:
            scale[int(g.integers(len(scale)))] = float(pick(g, REALS))
        case 1:
            scale = [v * float(10.0 ** g.integers(-20, 20)) for v in scale]
        case 2:
            zero[int(g.integers(len(zero)))] = int(pick(g, INTEGERS))
        case 3:
            t.quantization = None
        case 4:
            q.quantizedDimension = integer(g)
        case 5:
            scale.append(0.5)
        case _:
            zero = [int(g.integers(-128, 128)) for _ in zero]
    q.scale, q.zeroPoint = scale, zero


def _buffer(g: Rng, model: Any) -> None:
    buffer = pick(g, [b for b in model.buffers if b.data is not None and len(b.data)])
    data = np.array(buffer.data, np.uint8)
    match int(g.integers(5)):
        case 0:
            data = data[: int(g.integers(len(data) + 1))]
        case 1:
            data[g.integers(len(data), size=int(g.integers(1, 9)))] = g.integers(256)
        case 2 | 3:
            reals = data[: len(data) // 4 * 4].view(np.float32)
            reals[g.integers(len(reals), size=int(g.integers(1, 9)))] = pick(g, REALS)
        case _:
            whole = data[: len(data) // 4 * 4].view(np.int32)
            whole[int(g.integers(len(whole)))] = int(pick(g, INTEGERS)) & 0x7FFFFFFF
    buffer.data = data


def _operator(g: Rng, model: Any) -> None:
    ops, tensors = model.subgraphs[0].operators, len(model.subgraphs[0].tensors)
    op = pick(g, ops)
    match int(g.integers(9)):
        case 0:
            ops.remove(op)
        case 1:
            ops.append(deepcopy(op))
        case 2:
            ops[:] = [ops[int(i)] for i in g.permutation(len(ops))]
        case 3:
            op.opcodeIndex = int(g.integers(len(model.operatorCodes) + 1))
        case 4:
            op.builtinOptionsType = int(pick(g, OPTIONS))
        case 5:
            op.builtinOptions, op.builtinOptionsType = None, 0
        case 6:
            op.outputs = _list(g, op.outputs, lambda g: int(g.integers(-2, tensors + 2)))
        case _:
            op.inputs = _list(g, op.inputs, lambda g: int(g.integers(-2, tensors + 2)))


def _option(g: Rng, model: Any) -> None:
    """A number of an operator's options."""
    op = pick(g, [o for o in model.subgraphs[0].operators if o.builtinOptions is not None])
    field = pick(g, sorted(vars(op.builtinOptions)))
    before = getattr(op.builtinOptions, field)
    setattr(op.builtinOptions, field, float(pick(g, REALS)) if type(before) is float else integer(g))


def _code(g: Rng, model: Any) -> None:
    code = pick(g, model.operatorCodes)
    code.builtinCode = int(pick(g, OPERATORS))
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.customCode = pick(g, WORDS).encode() if g.random() < 0.2 else None


def _bypass(g: Rng, model: Any) -> None:
    """An operator left out: its readers read what it read."""
    ops = model.subgraphs[0].operators
    op = pick(g, [o for o in ops if len(o.inputs)])
    for other in ops:
        other.inputs = [int(op.inputs[0]) if i in op.outputs else int(i) for i in other.inputs]


def _frame(g: Rng, model: Any) -> None:
    graph, tensors = model.subgraphs[0], len(model.subgraphs[0].tensors)
    match int(g.integers(6)):
        case 0:
            graph.inputs = _list(g, graph.inputs, lambda g: int(g.integers(-1, tensors + 1)))
        case 1 | 2:
            graph.outputs = _list(g, graph.outputs, lambda g: int(g.integers(-1, tensors + 1)))
        case 3:
            model.subgraphs.append(deepcopy(graph))
        case 4:
            graph.tensors = graph.tensors[: int(g.integers(tensors))]
        case _:
            model.operatorCodes.pop()


CHANGES: tuple[Callable[[Rng, Any], None], ...] = (
    _tensor, _quantisation, _quantisation, _buffer, _operator, _operator, _option, _option, _code, _bypass,
    _frame,
)  # fmt: skip


if __name__ == "__main__":
    command(damaged, ".tflite")
