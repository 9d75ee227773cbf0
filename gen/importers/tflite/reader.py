"""TensorFlow Lite networks, in float32, or in int8 or int16: of these every integer stays what it is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ...errors import CompileError
from ...ir.graph import Graph
from ...ops import layer
from ...stages.border import without_head
from ...stages.graph_check import verify
from ...stages.passes import simplify
from .._build import SMALLER
from .._layers import LayerBuilder
from .._names import chosen_output, input_identifiers, model_identifier
from .choices import tested
from .composed import joined
from .dilated import collected
from .ends import UINT8, dequantized, read_as, refuse_mixed, scores_of, softened
from .file import AGAIN, DAMAGED, LiteModel, LiteOp, LiteTensor, read_model
from .fold import FOLDED, INTEGERS, fold
from .islands import bridged
from .norms import fused
from .operators import known, row
from .pointwise import BETWEEN
from .refusals import unsupported
from .scope import Act, Operand, Scope
from .shapes import asked, settled
from .wide import check_wide

MAX_OPS = 1 << 12


def load(path: Path, name: str | None = None, output: str | None = None) -> Graph:
    """The network in the file at `path`, verified; one in float is simplified as well.

    `name` replaces the name made from the file's, `output` chooses one of several outputs. Raises nothing but
    CompileError, whatever the file holds.
    """
    with np.errstate(all="ignore"):  # what overflows here is found by verify, and told in words
        made = _Import(read_model(path), str(path), output)
        graph = made.run(model_identifier(path.stem if name is None else name))
        graph = simplify(graph if any(t.format for t in graph.tensors.values()) else without_head(graph))
    if all(layer(node.op).rearranges for node in graph.nodes):
        raise CompileError(str(path), "the network computes nothing", AGAIN)
    return verify(graph)


def _read(op: LiteOp) -> tuple[LiteTensor | None, ...]:
    """The inputs that an operator needs."""
    found = row(op)
    return op.inputs[: (found.data if found and not asked(op) else 0) or None]


def check_order(model: LiteModel) -> None:
    """CompileError unless each tensor is made once, before what reads it: then none stands in a circle."""
    made = {t.index for t in model.inputs}
    later = {out.index for op in model.ops for out in op.outputs}
    for op in model.ops:
        for t in op.inputs:
            if t is not None and t.index in later and t.index not in made:
                raise op.error(f"reads {t.label}, which nothing before it gives", DAMAGED)
        for out in op.outputs:
            if out.index in made or out.value is not None:
                raise op.error(f"gives {out.label}, which exists already", DAMAGED)
            made.add(out.index)


class _Import:
    """One pass over one file, in its order: a TensorFlow Lite file lists operators as they run."""

    def __init__(self, model: LiteModel, where: str, output: str | None) -> None:
        self.model, self.where, self.output = model, where, output
        if len(model.ops) > MAX_OPS:
            raise CompileError(where, f"has {len(model.ops)} operators, the most is {MAX_OPS}", SMALLER)
        check_order(model)
        self.ops = fused(tested(joined(bridged(collected(model.ops, model.outputs), BETWEEN))))
        self.makers = {out.index: op for op in self.ops for out in op.outputs}
        self.builder = LayerBuilder()
        self.values: dict[int, Act | LiteTensor] = {}

    def run(self, name: str) -> Graph:
        output = self._output()
        if (scores := scores_of(self.makers.get(output.index))) is not None:
            self.builder.notes.append(f"{output.label} is left out: the chip gives the winner and the scores")
            output = scores
        needed = self._needed(output)
        self._inputs(needed)
        scope = Scope(self.builder, softened(self.ops, [output, *self.model.outputs]))
        for op in self.ops:
            if any(out.index in needed for out in op.outputs):
                made = self._value(scope, op)
                results = made if isinstance(made, tuple) else (made,)
                self.values |= {out.index: y for out, y in zip(op.outputs, results, strict=False)}
        result = self.values.get(output.index)
        if not isinstance(result, Act):
            what = f"output {output.label} does not depend on the input"
            raise CompileError(self.where, what, AGAIN)
        if output.kind == "uint8":
            self.builder.notes.append(f"{output.label} is uint8: the scores are its numbers less {UINT8}")
        return self.builder.finish(name, result.tensor, result.head)

    def _value(self, scope: Scope, op: LiteOp) -> Act | LiteTensor | tuple[Act, ...]:
        found = row(op)
        if found is None and op.outputs[0].kind not in INTEGERS and op.op not in FOLDED:
            raise unsupported(op, known(op))
        args = [self._operand(op, t) for t in _read(op)]
        if (folded := fold(op, args)) is not None:
            return folded
        if found is None:
            raise unsupported(op, known(op))
        if op.op == "DEQUANTIZE" and args and isinstance(args[0], LiteTensor):
            return dequantized(op, args[0])
        refuse_mixed(op, args)
        op = settled(op, args)
        check_wide(op, args)
        made = found.handler(scope, op, args)
        for y, out in zip(made if isinstance(made, tuple) else (made,), op.outputs, strict=False):
            told = out.size if -1 not in out.signature[1:] else y.size  # else it is known only in a run
            if math.prod(self.builder.shape(y.tensor)) != y.size or y.size != told:
                raise op.error(f"makes {y.shape}, the file says {out.shape}", DAMAGED)
        return made

    def _output(self) -> LiteTensor:
        outputs = self.model.outputs
        if not outputs:
            raise CompileError(self.where, "the network has no output", AGAIN)
        return outputs[chosen_output(self.where, [o.name for o in outputs], self.output)]

    def _needed(self, output: LiteTensor) -> set[int]:
        """The tensors that the output needs."""
        needed, todo = {output.index}, [output.index]
        while todo:
            op = self.makers.get(todo.pop())
            if op is None:
                continue
            for t in _read(op):
                if t is not None and t.index not in needed:
                    needed.add(t.index)
                    todo.append(t.index)
        return needed

    def _inputs(self, needed: set[int]) -> None:
        names = input_identifiers([t.name for t in self.model.inputs])
        readers: dict[int, list[LiteOp]] = {}
        for op in self.ops:
            if op.outputs[0].index in needed:
                for read in op.inputs[:1]:  # the data of QUANTIZE and of views
                    readers.setdefault(-1 if read is None else read.index, []).append(op)
        for t in self.model.inputs:
            if t.index not in needed:
                self.builder.notes.append(f"input {t.label} does not reach the output: left out")
                continue
            if any(d < 1 for d in (*t.shape, *t.signature[1:])):
                what = f"is an input of the dynamic shape {t.signature or t.shape}"
                raise CompileError(t.label, what, "convert with every dimension fixed, the batch to 1")
            if t.shape and t.shape[0] != 1:
                hint = "convert with a batch of 1"
                raise CompileError(t.label, f"is an input of shape {t.shape}, a batch of {t.shape[0]}", hint)
            shape = t.shape[1:] or (1,)
            if t.value is not None:
                raise CompileError(t.label, "is an input, and a constant as well", DAMAGED)
            ends = t.kind in ("float32", "uint8")
            held = (read_as(t, readers) if ends else None) or Scope.format(None, t)
            if t.kind == "uint8":
                self.builder.notes.append(
                    f"input {t.label} is uint8: the chip takes its numbers less {UINT8}"
                )
            tensor = self.builder.input(names[t.name], shape, t.name)
            if held is not None:
                self.builder.hold(tensor, held)
            self.values[t.index] = Act(tensor, t.shape, held)
        kinds = {x.format.dtype if x.format else "int8" for x in self.values.values() if isinstance(x, Act)}
        if len(kinds) > 1:
            what = f"has inputs of several types, {' and '.join(sorted(kinds))}"
            raise CompileError(self.where, what, "convert with inputs of one type")

    def _operand(self, op: LiteOp, tensor: LiteTensor | None) -> Operand:
        if tensor is None or tensor.value is not None:
            return tensor
        if tensor.variable:
            hint = "only networks without state of their own can be compiled yet"
            raise op.error(f"keeps a state: {tensor.label} is a variable", hint)
        if tensor.index not in self.values:
            raise op.error(f"reads {tensor.label}, which nothing before it gives", DAMAGED)
        return self.values[tensor.index]
