"""From bytes on the disk to checked pieces of a TensorFlow Lite model. Nothing here trusts the file."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite.BuiltinOperator import BuiltinOperator
from tflite.BuiltinOptions import BuiltinOptions
from tflite.Model import Model
from tflite.SubGraph import SubGraph
from tflite.Tensor import Tensor
from tflite.TensorType import TensorType

from ...errors import CompileError, shown
from ...files.userfile import read_file
from ...ir.format import Format, Scaled
from .._build import MAX_ELEMENTS, SMALLER

MAX_FILE = 1 << 27
MAX_RANK = 8
MAX_PIECES = 1 << 14  # tensors, operators, buffers, scales of one tensor's rows beyond MAX_ELEMENTS never
IDENTIFIER = b"TFL3"
DAMAGED = "the file is damaged: convert the model again"
AGAIN = "convert the model again"

_TYPES: Mapping[int, np.dtype[Any]] = {
    TensorType.FLOAT32: np.dtype("<f4"),
    TensorType.FLOAT16: np.dtype("<f2"),
    TensorType.FLOAT64: np.dtype("<f8"),
    TensorType.INT8: np.dtype("<i1"),
    TensorType.UINT8: np.dtype("<u1"),
    TensorType.INT16: np.dtype("<i2"),
    TensorType.INT32: np.dtype("<i4"),
    TensorType.INT64: np.dtype("<i8"),
    TensorType.BOOL: np.dtype("?"),
}
_TYPE_NAMES = {number: name for name, number in vars(TensorType).items() if not name.startswith("_")}
OPERATORS = {number: name for name, number in vars(BuiltinOperator).items() if not name.startswith("_")}
_OPTIONS = {number: name for name, number in vars(BuiltinOptions).items() if not name.startswith("_")}
OF_ZEROS = 2.0**-30
"""The scale of constants of zeros that a file gives the scale 0: others keep their factors beside it."""
_EXTERNAL_BUFFER = 24  # where a table of tensors has the field external_buffer, which `tflite` does not know


@contextmanager
def trusted(where: str) -> Iterator[None]:
    """What flatbuffers raises for a file that lies becomes a CompileError."""
    try:
        yield
    except (struct.error, ValueError, IndexError, TypeError, OverflowError, AttributeError) as error:
        kind = type(error).__qualname__ if type(error) is not struct.error else "nothing lies there"
        raise CompileError(where, f"is damaged or truncated ({kind})", DAMAGED) from None


@dataclass(frozen=True, slots=True)
class LiteTensor:
    """A tensor of the file.

    dtype:  None where synapcc does not read its type, whose name `kind` is
    scaled: what its integers stand for, None if it has no scale; `axis` is along which scales differ
    value:  the content of a constant
    signature: its shape as it was before it was fixed for one run, -1 where it is dynamic; may be empty
    variable: whether it keeps what it held from call to call
    """

    index: int
    name: str
    shape: tuple[int, ...]
    kind: str
    dtype: np.dtype[Any] | None
    scaled: Scaled | None
    axis: int
    value: NDArray[Any] | None
    signature: tuple[int, ...] = ()
    variable: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def label(self) -> str:
        return f'tensor "{shown(self.name)}"'

    def format(self) -> Format | None:
        """How it is held, all values its type has; None if it has no scale."""
        if self.scaled is None or self.dtype is None or self.dtype.kind not in "iu":
            return None
        info = np.iinfo(self.dtype)
        return Format(self.dtype.name, self.scaled, int(info.min), int(info.max))

    def real(self) -> NDArray[np.float32]:
        """What the integers of a constant with scales stand for, computed in float32 as LiteRT does."""
        assert self.value is not None and self.scaled is not None
        pairs = (np.array(self.scaled.scale, np.float32), np.array(self.scaled.zero, np.int32))
        along = [-1 if i == self.axis else 1 for i in range(len(self.shape))]
        scale, zero = (v.reshape(along) if v.size > 1 else v for v in pairs)
        return ((self.value.astype(np.int32) - zero) * scale).astype(np.float32)

    def error(self, what: str, hint: str = AGAIN) -> CompileError:
        return CompileError(self.label, what, hint)


@dataclass(frozen=True, slots=True)
class Dilated:
    """What a convolution that TensorFlow wrote as several operators works on.

    map:     [height, width, channels] of its input
    factor:  (height, width) of its dilation
    padding: (top, left, bottom, right)
    """

    map: tuple[int, int, int]
    factor: tuple[int, int]
    padding: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Normalised:
    """What an operator of several does to rows, as gen/ops/normalise.py counts: over which axes of its input,
    by which measure."""

    axes: tuple[int, ...]
    kind: str
    epsilon: float


@dataclass(frozen=True, slots=True)
class LiteOp:
    """An operator of the file. `source` is how messages and the emitted C call it; an input that is left out
    is None. `table` holds its options, those of `options`; None if it has none. `dilated`, `normalised`: see
    there. `between`: whether it computes in float32 between DEQUANTIZE and QUANTIZE of int8 tensors.
    `composed`: the operators that it stands for, in order; see gen/importers/tflite/composed.py. `test`: the
    comparison by which it chooses; see gen/importers/tflite/choices.py."""

    index: int
    op: str
    source: str
    inputs: tuple[LiteTensor | None, ...]
    outputs: tuple[LiteTensor, ...]
    options: str
    table: Any
    dilated: Dilated | None = None
    between: bool = False
    normalised: Normalised | None = None
    composed: tuple[LiteOp, ...] = ()
    test: str = ""

    def error(self, what: str, hint: str = AGAIN) -> CompileError:
        return CompileError(self.source, what, hint)

    def read(self, kind: type[Any]) -> Any:
        """Its options as a flatbuffers class; CompileError where the file has others."""
        if self.table is None or self.options != kind.__name__:
            raise self.error(f"has {self.options or 'no options'} instead of {kind.__name__}", DAMAGED)
        found = kind()
        with trusted(self.source):
            found.Init(self.table.Bytes, self.table.Pos)
        return found

    def number(self, value: Callable[[], Any]) -> int:
        """One number of its options."""
        with trusted(self.source):
            return int(value())

    def real(self, value: Callable[[], Any]) -> float:
        """One real number of its options."""
        with trusted(self.source):
            return float(value())


@dataclass(frozen=True, slots=True)
class LiteModel:
    """The one graph of the file, in the order in which it runs."""

    tensors: tuple[LiteTensor, ...]
    ops: tuple[LiteOp, ...]
    inputs: tuple[LiteTensor, ...]
    outputs: tuple[LiteTensor, ...]


def read_model(path: Path) -> LiteModel:
    """The parsed file; CompileError if there is none, or it holds no TensorFlow Lite model."""
    hint = "give a .tflite file as the converter wrote it"
    where = str(path)
    data = read_file(path, MAX_FILE, CompileError, hint)
    if not data:
        raise CompileError(where, "the file is empty", hint)
    if data[4:8] != IDENTIFIER:
        raise CompileError(where, "is damaged or not a TensorFlow Lite file", hint)
    with trusted(where):
        model = Model.GetRootAs(data, 0)
        graphs = model.SubgraphsLength()
        if graphs != 1:
            what = f"holds {graphs} graphs, as control flow needs them" if graphs else "holds no network"
            raise CompileError(where, what, "convert a model of one graph, without If and While")
        return _Reader(model, where).read(model.Subgraphs(0))


class _Reader:
    def __init__(self, model: Any, where: str) -> None:
        self.model, self.where = model, where

    def read(self, graph: SubGraph) -> LiteModel:
        tensors = tuple(self._tensor(i, graph.Tensors(i)) for i in self._each(graph.TensorsLength()))
        codes = [
            self._code(self.model.OperatorCodes(i)) for i in self._each(self.model.OperatorCodesLength())
        ]
        ops = tuple(
            self._op(i, graph.Operators(i), tensors, codes) for i in self._each(graph.OperatorsLength())
        )
        ends = [
            tuple(self._at(tensors, read(i)) for i in self._each(length()))
            for read, length in ((graph.Inputs, graph.InputsLength), (graph.Outputs, graph.OutputsLength))
        ]
        return LiteModel(tensors, ops, *ends)

    def _each(self, length: int) -> range:
        if length > MAX_PIECES:
            raise CompileError(self.where, f"lists {length} pieces, the most is {MAX_PIECES}", SMALLER)
        return range(length)

    def _at(self, tensors: tuple[LiteTensor, ...], index: int) -> LiteTensor:
        if not 0 <= index < len(tensors):
            raise CompileError(self.where, f"names tensor {index} of {len(tensors)}", DAMAGED)
        return tensors[index]

    @staticmethod
    def _code(code: Any) -> str:
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = OPERATORS.get(number, f"operator {number}")
        if name == "CUSTOM":
            custom = code.CustomCode()
            name = f"CUSTOM {shown(custom.decode('utf-8', 'replace')) if custom else ''}".strip()
        return str(name)

    def _op(self, index: int, op: Any, tensors: tuple[LiteTensor, ...], codes: list[str]) -> LiteOp:
        inputs = [op.Inputs(i) for i in self._each(op.InputsLength())]
        outputs = tuple(self._at(tensors, op.Outputs(i)) for i in self._each(op.OutputsLength()))
        code = op.OpcodeIndex()
        if not outputs or code >= len(codes):
            raise CompileError(self.where, f"operator {index} has no code, or no output", DAMAGED)
        options = _OPTIONS.get(op.BuiltinOptionsType(), "")
        return LiteOp(
            index,
            codes[code],
            f'{codes[code]} "{shown(outputs[0].name)}" (operator {index})',
            tuple(None if i == -1 else self._at(tensors, i) for i in inputs),
            outputs,
            "" if options == "NONE" else options,
            op.BuiltinOptions(),
        )

    def _tensor(self, index: int, tensor: Tensor) -> LiteTensor:
        raw = tensor.Name()
        name = raw.decode("utf-8", "replace") if raw else f"tensor_{index}"
        label = f'tensor "{shown(name)}"'
        shape = tuple(int(tensor.Shape(i)) for i in self._each(tensor.ShapeLength()))
        signature = tuple(int(tensor.ShapeSignature(i)) for i in self._each(tensor.ShapeSignatureLength()))
        if -1 in shape:
            hint = "convert with every dimension fixed, the batch to 1"
            raise CompileError(label, f"has the dynamic shape {shown(str(shape))}", hint)
        if any(d < 0 for d in shape) or len(shape) > MAX_RANK:
            raise CompileError(label, f"has the impossible shape {shown(str(shape))}", DAMAGED)
        if math.prod(shape) > MAX_ELEMENTS:
            what = f"shape {shown(str(shape))} has {math.prod(shape)} elements, the most is {MAX_ELEMENTS}"
            raise CompileError(label, what, SMALLER)
        if tensor.Sparsity() is not None:
            raise CompileError(label, "is stored sparsely", "convert without sparsity: the zeros stay zeros")
        dtype = _TYPES.get(tensor.Type())
        kind = _TYPE_NAMES.get(tensor.Type(), f"type {tensor.Type()}").lower()
        value = self._value(tensor, shape, dtype, kind, label)
        scaled, axis = self._scaled(tensor, shape, dtype, value, label)
        variable = bool(tensor.IsVariable())
        return LiteTensor(index, name, shape, kind, dtype, scaled, axis, value, signature, variable)

    def _value(
        self, tensor: Tensor, shape: tuple[int, ...], dtype: np.dtype[Any] | None, kind: str, label: str
    ) -> NDArray[Any] | None:
        if tensor._tab.Offset(_EXTERNAL_BUFFER):
            raise CompileError(label, "lies in a file of its own", "convert with the weights inside")
        index = tensor.Buffer()
        if not 0 <= index < self.model.BuffersLength():
            raise CompileError(label, f"lies in buffer {index}, which is not there", DAMAGED)
        buffer = self.model.Buffers(index)
        if buffer is None or buffer.DataIsNone() or not buffer.DataLength():
            if buffer is not None and buffer.Size():
                raise CompileError(label, "lies outside of the file's tables", "convert a smaller model")
            return None
        if dtype is None:
            raise CompileError(label, f"has element type {kind}, which synapcc does not read", AGAIN)
        data = buffer.DataAsNumpy()
        needed = math.prod(shape) * dtype.itemsize
        if data.nbytes != needed:
            raise CompileError(
                label, f"{data.nbytes} bytes are stored, shape {shape} needs {needed}", DAMAGED
            )
        return np.frombuffer(data.tobytes(), dtype).reshape(shape)

    def _scaled(
        self,
        tensor: Tensor,
        shape: tuple[int, ...],
        dtype: np.dtype[Any] | None,
        value: NDArray[Any] | None,
        label: str,
    ) -> tuple[Scaled | None, int]:
        q = tensor.Quantization()
        if q is None or not q.ScaleLength():
            return None, 0
        axis = int(q.QuantizedDimension())
        count, zeros = q.ScaleLength(), q.ZeroPointLength()
        along = shape[axis] if 0 <= axis < len(shape) else 1
        if count not in (1, along) or zeros not in (0, 1, count):
            what = f"has {count} scales and {zeros} zero points for shape {shape}"
            raise CompileError(label, what, DAMAGED)
        scale = q.ScaleAsNumpy().astype(np.float64)
        zero = q.ZeroPointAsNumpy() if zeros else np.zeros(1, np.int64)
        zero = np.broadcast_to(zero, scale.shape)
        if value is not None and not np.any(value) and not np.any(zero) and np.all(scale == 0):
            scale = np.full(scale.shape, OF_ZEROS)
        if not np.all(np.isfinite(scale) & (scale > 0)):
            raise CompileError(label, "has a scale that is no positive number", DAMAGED)
        info = np.iinfo(dtype) if dtype is not None and dtype.kind in "iu" else None
        if info and (zero.min() < info.min or zero.max() > info.max):
            raise CompileError(label, "has a zero point beyond its type", DAMAGED)
        return Scaled(tuple(map(float, scale)), tuple(map(int, zero))), axis
