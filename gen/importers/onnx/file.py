"""From bytes on the disk to checked pieces of an ONNX model. Nothing here trusts the file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, NodeProto, TensorProto
from onnx.external_data_helper import load_external_data_for_tensor

from ...errors import CompileError, shown
from ...files.userfile import open_file, read_file
from .._build import MAX_ELEMENTS, SMALLER

MAX_FILE = 1 << 27
MAX_RANK = 8
DAMAGED = "the file is damaged: export the model again"
AGAIN = "export the model again"
SMALLEST = float(np.finfo(np.float32).min)  # exporters write it for no limit

# How each element type is stored: bytes in raw_data, and the typed field that may hold it instead.
_BFLOAT16 = np.dtype("V2")
_STORED: Mapping[int, tuple[np.dtype, str]] = {
    TensorProto.FLOAT: (np.dtype("<f4"), "float_data"),
    TensorProto.DOUBLE: (np.dtype("<f8"), "double_data"),
    TensorProto.FLOAT16: (np.dtype("<f2"), "int32_data"),
    TensorProto.BFLOAT16: (_BFLOAT16, "int32_data"),
    TensorProto.INT8: (np.dtype("<i1"), "int32_data"),
    TensorProto.INT16: (np.dtype("<i2"), "int32_data"),
    TensorProto.INT32: (np.dtype("<i4"), "int32_data"),
    TensorProto.INT64: (np.dtype("<i8"), "int64_data"),
    TensorProto.UINT8: (np.dtype("<u1"), "int32_data"),
    TensorProto.UINT16: (np.dtype("<u2"), "int32_data"),
    TensorProto.UINT32: (np.dtype("<u4"), "uint64_data"),
    TensorProto.UINT64: (np.dtype("<u8"), "uint64_data"),
    TensorProto.BOOL: (np.dtype("?"), "int32_data"),
}
FLOAT_TYPES = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
WHOLE_TYPES = (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32)


def text(value: str | bytes) -> str:
    """A string field; protobuf hands out bytes where the file holds no valid UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def type_name(number: int) -> str:
    """ "float", "int8", … for TensorProto.DataType."""
    known = TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(number)).lower() if number in known else f"type {number}"


def numpy_type(number: int) -> np.dtype | None:
    """What an element type becomes in memory; None if synapcc does not read it."""
    dtype = _STORED[number][0] if number in _STORED else None
    return np.dtype(np.float32) if dtype == _BFLOAT16 else dtype


def read_model(path: Path) -> onnx.ModelProto:
    """The parsed file; CompileError if there is none, or it holds no ONNX graph."""
    hint = "give an .onnx file as an exporter wrote it"
    data = read_file(path, MAX_FILE, CompileError, hint)
    if not data:
        raise CompileError(str(path), "the file is empty", hint)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise CompileError(str(path), "is damaged, truncated or not an ONNX file", AGAIN) from None
    if not model.HasField("graph") or not (model.graph.node or model.graph.input):
        raise CompileError(str(path), "holds no network", hint)
    return model


def read_tensor(proto: TensorProto, name: str, folder: Path) -> np.ndarray:
    """The values of an initializer or constant. bfloat16 becomes float32, other types stay what they are."""
    if proto.data_type == TensorProto.STRING and len(proto.string_data) == checked_size(
        tuple(proto.dims), name
    ):
        return np.array([text(s) for s in proto.string_data], dtype=np.str_).reshape(tuple(proto.dims))
    if proto.data_type not in _STORED:
        what = f"has element type {type_name(proto.data_type)}, which synapcc does not read"
        raise CompileError(name, what, "export the model in float32, not quantised")
    dtype, field = _STORED[proto.data_type]
    dims = tuple(int(d) for d in proto.dims)
    size = checked_size(dims, name)
    if proto.data_location == TensorProto.EXTERNAL:
        proto = _with_external_data(proto, name, folder)
    if proto.HasField("segment"):
        raise CompileError(name, "is stored in segments", AGAIN)
    if proto.HasField("raw_data"):
        if len(proto.raw_data) != size * dtype.itemsize:
            what = f"{len(proto.raw_data)} bytes are stored, shape {dims} needs {size * dtype.itemsize}"
            raise CompileError(name, what, DAMAGED)
        flat = np.frombuffer(proto.raw_data, dtype=dtype)
    else:
        stored = getattr(proto, field)
        if len(stored) != size:
            what = f"{len(stored)} values are stored, shape {dims} needs {size}"
            raise CompileError(name, what, DAMAGED)
        flat = _from_field(np.array(stored), dtype, field)
    if dtype == _BFLOAT16:
        flat = (flat.view("<u2").astype(np.uint32) << 16).view(np.float32)
    return flat.reshape(dims)


