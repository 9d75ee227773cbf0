"""A Graph as a float ONNX file that runtimes run and `gen.importers.onnx` reads back as the same Graph.

A Graph is channels-last and has no batch axis; ONNX convolves channels first. So a spatial tensor exists in
either order, or in both: whoever needs the other order asks for it, and a transposition is written once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..importers.onnx.file import read_model
from ..ir.graph import Graph
from ..ops import layer
from ._float_layers import float_layers
from ._tensors import Tensors

DIGEST = "synapcc.plan_digest"


def export(graph: Graph, digest: str = "") -> bytes:
    """The file. digest: of the Plan that the network was compiled to, kept in the metadata.

    Raises CompileError where a layer has no form.
    """
    tensors = Tensors(graph)
    forms = float_layers()
    for node in graph.nodes:
        if node.op not in forms:
            what = f"{node.op} has no form in ONNX"
            raise CompileError(node.name, what, "add one to ONNX_LAYERS in the file of the op")
        forms[node.op](tensors, node)
        held = graph.tensors[node.output].format
        if held is not None and layer(node.op).holds:
            tensors.hold(node, held)
    shape = graph.tensors[graph.output].shape
    last = tensors.get(graph.output)
    if graph.head == "softmax":
        last = tensors.node("Softmax", [last], f"{graph.output}/head", "head", axis=-1)
    elif graph.head == "sigmoid":
        last = tensors.node("Sigmoid", [last], f"{graph.output}/head", "head")
    inputs = {i: graph.tensors[i].shape for i in graph.inputs}
    about = {DIGEST: digest} if digest else {}
    return tensors.model(graph.name, inputs, {last: ("float32", shape)}, about)


def with_values(graph: Graph, values: Mapping[str, NDArray[np.float64]]) -> Graph:
    """`graph` with other values of some constants, by tensor name; the shapes stay."""
    new = {name: replace(graph.tensors[name], value=value) for name, value in values.items()}
    return replace(graph, tensors={**graph.tensors, **new})


def digest_of(path: Path) -> str:
    """The digest in the metadata of a file that `load_model` has read; "" where there is none."""
    props = read_model(path).metadata_props
    return next((str(p.value) for p in props if p.key == DIGEST), "")
