"""TensorFlow Lite networks, in float32 or in int8: of these every integer stays what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import CompileError, shown
from ..ir.graph import Graph
from ..ops import layer
from ..stages.graph_check import verify
from ..stages.passes import simplify
from ._build import SMALLER
from ._layers import LayerBuilder
from ._names import input_identifiers, model_identifier
from ._tflite_file import AGAIN, DAMAGED, LiteModel, LiteOp, LiteTensor, read_model
from ._tflite_operators import TFLITE_OPERATORS, convert
from ._tflite_scope import Act, Operand, Scope

MAX_OPS = 1 << 12


def load(path: Path, name: str | None = None) -> Graph:
    """The network in the file at `path`, verified; one in float is simplified as well.

    `name` replaces the name made from the file's. Raises nothing but CompileError, whatever the file holds.
    """
    with np.errstate(all="ignore"):  # what overflows here is found by verify, and told in words
        graph = _Import(read_model(path), str(path)).run(
            model_identifier(path.stem if name is None else name)
        )
        graph = simplify(graph)
    if all(layer(node.op).rearranges for node in graph.nodes):
        raise CompileError(str(path), "the network computes nothing", AGAIN)
    return verify(graph)


class _Import:
    """One pass over one file, in its order: a TensorFlow Lite file lists operators as they run."""

    def __init__(self, model: LiteModel, where: str) -> None:
        self.model, self.where = model, where
        if len(model.ops) > MAX_OPS:
            raise CompileError(where, f"has {len(model.ops)} operators, the most is {MAX_OPS}", SMALLER)
        self.makers: dict[int, LiteOp] = {}
        for op in model.ops:
            for out in op.outputs:
                if out.index in self.makers or out.value is not None or out in model.inputs:
                    raise op.error(f"gives {out.label}, which exists already", DAMAGED)
                self.makers[out.index] = op
        self.builder = LayerBuilder()
        self.values: dict[int, Act] = {}

    def run(self, name: str) -> Graph:
        output = self._output()
        needed = self._needed(output)
        self._inputs(needed)
        scope = Scope(self.builder)
        for op in self.model.ops:
            if any(out.index in needed for out in op.outputs):
                row = TFLITE_OPERATORS.get(op.op)
                if row is None:
                    known = ", ".join(sorted(TFLITE_OPERATORS))
                    raise op.error("is not supported", f"supported are {known}")
                args = [self._operand(op, t) for t in op.inputs[: row.data or None]]
                made = convert(scope, op, args)
                results = made if isinstance(made, tuple) else (made,)
                self.values |= {out.index: y for out, y in zip(op.outputs, results, strict=False)}
        if output.index not in self.values:
            what = f"output {output.label} does not depend on the input"
            raise CompileError(self.where, what, AGAIN)
        result = self.values[output.index]
        return self.builder.finish(name, result.tensor, result.head)

    def _output(self) -> LiteTensor:
        outputs = self.model.outputs
        if len(outputs) == 1:
            return outputs[0]
        if not outputs:
            raise CompileError(self.where, "the network has no output", AGAIN)
        listed = ", ".join(f'"{shown(o.name)}"' for o in outputs)
        hint = "convert the model with the class scores as the only output"
        raise CompileError(self.where, f"has {len(outputs)} outputs: {listed}", hint)

    def _needed(self, output: LiteTensor) -> set[int]:
        """The tensors that the output needs."""
        needed, todo = {output.index}, [output.index]
        while todo:
            op = self.makers.get(todo.pop())
            if op is None:
                continue
            row = TFLITE_OPERATORS.get(op.op)
            for t in op.inputs[: (row.data if row else 0) or None]:
                if t is not None and t.index not in needed:
                    needed.add(t.index)
                    todo.append(t.index)
        return needed

    def _inputs(self, needed: set[int]) -> None:
        names = input_identifiers([t.name for t in self.model.inputs])
        for t in self.model.inputs:
            if t.index not in needed:
                self.builder.notes.append(f"input {t.label} does not reach the output: left out")
                continue
            if any(d < 1 for d in t.shape) or (t.shape and t.shape[0] != 1):
                hint = "convert with a batch of 1"
                raise CompileError(t.label, f"is an input of shape {t.shape}", hint)
            shape = t.shape[1:] or (1,)
            held = Scope.format(LiteOp(-1, "input", t.label, (), (t,), "", None), t)
            tensor = self.builder.input(names[t.name], shape, t.name)
            if held is not None:
                self.builder.hold(tensor, held)
            self.values[t.index] = Act(tensor, t.shape, held)

    def _operand(self, op: LiteOp, tensor: LiteTensor | None) -> Operand:
        if tensor is None or tensor.value is not None:
            return tensor
        if tensor.index not in self.values:
            raise op.error(f"reads {tensor.label}, which nothing before it gives", DAMAGED)
        return self.values[tensor.index]
