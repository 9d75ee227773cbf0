"""Float operators of onnxruntime's own, as its optimiser writes them, told as ONNX operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import takewhile

from onnx import AttributeProto, helper

from .file import AGAIN, OnnxNode
from .told import CONTRIB, Told

Tell = Callable[[OnnxNode], list[OnnxNode]]
ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "Clip": ("min", "max"),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
}
"""What may be part of a FusedConv or FusedGemm, and the attributes that its numbers are."""

SKIP_EPSILON = 1e-12  # of the norms of sums that name none, where ONNX's own have 1e-5


def _ended(told: Told, y: str, numbers: tuple[float, ...]) -> list[OnnxNode]:
    """The activation behind y, if there is one."""
    node = told.node
    op = node.string("activation", "")
    if op and op not in ACTIVATIONS:
        known = f"known are {', '.join(ACTIVATIONS)}"
        raise node.error(f"has the activation {op[:40]!r}", f"optimise less; {known}")
    if op:
        names = ACTIVATIONS[op]
        if len(numbers) < len(names):
            raise node.error(f"its {op} has {len(numbers)} of the numbers {', '.join(names)}", AGAIN)
        attrs = {name: helper.make_attribute(name, v) for name, v in zip(names, numbers, strict=False)}
        told.write(op, (y,), attrs, node.outputs[0])
    else:
        told.nodes[-1] = replace(told.nodes[-1], outputs=node.outputs[:1])
    return told.nodes


def _kept(node: OnnxNode) -> dict[str, AttributeProto]:
    return {k: a for k, a in node.attrs.items() if not k.startswith("activation")}


def _conv(node: OnnxNode) -> list[OnnxNode]:
    told = Told(node)
    y = told.write("Conv", [told.operand(i) for i in range(3)], _kept(node))
    if told.operand(3):
        y = told.write("Add", (y, told.operand(3)))
    return _ended(told, y, node.reals("activation_params") or ())


def _gemm(node: OnnxNode) -> list[OnnxNode]:
    told = Told(node)
    y = told.write("Gemm", node.inputs[:3], _kept(node))
    names = [f"activation_{n}" for n in ("alpha", "beta")]
    given = takewhile(lambda n: n in node.attrs, names)  # beta alone is no alpha
    return _ended(told, y, tuple(node.real(n, 0.0) for n in given))


def _gelu(how: str) -> Tell:
    def tell(node: OnnxNode) -> list[OnnxNode]:
        told, x = Told(node), node.inputs[0] if node.inputs else ""
        if told.operand(1):
            x = told.write("Add", (x, told.operand(1)))
        told.write("Gelu", (x,), {"approximate": helper.make_attribute("approximate", how)}, node.outputs[0])
        return told.nodes

    return tell


def _quick_gelu(node: OnnxNode) -> list[OnnxNode]:
    told, x = Told(node), node.inputs[0] if node.inputs else ""
    inner = told.write("Mul", (x, told.number(node.real("alpha", 1.702))))
    told.write("Mul", (x, told.write("Sigmoid", (inner,))), output=node.outputs[0])
    return told.nodes


def _norm_of_sum(op: str, last: int) -> Tell:
    """A norm over the last axis of a sum, in operands 0, 1 and `last`; operands from 2 on are the norm's."""

    def tell(node: OnnxNode) -> list[OnnxNode]:
        told = Told(node)
        terms = [n for n in (told.operand(1), told.operand(last)) if n]
        total = told.operand(0)
        for term in terms:
            total = told.write("Add", (total, term))
        if terms and len(node.outputs) > 3 and node.outputs[3]:
            total = told.write("Identity", (total,), output=node.outputs[3])
        attrs = {"axis": helper.make_attribute("axis", -1)}
        attrs["epsilon"] = node.attrs.get("epsilon") or helper.make_attribute("epsilon", SKIP_EPSILON)
        told.write(op, (total, *(told.operand(i) for i in range(2, last))), attrs, node.outputs[0])
        return told.nodes

    return tell


def _same(op: str) -> Tell:
    return lambda node: [replace(node, op=op, domain="")]


def _attention(node: OnnxNode) -> list[OnnxNode]:
    """Attention of three activations whose heads lie side by side, the bias added first."""
    told = Told(node)
    if any(told.operand(i) for i in range(4, len(node.inputs))):
        raise node.error("has masks, or keys and values kept between calls", "export it without")
    if not (told.operand(1) and told.operand(2)):
        raise node.error("takes queries, keys and values in one", "optimise the model less")
    parts, bias = list(node.inputs[:3]), told.operand(3)
    if bias:  # its length is that of all three: cut where a third ends
        length = told.write("Div", (told.write("Size", (bias,)), told.constant(3)))
        for i in range(3):
            ends = [told.write("Mul", (length, told.constant(i + k))) for k in (0, 1)]
            part = told.write("Slice", (bias, *ends, told.constant(0)))
            parts[i] = told.write("Add", (parts[i], part))
    heads = node.attrs.get("num_heads")
    if heads is None:
        raise node.error("does not say how many heads it has", AGAIN)
    attrs = {"q_num_heads": heads, "kv_num_heads": heads}
    attrs |= {"scale": node.attrs["scale"]} if node.real("scale", 0.0) else {}  # 0 stands for the usual one
    attrs |= {"is_causal": node.attrs["unidirectional"]} if "unidirectional" in node.attrs else {}
    told.write("Attention", parts, attrs, node.outputs[0])
    return told.nodes


RUNTIME: Mapping[tuple[str, str], Tell] = {
    (CONTRIB, "BiasGelu"): _gelu("none"),
    (CONTRIB, "FastGelu"): _gelu("tanh"),
    (CONTRIB, "FusedConv"): _conv,
    (CONTRIB, "FusedGemm"): _gemm,
    (CONTRIB, "FusedMatMul"): _same("FusedMatMul"),
    (CONTRIB, "Gelu"): _gelu("none"),
    (CONTRIB, "MultiHeadAttention"): _attention,
    (CONTRIB, "QuickGelu"): _quick_gelu,
    (CONTRIB, "SkipLayerNormalization"): _norm_of_sum("LayerNormalization", 4),
    (CONTRIB, "SkipSimplifiedLayerNormalization"): _norm_of_sum("SimplifiedLayerNormalization", 3),
}
"""By domain and operator."""
