"""One kernel alone, said in a line: `dense 256 128`, `conv1d 64x16 k5->32 s2 same`. See docs/BENCH.md.

The line becomes a small network with that layer in front of a small last one, which is then compiled.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError, SynapccError
from synapcc.gen.importers._build import MAX_WINDOWS
from synapcc.gen.ir.graph import Attr, Graph, Node, Tensor
from synapcc.gen.ir.program import Step
from synapcc.gen.ops import layers
from synapcc.gen.sets import AUTO
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec
from synapcc.gen.target.boards import Board

NODE = "kernel"
_MOST = 1 << 24  # values in one tensor
_DIGITS = len(str(_MOST))  # of a number: Python refuses to read very long ones, and C strides beyond 32 bits
_SEED, _SAMPLES = 1, 32
_CLASSES = 2  # of the layer behind the kernel
_RATES = (6, 5, 7, 4, 8, 3, 9, 2, 10, 1, 11, 0, 12)
"""In the order in which they are tried: how far products are shifted does not change what they cost."""

_WINDOW = r"(?: s(?P<s>\d+))?(?P<same> same)?"
_MAP = r"(?P<h>\d+)x(?P<w>\d+)x(?P<c>\d+) (?P<kh>\d+)x(?P<kw>\d+)"
_GRAMMAR = {
    "dense": r"(?P<n>\d+) (?P<m>\d+)",
    "update": r"(?P<n>\d+) (?P<m>\d+)",
    "conv1d": r"(?P<w>\d+)x(?P<c>\d+) k(?P<kw>\d+)->(?P<m>\d+)" + _WINDOW,
    "conv2d": _MAP + r"->(?P<m>\d+)" + _WINDOW,
    "depthwise": _MAP + _WINDOW,
    "maxpool": _MAP + _WINDOW,
    "softmax": r"(?P<m>\d+)",
    "mlp": r"(?P<sizes>\d+(?: \d+)+)",
}
EXAMPLES = (
    "dense 256 128",
    "update 256 128",
    "conv1d 64x16 k5->32 s2 same",
    "conv2d 16x16x16 3x3->16 same",
    "depthwise 16x16x32 3x3 same",
    "maxpool 16x16x16 2x2",
    "softmax 10",
    "mlp 64 32 5",
)


@dataclass(frozen=True)
class KernelSpec:
    """A network to compile, and which of its steps were asked for. `whole`: all of them, as programs."""

    text: str
    graph: Graph
    whole: bool
    phases: tuple[str, ...]
    wanted: Callable[[Step], bool]

    def compile(
        self, board: Board, rule: str, weights: str, rounding: str, learns: bool, kernels: str = AUTO
    ) -> Compiled:
        """For `learns`, or for int16, the kernel's layer learns; else it is frozen. Raises CompileError."""
        rng = np.random.default_rng(_SEED)
        shapes = {n: self.graph.tensors[n].shape for n in self.graph.inputs}
        data = {n: rng.normal(0, 1, (_SAMPLES, *s)) for n, s in shapes.items()}
        if not learns and weights == "int8":
            return compile_model(self.graph, RuleSpec(INFERENCE_ONLY), data, board, kernels=kernels)
        plain = RuleSpec(rule, weights=weights, rounding=rounding)
        asked = plain if self.whole else replace(plain, layers=(NODE,))
        refusal: CompileError | None = None
        for rate in _RATES:
            try:
                return compile_model(self.graph, replace(asked, rate=rate), data, board, kernels=kernels)
            except CompileError as error:
                if "a rate of" not in error.what:
                    raise
                refusal = refusal or error
        assert refusal is not None
        raise refusal


