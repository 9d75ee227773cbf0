"""ONNX networks, in float or quantised, as exporters write them: perceptrons and convolutional networks."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, ValueInfoProto

from ...errors import CompileError, shown
from ...ir.graph import Graph
from ...ops import layer
from ...stages.graph_check import verify
from ...stages.passes import simplify
from .._build import SMALLER
from .._layers import LayerBuilder
from .._layout import arrange, natural
from .._names import chosen_output, input_identifiers, model_identifier
from .batch import left_open
from .branches import Branches, opened
from .dynamic import NOTE, without_dynamic
from .file import (
    AGAIN,
    DAMAGED,
    FLOAT_TYPES,
    WHOLE_TYPES,
    OnnxNode,
    checked_size,
    read_model,
    read_tensor,
    text,
    type_name,
)
from .fold import FOLDABLE, constant, fold
from .freed import Freed, note, quantised
from .fusions import fused
from .layers import Act, Const, Operand, Scope
from .operators import AFTER, ML_OPS, SOFTMAXES, convert, supported, without_sigmoid
from .products import known, refuse_leftovers
from .qlinear import ENDS, told
from .quant import DYNAMIC, INTEGER, Quant
from .refusals import unsupported
from .sequences import without_sequences
from .settle import Settler

OLDEST_OPSET = 7
MAX_NODES = 1 << 14  # exporters write several for each layer
MAX_HELD = 1 << 28  # bytes of what is computed on the way


def load(path: Path, name: str | None = None, output: str | None = None) -> Graph:
    """The network in the file at `path`, simplified and verified.

    `name` replaces the name made from the file's, `output` chooses one of several outputs. Raises nothing but
    CompileError, whatever the file holds.
    """
    model = read_model(path)
    named = model_identifier(path.stem if name is None else name)
    try:
        return _network(_Import(model, path, output, Settler), named)
    except CompileError as error:
        if not quantised(model):
            raise
        graph = _network(_Import(model, path, output, Freed), named)
        return replace(graph, notes=(note(error), *graph.notes))


def _network(made: _Import, name: str) -> Graph:
    with np.errstate(all="ignore"):  # what overflows here is found by verify, and told in words
        graph = simplify(made.run(name))
    refuse_leftovers(graph)
    if all(layer(node.op).rearranges for node in graph.nodes):
        raise CompileError(made.where, "the network computes nothing", AGAIN)
    return verify(graph)


def _results(made: Act | Const | tuple[Act | Const, ...]) -> Sequence[Act | Const]:
    """What a node gave, for its first outputs; a Const is a tuple as well."""
    return (made,) if isinstance(made, Act | Const) else made


class _Import:
    """One pass over one file. Values are computed in topological order, only those that the output needs."""

    def __init__(
        self, model: onnx.ModelProto, path: Path, output: str | None, settler: type[Settler]
    ) -> None:
        self.where, self.folder, self.output = str(path), path.parent, output
        self.opset = self._opset(model)
        if len(model.graph.node) > MAX_NODES:
            what = f"has {len(model.graph.node)} operators, the most is {MAX_NODES}"
            raise CompileError(self.where, what, SMALLER)
        self.functions = {(text(f.domain), text(f.name)) for f in model.functions}
        self.nodes = told([OnnxNode.of(n) for n in model.graph.node])
        self.initializers = {text(i.name): i for i in model.graph.initializer}
        self.constants = {n.outputs[0]: n for n in self.nodes if n.op == "Constant" and n.outputs}
        static = without_dynamic(self.nodes, self._stored)
        dynamic = len(static) > len(self.nodes)
        self.nodes = fused(without_sequences(static, self._stored), self._stored, self.initializers)
        self.branches: dict[str, Branches] = {}
        self.nodes = [self._opened(n) if n.op == "If" and not n.domain else n for n in self.nodes]
        self.inputs = {text(i.name): i for i in model.graph.input if text(i.name) not in self.initializers}
        self.outputs = {text(o.name): o for o in model.graph.output}
        self.producers: dict[str, tuple[int, int]] = {}
        for i, node in enumerate(self.nodes):
            for k, output in enumerate(node.outputs):
                if output in self.producers or output in self.inputs or output in self.initializers:
                    raise node.error(f'produces "{shown(output)}", which exists already', AGAIN)
                if output:
                    self.producers[output] = (i, k)
        self.builder = LayerBuilder()
        self.builder.notes += [NOTE] if dynamic else []
        self.quant = Quant(settler(self.builder))
        self.names = input_identifiers(list(self.inputs))
        self.values: dict[str, Act | Const] = {}
        self.held, self.batch = 0, self._batch()
        self.supported = frozenset(supported())

    def run(self, name: str) -> Graph:
        output = self._output()
        order, used = self._order(output)
        for key, value in self.inputs.items():
            if key in used:
                self._input(key, value)
            else:
                self.builder.notes.append(f'input "{shown(key)}" does not reach the output: left out')
        shared, pooled = self._read_by("Softmax"), self._read_by("MaxPool")
        inside = self._inside()
        added, free = self._added(), left_open(self.inputs.values())
        scope = Scope(self.builder, self.opset, added, inside, shared, pooled, self.batch, free, used)
        for i in order:
            node = self.nodes[i]
            for key, value in zip(node.outputs, _results(self._value(scope, node)), strict=False):
                self.values[key] = value
                self.held += value.places.nbytes if isinstance(value, Act) else value.value.nbytes
            if self.held > MAX_HELD:
                raise node.error(f"with it more than {MAX_HELD >> 20} MB are computed", SMALLER)
        result = self._operand(output, None)
        if isinstance(result, Act) and output in self.producers:
            result = known(scope, self.nodes[self.producers[output][0]], result)
        if not isinstance(result, Act):
            raise CompileError(self.where, f'output "{shown(output)}" does not depend on the input', AGAIN)
        result = without_sigmoid(scope, result)
        tensor = arrange(self.builder, result.tensor, result.places.reshape(-1), f'output "{shown(output)}"')
        if tensor is None:
            what = f'output "{shown(output)}" gives its values in an order that no transpose makes'
            raise CompileError(self.where, what, "end the network with a dense layer")
        tensor = self.quant.finish(self.where, tensor)
        return self.builder.finish(name, tensor, result.head)

    def _stored(self, name: str) -> np.ndarray | None:
        """A small constant of the file: an initializer, or what a Constant holds."""
        if name in self.initializers:
            small = len(self.initializers[name].dims) <= 1
            return read_tensor(self.initializers[name], shown(name), self.folder) if small else None
        node = self.constants.get(name)
        return None if node is None else constant(node, self.folder)

    def _opened(self, node: OnnxNode) -> OnnxNode:
        """An If that reads what its branches read, which are kept."""

        def without(nodes: list[OnnxNode]) -> list[OnnxNode]:
            inside = {n.outputs[0]: n for n in nodes if n.op == "Constant" and n.outputs}
            self.constants |= inside
            return without_sequences([*self.nodes, *told(nodes)], self._stored)[len(self.nodes) :]

        if not (node.inputs and node.outputs and node.outputs[0]):
            raise node.error("has no condition or no output", DAMAGED)
        node, self.branches[node.outputs[0]] = opened(node, MAX_NODES, without)
        return node

    def _branch(self, scope: Scope, node: OnnxNode) -> tuple[Act | Const, ...]:
        """The results of an If whose condition is known."""
        condition = self._operand(node.inputs[0], node)
        if not isinstance(condition, Const) or condition.value.size != 1:
            raise self._unsupported(node)
        branch = self.branches[node.outputs[0]][bool(condition.value.reshape(-1)[0])]
        for name in (*branch.tensors, *(o for n in branch.nodes for o in n.outputs)):
            if name in self.producers or name in self.inputs or name in self.initializers:
                raise node.error(f'its branch produces "{shown(name)}", which exists already', AGAIN)
        self.initializers |= branch.tensors
        for inner in branch.nodes:
            for name in inner.inputs:
                if name and name not in self.values and name not in self.initializers:
                    raise inner.error(f'reads "{shown(name)}", which is produced by nothing', DAMAGED)
            results = zip(inner.outputs, _results(self._value(scope, inner)), strict=False)
            self.values |= dict(results)
        found = [self._operand(name, node) for name in branch.outputs]
        for name in (*branch.tensors, *(o for n in branch.nodes for o in n.outputs)):
            self.initializers.pop(name, None)  # another branch may call its own so
            self.values.pop(name, None)
        return tuple(v for v in found if v is not None)

    def _opset(self, model: onnx.ModelProto) -> int:
        newest = onnx.defs.onnx_opset_version()
        version = max(
            (int(o.version) for o in model.opset_import if text(o.domain) in ("", "ai.onnx")), default=0
        )
        if not OLDEST_OPSET <= version <= newest:
            what = f"uses opset {version}" if version else "names no opset"
            raise CompileError(self.where, what, f"export with an opset from {OLDEST_OPSET} to {newest}")
        return version

    def _batch(self) -> int:
        """The largest fixed batch of an input. 0 and -1 leave it open."""
        shapes = [v.type.tensor_type.shape.dim for v in self.inputs.values()]
        return max(1, *(int(dims[0].dim_value) for dims in shapes if len(dims) > 1), 1)

    def _output(self) -> str:
        """The one output; of several, the scores if all others are class labels."""
        names = list(self.outputs)
        if not names:
            raise CompileError(self.where, "the network has no output", AGAIN)
        if len(names) == 1 or self.output is not None:
            chosen = names[chosen_output(self.where, names, self.output)]
            if left := [n for n in names if n != chosen]:
                rest = ", ".join(f'"{shown(n)}"' for n in left)
                self.builder.notes.append(f'output "{shown(chosen)}" taken, as told; left out: {rest}')
            return chosen
        labels = [n for n in names if self._is_label(self.outputs[n])]
        if len(labels) == len(names) - 1:
            scores = next(n for n in names if n not in labels)
            rest = ", ".join(f'"{shown(n)}"' for n in labels)
            self.builder.notes.append(f'output "{shown(scores)}" taken; left out as labels: {rest}')
            return scores
        return names[chosen_output(self.where, names, None)]

    @staticmethod
    def _is_label(value: ValueInfoProto) -> bool:
        kind = (
            value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else TensorProto.UNDEFINED
        )
        return kind not in (*FLOAT_TYPES, TensorProto.UNDEFINED)

    def _order(self, output: str) -> tuple[list[int], set[str]]:
        """The nodes that the output needs, in topological order, and what they read."""
        reads: dict[int, set[int]] = {}
        used, todo = {output}, [(output, "")]
        while todo:
            name, reader = todo.pop()
            if name in self.producers:
                i = self.producers[name][0]
                if i in reads:
                    continue
                inputs = [n for n in self.nodes[i].inputs if n]
                reads[i] = {self.producers[n][0] for n in inputs if n in self.producers}
                used.update(inputs)
                todo.extend((n, self.nodes[i].source) for n in inputs)
            elif name not in self.inputs and name not in self.initializers:
                where = reader or self.where
                raise CompileError(where, f'"{shown(name)}" is produced by nothing', DAMAGED)
        readers: dict[int, list[int]] = {}
        for i, sources in reads.items():
            for source in sources:
                readers.setdefault(source, []).append(i)
        missing = {i: len(sources) for i, sources in reads.items()}
        ready = [i for i, count in missing.items() if count == 0]
        heapq.heapify(ready)
        order: list[int] = []
        while ready:
            order.append(heapq.heappop(ready))
            for reader_index in readers.get(order[-1], ()):
                missing[reader_index] -= 1
                if missing[reader_index] == 0:
                    heapq.heappush(ready, reader_index)
        if len(order) < len(reads):
            stuck = self.nodes[min(i for i, count in missing.items() if count)]
            raise stuck.error("is part of a cycle", "only feed-forward networks can be compiled")
        return order, used

    def _added(self) -> dict[str, str]:
        consumers: dict[str, list[OnnxNode]] = {}
        for node in self.nodes:
            for name in node.inputs:
                consumers.setdefault(name, []).append(node)
        adds = {name: n[0] for name, n in consumers.items() if len(n) == 1 and n[0].op == "Add"}
        return {name: next((i for i in add.inputs if i != name), "") for name, add in adds.items()}

    def _read_by(self, op: str) -> dict[str, list[OnnxNode]]:
        """What no operator but `op` reads, and these."""
        read: dict[str, list[OnnxNode]] = {}
        for node in self.nodes:
            for name in node.inputs:
                read.setdefault(name, []).append(node)
        found = {name: nodes for name, nodes in read.items() if {n.op for n in nodes} == {op}}
        return {name: nodes for name, nodes in found.items() if name not in self.outputs}

    def _inside(self) -> frozenset[str]:
        """The softmaxes that a layer reads, through views or not: those do change what comes out."""
        readers: dict[str, list[OnnxNode]] = {}
        for node in self.nodes:
            for name in node.inputs:
                readers.setdefault(name, []).append(node)
        ends, found = {op for ops in (*AFTER.values(), ENDS) for op in ops}, set()
        for start in self.nodes:
            todo, seen = [start] if start.op in SOFTMAXES else [], set[str]()
            while todo:
                read = [r for name in todo.pop().outputs for r in readers.get(name, ())]
                if any(r.op not in ends for r in read):
                    found.add(start.outputs[0])
                    break
                fresh = [r for r in read if r.outputs and r.outputs[0] not in seen]
                seen.update(r.outputs[0] for r in fresh)
                todo += fresh
        return frozenset(found)

    def _input(self, name: str, value: ValueInfoProto) -> None:
        where = f'input "{shown(name)}"'
        kind = value.type.tensor_type.elem_type
        real = kind in FLOAT_TYPES or (kind in WHOLE_TYPES and self._cast(name))
        integers = None if real else {TensorProto.INT8: "int8", TensorProto.UINT8: "uint8"}.get(kind)
        if not value.type.HasField("tensor_type") or not (real or integers):
            raise CompileError(
                where, f"is {type_name(kind)}, not float32", "export the model with float32 inputs"
            )
        if kind != TensorProto.FLOAT and not integers:
            self.builder.notes.append(f"{where} is {type_name(kind)} in the file: it is given as float32")
        if not value.type.tensor_type.HasField("shape"):
            raise CompileError(where, "has no shape", "export the model with an example input")
        dims = [d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim]
        features = dims[1:] if len(dims) > 1 else dims
        if not dims or any(d < 1 for d in features):
            listed = ", ".join(str(d) if d > 0 else "?" for d in dims)
            raise CompileError(
                where, f"has shape ({listed})", "only the first dimension, the batch, may be dynamic"
            )
        shape = tuple(features)
        checked_size(shape, where)
        if len(dims) == 1:
            self.builder.notes.append(f"{where} has no batch dimension: its {shape[0]} values are one sample")
        elif self.batch > 1:
            if dims[0] != self.batch:
                what = f"has a batch of {dims[0] if dims[0] > 0 else '?'}, another input one of {self.batch}"
                raise CompileError(where, what, "export all inputs with one batch, best a dynamic one")
            note = f"{where} has a fixed batch of {self.batch}: compiled is the network of one sample"
            self.builder.notes.append(note)
        tensor = self.builder.input(self.names[name], shape, name)
        if tensor != name:
            self.builder.notes.append(f"{where} is called {tensor}")
        if integers:
            self.quant.input(tensor, integers)
        self.values[name] = Act(tensor, natural((1, *shape) if len(dims) > 1 else shape))

    def _cast(self, name: str) -> bool:
        """Whether all that reads an input makes real numbers of it: then it may be given as such."""
        readers = [n for n in self.nodes if name in n.inputs]
        return bool(readers) and all(n.op == "Cast" and n.integer("to", 0) in FLOAT_TYPES for n in readers)

    def _operand(self, name: str, node: OnnxNode | None) -> Operand:
        if not name:
            return None
        if name not in self.values:
            if name in self.producers:
                i, k = self.producers[name]
                what = f'reads output {k + 1} ("{shown(name)}") of {self.nodes[i].source}'
                where = node.source if node else self.where
                raise CompileError(where, what, "only the first output of a layer can be compiled")
            label = shown(name)
            self.values[name] = Const(read_tensor(self.initializers[name], label, self.folder), label)
        return self.values[name]

    def _value(self, scope: Scope, node: OnnxNode) -> Act | Const | tuple[Act | Const, ...]:
        if node.op in (*ENDS, *INTEGER, *DYNAMIC, "Clip", "Mul", "Quant"):
            found = self.quant.value(scope, node, [self._operand(n, node) for n in node.inputs])
            if found is not None:
                return found
        if node.outputs and node.outputs[0] in self.branches:
            return self._branch(scope, node)
        if node.domain and not (node.domain == "ai.onnx.ml" and node.op in ML_OPS):
            raise self._unsupported(node)
        if node.op == "Constant":
            return Const(constant(node, self.folder), shown(node.outputs[0]))
        if node.op not in self.supported and node.op not in FOLDABLE and node.op != "ConstantOfShape":
            raise self._unsupported(node)
        args = [self._operand(n, node) for n in node.inputs]
        if node.op in ("Shape", "Size"):  # known although the values are not; this view costs no memory
            args = [
                Const(np.broadcast_to(np.float32(0), scope.whole(a.shape)), "") if isinstance(a, Act) else a
                for a in args
            ]
        if node.op == "CastLike" and len(args) > 1 and isinstance(args[1], Act):  # all of these are floats
            args[1] = Const(np.zeros((), np.float32), "")
        if any(isinstance(a, Act) for a in args):
            if node.op not in self.supported:
                raise self._unsupported(node)
            written = len(self.builder.nodes)
            args = self.quant.ready(node, args)
            made = convert(scope, node, args)
            for y in (made,) if isinstance(made, Act) else made:
                self.quant.done(node, args, y, written)
            return made
        if node.op not in FOLDABLE and node.op != "ConstantOfShape":
            raise node.error("does not depend on the model's input", "export the model with constant folding")
        name = next((a.name for a in args if isinstance(a, Const)), "")
        values = [a.value if isinstance(a, Const) else None for a in args]
        steps = self.quant.folded(node, args, lambda given: fold(node, given, self.folder))
        return Const(fold(node, values, self.folder), name, steps)

    def _unsupported(self, node: OnnxNode) -> CompileError:
        return unsupported(node, self.supported, (node.domain, node.op) in self.functions)
