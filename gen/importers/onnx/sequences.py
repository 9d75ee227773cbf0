"""Sequences of tensors, as exporters write torch.stack, torch.cat and torch.split: told without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
from onnx import helper

from .file import AGAIN, DAMAGED, OnnxNode
from .told import Told

Constants = Callable[[str], np.ndarray | None]
BEYOND = 1 << 31  # any axis
MAKERS = ("SequenceConstruct", "SplitToSequence")


def without_sequences(nodes: Sequence[OnnxNode], constant: Constants) -> list[OnnxNode]:
    """The nodes, those that read a sequence replaced by Concat, Slice or Identity of what it was made of.

    constant: the content of a tensor that the file holds; None where it is computed
    """
    makers = {n.outputs[0]: n for n in nodes if n.op in MAKERS and not n.domain and n.outputs and n.inputs}
    if not makers:
        return list(nodes)
    out: list[OnnxNode] = []
    for node in nodes:
        maker = makers.get(node.inputs[0]) if node.inputs and node.outputs else None
        if maker is not None and node.op == "ConcatFromSequence" and maker.op == MAKERS[0]:
            out += _joined(node, maker)
        elif maker is not None and node.op == "SequenceAt" and len(node.inputs) > 1:
            out += _picked(node, maker, constant)
        elif maker is not None and "Sequence" in node.op:  # the first to be refused, not what it reads
            out.append(replace(node, inputs=()))
        else:
            out.append(node)
    return out


def _joined(node: OnnxNode, maker: OnnxNode) -> list[OnnxNode]:
    told, parts = Told(node), list(maker.inputs)
    along = node.integer("axis", 0)
    if node.integer("new_axis", 0):
        axis = told.constant(along)
        parts = [told.write("Unsqueeze", (part, axis)) for part in parts]
    told.write("Concat", parts, {"axis": helper.make_attribute("axis", along)}, node.outputs[0])
    return told.nodes


def _picked(node: OnnxNode, maker: OnnxNode, constant: Constants) -> list[OnnxNode]:
    told, at = Told(node), _number(node, constant, node.inputs[1])
    if maker.op == MAKERS[0]:
        if not -len(maker.inputs) <= at < len(maker.inputs):
            raise node.error(f"takes tensor {at} of {len(maker.inputs)}", AGAIN)
        told.write("Identity", (maker.inputs[at],), output=node.outputs[0])
        return told.nodes
    given = constant(maker.inputs[1]) if len(maker.inputs) > 1 and maker.inputs[1] else np.ones((), np.int64)
    if given is None or given.dtype.kind not in "iu" or not given.size or np.any(given < 1):
        raise maker.error("splits by lengths that are computed", "export the model with constant folding")
    attrs = {}
    if given.ndim:
        if not -given.size <= at < given.size:
            raise node.error(f"takes part {at} of {given.size}", AGAIN)
        ends = [0, *accumulate(int(n) for n in given)]
        if ends[-1] > BEYOND:
            raise maker.error(f"splits into lengths of {ends[-1]} together", DAMAGED)
        start, end = ends[at % given.size], ends[at % given.size + 1]
        attrs["whole"] = helper.make_attribute("whole", ends[-1])
    else:
        if at < 0:
            raise node.error(f"takes part {at}, counted from the end", "count from the front")
        start, end = (min(i * int(given), BEYOND) for i in (at, at + 1))
    axis = told.constant(maker.integer("axis", 0))
    gone = len(maker.inputs) < 2 and not maker.integer("keepdims", 1)
    operands = (maker.inputs[0], told.constant(start), told.constant(end), axis)
    part = told.write("Slice", operands, attrs, output="" if gone else node.outputs[0])
    if gone:
        told.write("Squeeze", (part, axis), output=node.outputs[0])
    return told.nodes


def _number(node: OnnxNode, constant: Constants, name: str) -> int:
    value = constant(name)
    if value is None or value.size != 1 or value.dtype.kind not in "iu":
        raise node.error("takes a part whose number is computed", "export the model with constant folding")
    return int(value.reshape(-1)[0])
