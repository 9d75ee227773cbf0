"""What is said of an ONNX operator that is not supported: what it is, and what is nearest."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...errors import CompileError, shown
from .file import OnnxNode
from .qlinear import TOLD
from .told import CONTRIB

LAYOUTS = ("com.microsoft.nchwc", "com.ms.internal.nhwc")
NEAREST: Mapping[str, str] = {
    **dict.fromkeys(("Acos", "Asin", "Asinh", "Acosh", "Atanh"), "Atan"),
    **dict.fromkeys(("Cosh", "Sinh"), "Exp"),
    **dict.fromkeys(("LpNormalization",), "BatchNormalization"),
    **dict.fromkeys(("NonMaxSuppression", "TopK"), "ArgMax; choose the output in front of it with --scores"),
    **dict.fromkeys(("ReduceLogSum", "ReduceLogSumExp", "ReduceProd"), "ReduceSum"),
    **dict.fromkeys(("ScatterElements", "ScatterND"), "Concat, or Where by a constant condition"),
    **dict.fromkeys(("SVMClassifier", "TreeEnsembleClassifier"), "LinearClassifier, or a perceptron"),
    **dict.fromkeys(("SVMRegressor", "TreeEnsembleRegressor"), "LinearRegressor, or a perceptron"),
    **dict.fromkeys(
        ("SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap"),
        "Concat of all that the sequence holds",
    ),
    "Equal": "LessOrEqual and GreaterOrEqual",
    "DeformConv": "Conv",
    "FeatureVectorizer": "Concat",
    "Hardmax": "ArgMax at the end",
    "Imputer": "Scaler: fill in what is missing before the network",
    "LpPool": "AveragePool",
    "MaxUnpool": "Expand",
    "OneHot": "Gemm of a vector that is one already",
    "Tan": "Sin and Cos",
    "Trilu": "Where by a constant condition",
}


def unsupported(node: OnnxNode, supported: Collection[str], is_function: bool) -> CompileError:
    """The error of an operator that is not among the supported ones."""
    known = f"supported are {', '.join(sorted(supported))}"
    domain = f" of domain {shown(node.domain)}" if node.domain else ""
    what, hint = f"operator {shown(node.op)}{domain} is not supported", ""
    if is_function:
        what += ": a function of the file"
        hint = "inline it (onnx.inliner) or export without functions; "
    elif node.op in ("If", "Loop", "Scan"):
        what, hint = f"{what}: control flow", "export one straight path; "
    elif node.op.startswith("Q") and node.domain == CONTRIB:
        known = f"of those on integers there are {', '.join(sorted(op for _, op in TOLD))}"
    elif node.domain in LAYOUTS:
        hint = "onnxruntime optimised the file for one processor: save it at ORT_ENABLE_EXTENDED or below; "
    elif node.op in NEAREST:
        hint = f"nearest is {NEAREST[node.op]}; "
    return node.error(what, hint + known)
