"""Collects the nodes and constants of one ONNX graph, in topological order. Equal inputs give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ..version import VERSION

OPSET, IR = 17, 8  # of 2022: what runtimes in use read
BATCH = "batch"

_TYPES = {"float32": TensorProto.FLOAT, "int16": TensorProto.INT16, "int32": TensorProto.INT32}


class Writer:
    """Names of values: the caller's business, except that a name made here has a "/" or a "." in it."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._uses: dict[str, int] = {}
        self._made: set[str] = set()

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """An initialiser; the same name is the same constant."""
        assert name not in self._made, name
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def integers(self, *values: int) -> str:
        """A shape, a list of axes: int64 [n]."""
        return self.constant(f"ints/{'_'.join(map(str, values))}", np.array(values, np.int64))

    def node(
        self, op: str, inputs: Sequence[str], output: str, name: str, omitted: Any = 0, **attrs: Any
    ) -> str:
        """A node of one output, called /name/op where that is free; "" stands for an omitted input. omitted:
        how many outputs in front of it nobody reads"""
        assert output not in self._made and output not in self._constants, output
        self._made.add(output)
        unread = [f"{output}/unread{i}" for i in range(omitted)]
        full = f"/{name}/{op}" if name else f"/{op}"
        use = self._uses[full] = self._uses.get(full, 0) + 1
        self.nodes.append(
            helper.make_node(
                op, list(inputs), [*unread, output], full if use == 1 else f"{full}_{use}", **attrs
            )
        )
        return output

    def model(
        self,
        name: str,
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, tuple[str, tuple[int, ...]]],
        about: Mapping[str, str],
    ) -> bytes:
        """The file. inputs: shapes of float32 ones; outputs: (dtype, shape); each without the batch axis.

        about: what stands in the file's metadata.
        """
        assert not inputs.keys() & (self._made | self._constants.keys()), inputs
        graph = helper.make_graph(
            self.nodes,
            name,
            [_described(n, "float32", s) for n, s in inputs.items()],
            [_described(n, dtype, s) for n, (dtype, s) in outputs.items()],
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="synapcc",
            producer_version=VERSION,
        )
        helper.set_model_props(model, dict(about))
        assert isinstance(model, ModelProto)
        return bytes(model.SerializeToString(deterministic=True))


def _described(name: str, dtype: str, shape: tuple[int, ...]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, _TYPES[dtype], [BATCH, *shape])