def checked_size(dims: tuple[int, ...], name: str) -> int:
    """The number of elements, before anything of that size is allocated."""
    size = math.prod(dims)
    if any(d < 0 for d in dims) or len(dims) > MAX_RANK:
        raise CompileError(name, f"has the impossible shape {shown(str(dims))}", DAMAGED)
    if size > MAX_ELEMENTS:
        what = f"shape {shown(str(dims))} has {size} elements, the most is {MAX_ELEMENTS}"
        raise CompileError(name, what, SMALLER)
    return size


def _from_field(stored: np.ndarray, dtype: np.dtype, field: str) -> np.ndarray:
    # 16-bit floats lie as bit patterns in integers; out-of-range integers wrap instead of raising.
    if field == "int32_data" and dtype.kind in "fV":
        return stored.astype(np.uint16).view(dtype)
    return stored.astype(dtype)


def _with_external_data(proto: TensorProto, name: str, folder: Path) -> TensorProto:
    loaded = TensorProto()
    loaded.CopyFrom(proto)
    location = [text(e.value) for e in proto.external_data if text(e.key) == "location"][-1:]
    try:
        for file in location:  # onnx would wait for a pipe
            open_file(folder / file, MAX_FILE, CompileError).close()
        with warnings.catch_warnings():  # keys that onnx does not know; if they matter, the size is wrong
            warnings.simplefilter("ignore")
            load_external_data_for_tensor(loaded, str(folder))
    except (OSError, ValueError, TypeError, CompileError, onnx.checker.ValidationError) as error:
        said = error.what if isinstance(error, CompileError) else str(error)
        reason = shown(said.splitlines()[0]) if said else type(error).__name__
        what = f'its values lie in the file "{shown("".join(location))}", which cannot be read ({reason})'
        raise CompileError(
            name, what, "keep that file next to the model, or export without external data"
        ) from None
    return loaded


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One node of the file. `source` is how messages and the emitted C call it: Gemm "/fc1/Gemm"."""

    op: str
    domain: str
    name: str
    source: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, AttributeProto]

    @classmethod
    def of(cls, proto: NodeProto) -> OnnxNode:
        op, name = text(proto.op_type), text(proto.name)
        outputs = tuple(text(o) for o in proto.output)
        label = shown(name or (f"-> {outputs[0]}" if outputs else "unnamed"))
        domain = text(proto.domain)
        return cls(
            op,
            "" if domain == "ai.onnx" else domain,
            name,
            f'{shown(op)} "{label}"',
            tuple(text(i) for i in proto.input),
            outputs,
            {text(a.name): a for a in proto.attribute},
        )

    def error(self, what: str, hint: str = "") -> CompileError:
        return CompileError(self.source, what, hint)

    def integer(self, name: str, default: int) -> int:
        a = self._attr(name, AttributeProto.INT)
        return default if a is None else int(a.i)

    def real(self, name: str, default: float) -> float:
        a = self._attr(name, AttributeProto.FLOAT)
        return default if a is None else float(a.f)

    def integers(self, name: str) -> tuple[int, ...] | None:
        a = self._attr(name, AttributeProto.INTS)
        return None if a is None else tuple(int(i) for i in a.ints)

    def reals(self, name: str) -> tuple[float, ...] | None:
        a = self._attr(name, AttributeProto.FLOATS)
        return None if a is None else tuple(float(v) for v in a.floats)

    def strings(self, name: str) -> tuple[str, ...] | None:
        a = self._attr(name, AttributeProto.STRINGS)
        return None if a is None else tuple(text(v) for v in a.strings)

    def string(self, name: str, default: str) -> str:
        a = self._attr(name, AttributeProto.STRING)
        return default if a is None else text(a.s)

    def _attr(self, name: str, kind: AttributeProto.AttributeType) -> AttributeProto | None:
        a = self.attrs.get(name)
        if a is not None and a.type != kind:
            raise self.error(f'attribute "{shown(name)}" has the wrong type', DAMAGED)
        return a
