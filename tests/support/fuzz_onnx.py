"""Damaged ONNX files, made from valid ones; and a process that tries them under hard limits.

    python tests/support/fuzz_onnx.py FIRST LAST           tries the files FIRST .. LAST - 1, a line for each
    python tests/support/fuzz_onnx.py FIRST --write PATH   writes file FIRST

File number n is a function of n alone, so what is found can be made again.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_variants
from onnx import AttributeProto, ModelProto, TensorProto

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.rules import options, rules
from synapcc.gen.spec import INFERENCE_ONLY, parse_spec

SECONDS, MEMORY = 5, 1 << 30
SAMPLES = 3
EXPORTS = Path(__file__).parents[1] / "gen" / "importers" / "exports"

Rng = np.random.Generator
INTEGERS = (0, 1, -1, 2, 3, 5, 7, 100, 4097, 2**31 - 1, 2**31, -(2**31), 2**40, 2**63 - 1, -(2**63))
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan)
WORDS = ("", "x", "SAME_UPPER", "VALID", "edge", "constant", "*/", "\n", "é\u202e", "a" * 300, "ai.onnx.ml")
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
)


@cache
def corpus() -> tuple[bytes, ...]:
    """The valid files."""
    built = [onnx_variants.VARIANTS[k]().SerializeToString() for k in sorted(onnx_variants.VARIANTS)]
    return (*built, *(p.read_bytes() for p in sorted(EXPORTS.glob("*.onnx"))))


def damaged(number: int) -> bytes:
    """File `number`: every fifth damaged in its bytes, the others in what the bytes say."""
    g = np.random.default_rng(number)
    data = corpus()[int(g.integers(len(corpus())))]
    if number % 5 == 0:
        return _bytes(g, bytearray(data))
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


def _bytes(g: Rng, data: bytearray) -> bytes:
    for _ in range(int(g.integers(1, 6))):
        at, to = sorted(int(i) for i in g.integers(0, len(data) + 1, 2))
        match int(g.integers(4)):
            case 0:
                data[min(at, len(data) - 1)] ^= 1 << int(g.integers(8))
            case 1:
                data[min(at, len(data) - 1)] = int(g.integers(256))
            case 2 if g.random() < 0.3:
                del data[at : min(to, at + 64)]
            case _ if g.random() < 0.2:
                data[at:at] = data[at : min(to, at + 64)]
        if not data:
            break
    return bytes(data if g.random() < 0.8 else data[: int(g.integers(len(data) + 1))])


def _pick(g: Rng, items: Sequence[Any]) -> Any:
    return items[int(g.integers(len(items)))]


def _integer(g: Rng) -> int:
    return int(_pick(g, INTEGERS)) if g.random() < 0.6 else int(g.integers(-3, 12))


def _list(g: Rng, values: Any) -> None:
    """One number of a repeated field changed, added or taken."""
    kind = int(g.integers(4))
    if kind == 0 or not values:
        values.append(_integer(g))
    elif kind == 1:
        values.pop()
    else:
        values[int(g.integers(len(values)))] = _integer(g)


def _attribute(g: Rng, proto: ModelProto) -> None:
    node = _pick(g, [n for n in proto.graph.node if n.attribute])
    a = _pick(g, node.attribute)
    match int(g.integers(8)):
        case 0:
            node.attribute.remove(a)
        case 1:
            a.type = int(g.integers(0, 15))
        case 2:
            a.name = _pick(g, WORDS)
        case _:
            if a.type == AttributeProto.INT:
                a.i = _integer(g)
            elif a.type == AttributeProto.INTS:
                _list(g, a.ints)
            elif a.type == AttributeProto.FLOAT:
                a.f = _pick(g, REALS)
            elif a.type == AttributeProto.STRING:
                a.s = _pick(g, WORDS).encode()
            elif a.type == AttributeProto.TENSOR:
                _tensor(g, a.t)


def _initializer(g: Rng, proto: ModelProto) -> None:
    _tensor(g, _pick(g, proto.graph.initializer))


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
            t.float_data.extend([float(_pick(g, REALS))] * min(int(np.prod(t.dims[:3])), 4096))
        case 4 if t.data_type == TensorProto.INT64:
            values = np.frombuffer(t.raw_data, np.int64).copy()
            values[int(g.integers(len(values)))] = _integer(g)
            t.raw_data = values.tobytes()
        case 4 | 5:
            values32 = np.frombuffer(t.raw_data, np.float32).copy()
            n = int(g.integers(1, len(values32) + 1))
            values32[g.integers(len(values32), size=n)] = _pick(g, REALS)
            t.raw_data = values32.tobytes()
        case _:
            t.raw_data = (
                np.frombuffer(t.raw_data, np.float32) * np.float32(10.0 ** g.integers(-20, 20))
            ).tobytes()


def _shape(g: Rng, proto: ModelProto) -> None:
    value = _pick(g, [*proto.graph.input, *proto.graph.output])
    dims = value.type.tensor_type.shape.dim
    match int(g.integers(6)):
        case 0:
            value.type.tensor_type.elem_type = int(g.integers(0, 20))
        case 1:
            dims.add().dim_value = _integer(g)
        case 2:
            dims.pop()
        case 3:
            _pick(g, dims).dim_param = _pick(g, WORDS)
        case 4:
            value.type.tensor_type.ClearField("shape")
        case _:
            _pick(g, dims).dim_value = _integer(g)


def _node(g: Rng, proto: ModelProto) -> None:
    nodes = proto.graph.node
    node = _pick(g, nodes)
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
            node.op_type = _pick(g, OPS)
        case 5:
            node.input[int(g.integers(len(node.input)))] = _name(g, proto)
        case 6:
            node.input.pop()
        case 7:
            node.input.append(_name(g, proto))
        case _:
            node.domain = _pick(g, WORDS)


def _name(g: Rng, proto: ModelProto) -> str:
    """Any tensor of the network."""
    names = [i.name for i in (*proto.graph.input, *proto.graph.initializer)]
    return str(_pick(g, [*names, *(o for n in proto.graph.node for o in n.output), ""]))


def _bypass(g: Rng, proto: ModelProto) -> None:
    """A node left out: its readers read what it read."""
    node = _pick(g, [n for n in proto.graph.node if n.input])
    for other in proto.graph.node:
        for i, name in enumerate(other.input):
            if name in node.output:
                other.input[i] = node.input[0]


def _frame(g: Rng, proto: ModelProto) -> None:
    match int(g.integers(6)):
        case 0:
            proto.opset_import[0].version = int(_pick(g, (0, 6, 7, 9, 10, 11, 13, 18, 21, 26, 10**6)))
        case 1:
            proto.graph.output[0].name = _name(g, proto)
        case 2:
            proto.graph.output.add().CopyFrom(proto.graph.input[0])
        case 3:
            del proto.graph.input[0]
        case 4:
            _pick(g, proto.graph.initializer).name = _pick(g, WORDS)
        case _:
            _pick(g, proto.graph.node).name = _pick(g, WORDS)


CHANGES: tuple[Callable[[Rng, ModelProto], None], ...] = (
    _attribute, _attribute, _initializer, _initializer, _shape, _node, _node, _bypass, _frame,
)  # fmt: skip


def compiled(path: Path, g: Rng) -> str:
    """Compiles the file for any rule, calibrated with noise: "plan", or the message of a CompileError."""
    names = sorted(rules())
    rule = _pick(g, (INFERENCE_ONLY, *names))
    text = f'rule = "{rule}"\n'
    if rule != INFERENCE_ONLY:
        text += f'weights = "{_pick(g, ("int8", "int16"))}"\n' + _pick(g, ("", "", 'layers = "all"\n'))
    try:
        graph = load_model(path)
        if g.random() < 0.2:
            text += f"untied = {[n.name for n in graph.nodes if n.op == 'conv2d']}\n"
        data = {
            name: g.standard_normal((SAMPLES, *graph.tensors[name].shape)).astype(np.float32)
            for name in graph.inputs
        }
        plan = compile_model(graph, parse_spec(text, "fuzz", options()), data).plan
        assert plan.ops()
    except CompileError as error:
        message = str(error)
        if "\n" in message or not error.what:
            raise AssertionError(f"no single line: {message!r}") from error
        return message
    return "plan"


def limit_cpu(seconds: int) -> None:
    """The kernel ends this process after so many seconds from now."""
    soft = int(time.process_time()) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def limit_memory() -> None:
    """Allocations beyond MEMORY fail in this process."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def main(first: int, last: int) -> None:
    limit_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        for number in range(first, last):
            path.write_bytes(damaged(number))
            print(f"{number} begins", flush=True)
            limit_cpu(SECONDS)
            start = time.process_time()
            try:
                said = compiled(path, np.random.default_rng(number))
            except BaseException:
                said = "FAILED " + traceback.format_exc().replace("\n", " | ")
            print(f"{number} ends {time.process_time() - start:.2f} {said}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak {peak >> 10} MB", flush=True)


if __name__ == "__main__":
    if sys.argv[2] == "--write":
        Path(sys.argv[3]).write_bytes(damaged(int(sys.argv[1])))
    else:
        main(int(sys.argv[1]), int(sys.argv[2]))
