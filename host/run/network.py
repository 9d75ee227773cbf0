"""The float network that an output folder was compiled from, with what a chip has learned in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.gen.exporters.onnx import digest_of, with_values
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.plan import Plan
from synapcc.gen.stages.untie import untie, untied

from ..link.state import Tensors, real

FILE = "network.onnx"
PARTS = ("weight", "bias", "recurrent_weight", "recurrent_bias")
"""What the constants of layers with weights are, in their order."""


def read_network(project: Path, plan: Plan) -> Graph:
    """The Graph in OUT/network.onnx, untied where the Plan is; SynapccError: none there, or another's."""
    file = (project if project.is_dir() else project.parent) / FILE
    hint = "compile the model again with this version"
    graph = load_model(file, plan.model)
    if digest_of(file) != plan.digest.hex():
        raise SynapccError(str(file), "belongs to another Plan", hint)
    return untie(graph, untied(plan))


def adapted(graph: Graph, plan: Plan, tensors: Tensors) -> Graph:
    """`graph` with the learned weights and biases among the persistent `tensors`, in real numbers."""
    values: dict[str, NDArray[np.float64]] = {}
    for node in graph.nodes:
        for operand, part in zip(node.inputs[1:], PARTS, strict=False):
            name = f"{node.name}_{part}"
            if name in tensors:
                values[operand] = real(plan[name], tensors[name])
    return with_values(graph, values)