class _Network:
    """Collects layers, one behind the other, with random weights."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(_SEED)
        self.tensors = {"input": Tensor("input", shape)}
        self.nodes: list[Node] = []
        self.last = "input"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensors[self.last].shape

    def add(
        self, op: str, name: str, attrs: Mapping[str, Attr], weight: tuple[int, int] | None = None
    ) -> None:
        constants = []
        if weight:
            scale = 1 / np.sqrt(weight[1])
            for ending, value in (
                ("w", self.rng.normal(0, scale, weight)),
                ("b", self.rng.normal(0, 0.1, weight[0])),
            ):
                constants.append(f"{name}_{ending}")
                self.tensors[constants[-1]] = Tensor(constants[-1], value.shape, value)
        node = Node(op, name, (self.last, *constants), f"{name}_out", attrs)
        shape = layers()[op].shape(node, [self.tensors[i].shape for i in node.inputs])
        self.tensors[node.output] = Tensor(node.output, shape)
        self.nodes.append(node)
        self.last = node.output

    def graph(self, name: str) -> Graph:
        return Graph(name, ("input",), self.last, self.tensors, tuple(self.nodes))


def parse(text: str) -> KernelSpec:
    """The kernel that `text` says. Raises SynapccError: no such kernel, or numbers that make no layer."""
    where = f"--kernel {text!r}"
    name, _, rest = " ".join(text.split()).partition(" ")
    if name not in _GRAMMAR:
        raise SynapccError(where, f"there is no kernel {name!r}", f"write one like {'; '.join(EXAMPLES)}")
    example = next(e for e in EXAMPLES if e.startswith(f"{name} "))
    found = re.fullmatch(_GRAMMAR[name], rest)
    if not found:
        raise SynapccError(where, f"is not how {name} is written", f"write it like {example!r}")
    if any(len(digits) > _DIGITS for digits in re.findall(r"\d+", rest)):
        raise SynapccError(where, "a size is 0 or too large", f"tensors hold 1 to {_MOST} values")
    numbers = {k: int(v) for k, v in found.groupdict().items() if v and v.strip().isdigit()}
    if any(v < 1 for v in numbers.values()) or _values(numbers) > _MOST:
        raise SynapccError(where, "a size is 0 or too large", f"tensors hold 1 to {_MOST} values")
    if name == "mlp":
        return _mlp(where, text, [int(n) for n in rest.split()])
    if name == "softmax":
        return _softmax(text, numbers["m"])
    if name in ("dense", "update"):
        network = _Network((numbers["n"],))
        network.add("dense", NODE, {}, (numbers["m"], numbers["n"]))
    else:
        network = _window(where, name, numbers, bool(found["same"]))
    _tail(network)
    phases = ("learn",) if name == "update" else ("infer",) if name == "maxpool" else ("infer", "learn")
    op = network.nodes[0].op
    steps = f"{op}.update" if name == "update" else f"{op}."  # not what the rule adds
    return KernelSpec(
        text,
        network.graph("bench"),
        False,
        phases,
        lambda step: step.node == NODE and step.kernel.startswith(steps),
    )


def _values(numbers: Mapping[str, int]) -> int:
    """No tensor of the layer holds more."""
    taps = numbers.get("kh", 1) * numbers.get("kw", 1) * numbers.get("c", 1) * numbers.get("n", 1)
    field = numbers.get("h", 1) * numbers.get("w", 1) * max(numbers.get("c", 1), numbers.get("m", 1))
    return max(taps * numbers.get("m", 1), field)


def _tail(network: _Network) -> None:
    """The layer that makes classes of whatever the kernel gives."""
    size = int(np.prod(network.shape))
    if len(network.shape) > 1:
        network.add("reshape", "flat", {"shape": (size,)})
    network.add("dense", "tail", {}, (_CLASSES, size))


def _window(where: str, name: str, numbers: Mapping[str, int], same: bool) -> _Network:
    """A network of one convolution or pooling."""
    op = "maxpool2d" if name == "maxpool" else "conv2d"
    if op not in layers():
        raise SynapccError(where, f"this synapcc has no op {op}", f"it has {', '.join(layers())}")
    h, w, c, kh, kw = numbers.get("h", 1), numbers["w"], numbers["c"], numbers.get("kh", 1), numbers["kw"]
    stride = numbers.get("s", kw if name == "maxpool" else 1)
    strides = (stride if h > 1 else 1, stride)
    top, bottom = _same(h, kh, strides[0]) if same else (0, 0)
    left, right = _same(w, kw, strides[1]) if same else (0, 0)
    if kh > h + top + bottom or kw > w + left + right:
        raise SynapccError(where, "the kernel is larger than the map", "make the kernel smaller")
    places = ((h + top + bottom - kh) // strides[0] + 1) * ((w + left + right - kw) // strides[1] + 1)
    if places * kh * kw * c > MAX_WINDOWS:
        what = f"all its windows hold {places * kh * kw * c} values, the most is {MAX_WINDOWS}"
        raise SynapccError(where, what, "make the map or the kernel smaller")
    network = _Network((h, w, c))
    attrs: dict[str, Attr] = {
        "kernel": (kh, kw),
        "stride": strides,
        "padding": (top, left, bottom, right),
    }
    if op == "maxpool2d":
        network.add(op, NODE, attrs)
        return network
    groups = c if name == "depthwise" else 1
    weight = (numbers.get("m", c), kh * kw * c // groups)
    network.add(op, NODE, {**attrs, "dilation": (1, 1), "groups": groups}, weight)
    return network


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and behind for ceil(size / stride) outputs, the odd one behind."""
    missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return missing // 2, missing - missing // 2


def _softmax(text: str, classes: int) -> KernelSpec:
    network = _Network((4,))
    network.add("dense", NODE, {}, (classes, 4))
    kernel = "softmax_error.forward"
    return KernelSpec(text, network.graph("bench"), False, ("learn",), lambda step: step.kernel == kernel)


def _mlp(where: str, text: str, sizes: Sequence[int]) -> KernelSpec:
    if min(sizes) < 1 or max(a * b for a, b in itertools.pairwise(sizes)) > _MOST:
        raise SynapccError(where, "a layer is too large, or empty", f"tensors hold 1 to {_MOST} values")
    network = _Network((sizes[0],))
    for number, (n, m) in enumerate(itertools.pairwise(sizes), 1):
        if number > 1:
            network.add("clip", f"relu{number - 1}", {"lo": 0.0, "hi": float("inf")})
        network.add("dense", f"fc{number}", {}, (m, n))
    return KernelSpec(text, network.graph("bench"), True, ("infer", "learn"), lambda step: True)
