"""The tensors of a Plan on their way into an ONNX file: int32 activations [batch, size], and constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from ..errors import CompileError
from ..ir.plan import Plan
from ..ir.program import Step
from ._writer import Writer


class Integers(Writer):
    """Knows each tensor by its name in the Plan. `state`: learned tensors other than as compiled."""

    DOUBLE, FLOAT, INT16 = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT16
    INT32, INT64 = TensorProto.INT32, TensorProto.INT64

    def __init__(self, plan: Plan, state: Mapping[str, NDArray[Any]]) -> None:
        super().__init__()
        self.plan, self.state = plan, state
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def content(self, tensor: str) -> NDArray[Any]:
        """The integers of a constant or of a persistent tensor, in logical shape."""
        return self.state[tensor] if tensor in self.state else self.plan[tensor].array()

    def weights(self, tensor: str, part: str, value: NDArray[Any]) -> str:
        """A constant made of a tensor's content, stored as narrow as the content is, as int32 [..]."""
        name = f"{tensor}.{part}"
        if name not in self._names:
            stored = self.constant(name, value)
            self._names[name] = (
                stored
                if value.dtype == np.int32
                else self.node("Cast", [stored], f"{name}/int32", tensor, to=self.INT32)
            )
        return self._names[name]

    def get(self, tensor: str) -> str:
        """The activation's name in the file."""
        return self._names[tensor]

    def put(self, tensor: str, name: str) -> None:
        self._names[tensor] = name

    def fresh(self, step: Step, what: str) -> str:
        """A name that nothing has."""
        base = f"{step.node}/{what}"
        count = self._counts[base] = self._counts.get(base, 0) + 1
        return base if count == 1 else f"{base}_{count}"

    def then(self, step: Step, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        """One operator of a kernel's form."""
        return self.node(op, inputs, self.fresh(step, op.lower()), step.node, **attrs)

    def attr(self, step: Step, name: str) -> int:
        return int(step.attrs[name])

    def size(self, tensor: str) -> int:
        return self.plan[tensor].shape[0]

    def known(self, step: Step, role: str) -> str:
        """The activation that is operand `role`; CompileError where no step has written it."""
        tensor = step.args[role]
        if tensor not in self._names:
            raise CompileError(step.node, f"{step.kernel} reads {tensor}, which nothing wrote", "report this")
        return self._names[tensor]
