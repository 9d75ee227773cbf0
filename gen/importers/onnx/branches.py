"""If of ONNX files, as TorchScript writes squeeze and cat: shapes alone tell which branch is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from onnx import AttributeProto, TensorProto

from .file import DAMAGED, OnnxNode, text

NAMES = {True: "then_branch", False: "else_branch"}


@dataclass(frozen=True, slots=True)
class Branch:
    """What an If runs: nodes in the order of the file, the tensors that it holds, its results."""

    nodes: tuple[OnnxNode, ...]
    tensors: Mapping[str, TensorProto]
    outputs: tuple[str, ...]

    def reads(self) -> list[str]:
        """What comes from outside."""
        inside = {*self.tensors, *(o for n in self.nodes for o in n.outputs)}
        names = [*(i for n in self.nodes for i in n.inputs if i), *self.outputs]
        return [name for name in dict.fromkeys(names) if name not in inside]


Branches = Mapping[bool, Branch]


def opened(
    node: OnnxNode, most: int, told: Callable[[list[OnnxNode]], Sequence[OnnxNode]]
) -> tuple[OnnxNode, Branches]:
    """An If whose operands are all that its branches read; and these.

    most: how many nodes a branch may have; told: what its nodes are told as
    """
    found: dict[bool, Branch] = {}
    for taken, name in NAMES.items():
        attr = node.attrs.get(name)
        if attr is None or attr.type != AttributeProto.GRAPH:
            raise node.error(f"has no {name}", DAMAGED)
        if len(attr.g.node) > most:
            raise node.error(f"has {len(attr.g.node)} operators in its {name}, the most is {most}")
        nodes = told([OnnxNode.of(n) for n in attr.g.node])
        if any(n.op == "If" for n in nodes):
            raise node.error("holds another If", "export one straight path")
        tensors = {text(i.name): i for i in attr.g.initializer}
        found[taken] = Branch(tuple(nodes), tensors, tuple(text(o.name) for o in attr.g.output))
        if len(found[taken].outputs) != len(node.outputs):
            raise node.error(f"has {len(node.outputs)} results, its {name} another number", DAMAGED)
    captured = dict.fromkeys((*node.inputs[:1], *(n for b in found.values() for n in b.reads())))
    return replace(node, inputs=tuple(captured)), found
