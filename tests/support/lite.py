"""Small .tflite files written by hand, LiteRT's reference kernels as an oracle, and what synapcc says.

The schema's object API comes with ai-edge-litert; no TensorFlow and no converter is needed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import ArrayLike, NDArray

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.importers import load_model
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec
from synapcc.host.run.emulator import Emulator

ROOT = Path(__file__).resolve().parents[2]
PLACES = (os.environ.get("SYNAPCC_DATA"), ROOT.parent / "shared" / "data")
MODELS = next((p for place in PLACES if place and (p := Path(place) / "models").is_dir()), None)
"""The folder of trained networks of third parties; None where there is none."""

KINDS = {
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "UINT8": np.uint8,
    "STRING": np.uint8,
    "BOOL": np.bool_,
    "FLOAT64": np.float64,
}


class Author:
    """One model, tensor by tensor and operator by operator; tensors are numbers."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.description = 3, b"written by hand"
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes, self.model.subgraphs = [], [self.graph]
        self.graph.tensors, self.graph.operators, self.graph.name = [], [], b"main"

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: str = "INT8",
        scale: ArrayLike | None = None,
        zero: ArrayLike = 0,
        data: ArrayLike | None = None,
        axis: int = 0,
    ) -> int:
        t = schema.TensorT()
        t.name, t.shape, t.type = name.encode(), list(shape), getattr(schema.TensorType, kind)
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.float32(scale)).tolist()
            q.zeroPoint = np.broadcast_to(np.asarray(zero, np.int64), len(q.scale)).tolist()
            q.quantizedDimension = axis
            t.quantization = q
        t.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(
                np.ascontiguousarray(np.asarray(data, KINDS[kind])).tobytes(), np.uint8
            )
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def op(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: str = "",
        version: int = 1,
        **fields: Any,
    ) -> None:
        """An operator by its name in BuiltinOperator; options: the name of its table, fields what it says."""
        code = getattr(schema.BuiltinOperator, name)
        found = [c.builtinCode for c in self.model.operatorCodes]
        if code not in found:
            c = schema.OperatorCodeT()
            c.builtinCode, c.deprecatedBuiltinCode, c.version = code, min(code, 127), version
            self.model.operatorCodes.append(c)
            found.append(code)
        o = schema.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = found.index(code), list(inputs), list(outputs)
        if options:
            table = getattr(schema, f"{options}T")()
            for field, value in fields.items():
                assert hasattr(table, field), f"{options} has no {field}"
                setattr(table, field, value)
            o.builtinOptionsType, o.builtinOptions = getattr(schema.BuiltinOptions, options), table
        self.graph.operators.append(o)

    def bytes(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def oracle(
    data: bytes,
    x: Sequence[NDArray[Any]],
    threads: int = 1,
    reference: bool = True,
    before: bool = False,
) -> NDArray[Any]:
    """What LiteRT's reference kernels answer to samples x, an array [n, *shape without the batch] an input:
    the first output, [n, size].

    reference: else its usual kernels, of which there are more
    before: what the last operator reads in place of what it gives
    """
    kind = OpResolverType.BUILTIN_REF if reference else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    machine = Interpreter(
        model_content=data,
        experimental_op_resolver_type=kind,
        num_threads=threads,
        experimental_preserve_all_tensors=before,
    )
    machine.allocate_tensors()
    inputs, output = machine.get_input_details(), machine.get_output_details()[0]["index"]
    if before:
        (last,) = (op for op in machine._get_ops_details() if output in op["outputs"])
        output = last["inputs"][0]
    answers = []
    for sample in zip(*x, strict=True):
        for detail, value in zip(inputs, sample, strict=True):
            machine.set_tensor(detail["index"], np.asarray(value, detail["dtype"]).reshape(detail["shape"]))
        machine.invoke()
        answers.append(machine.get_tensor(output).ravel().copy())
    return np.array(answers)


def compiled(data: bytes, folder: Path, rule: RuleSpec | None = None, samples: int = 8) -> Compiled:
    """What synapcc makes of the file, for inference alone or under a rule; calibration data are random."""
    path = folder / "net.tflite"
    path.write_bytes(data)

    graph = load_model(path)
    rng = np.random.default_rng(0)
    calibration: dict[str, NDArray[Any]] = {
        i.name: rng.normal(0, 1, (samples, *i.shape)).astype(np.float32) for i in graph.interface
    }
    calibration["label"] = rng.integers(0, graph.tensors[graph.output].size, samples)
    return compile_model(graph, rule or RuleSpec(INFERENCE_ONLY), calibration)


def answers(c: Compiled, x: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The emulator's scores for samples x of integers, an array [n, ...] an input."""
    machine = Emulator(c.plan, len(x[0]))
    named = {i.name: v.reshape(len(v), *i.shape) for i, v in zip(c.graph.interface, x, strict=True)}
    return machine.infer(named).scores
