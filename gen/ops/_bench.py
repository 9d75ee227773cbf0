"""What `synapcc bench --kernel` can count alone: a line of text, and the network in which its kernels run.

An op's file says so in a subclass of Alone, which is found as kernels and layers are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from .. import discovery
from ..errors import SynapccError
from ..ir.format import Format, Scaled
from ..ir.graph import Attr, Graph, Node, Tensor
from ..ir.program import Step
from . import __path__ as _path
from . import layer
from ._window import MAX_WINDOWS

NODE = "kernel"
"""The node that is counted."""
MOST = 1 << 24  # values in one tensor
_SEED = 1
_CLASSES = 2  # of the layer behind the kernel
_DATA = Format("int8", Scaled((float(np.float32(4 / 127)),), (-5,)), -128, 127)
"""How lines of int8 models hold activations, which are within some +-4: the zero point is no special one."""


class Line:
    """Layers one behind the other, with random weights.

    where:  what an error names
    rounds: 0, or how often sums are rounded to the integers that all is held in, with zero points and a scale
            for each output, as int8 .tflite files have them (gen/ops/_requantise.py)
    """

    def __init__(self, where: str, rounds: int = 0) -> None:
        self.where, self.rounds = where, rounds
        self.rng = np.random.default_rng(_SEED)
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.last = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensors[self.last].shape

    def input(self, *shape: int) -> None:
        self.tensors["input"], self.last = Tensor("input", shape, format=self._data), "input"

    @property
    def _data(self) -> Format | None:
        return _DATA if self.rounds else None

    def add(
        self,
        op: str,
        name: str = NODE,
        attrs: Mapping[str, Attr] | None = None,
        weight: tuple[int, int] | None = None,
    ) -> None:
        """A node behind the last; weight: the shape of its weight, [rows, inputs of a row], if it has one."""
        constants = []
        if weight:
            scale = 1 / np.sqrt(weight[1])
            for ending, value in (
                ("w", self.rng.normal(0, scale, weight)),
                ("b", self.rng.normal(0, 0.1, weight[0])),
            ):
                constants.append(f"{name}_{ending}")
                self.tensors[constants[-1]] = Tensor(constants[-1], value.shape, value)
            if self.rounds:
                self._hold(*constants)
                attrs = {**(attrs or {}), "rounds": self.rounds}
        node = Node(op, name, (self.last, *constants), f"{name}_out", attrs or {})
        shape = layer(op).shape(node, [self.tensors[i].shape for i in node.inputs])
        self.tensors[node.output] = Tensor(node.output, shape, format=self._data)
        self.nodes.append(node)
        self.last = node.output

    def _hold(self, weight: str, bias: str) -> None:
        """The constants as integers, a scale a row."""
        assert isinstance(_DATA.meaning, Scaled)
        w = self.tensors[weight].value
        assert w is not None
        steps = np.abs(w).max(axis=1) / 127
        for name, scales, dtype in (
            (weight, steps, "int8"),
            (bias, steps * _DATA.meaning.scale[0], "int32"),
        ):
            meaning = Scaled(tuple(map(float, scales)), (0,) * len(scales))
            top = int(np.iinfo(dtype).max)
            old = self.tensors[name]
            real = meaning.real(meaning.units(old.value if old.value is not None else 0))
            self.tensors[name] = replace(old, value=real, format=Format(dtype, meaning, -top, top))

    def classes(self) -> None:
        """The layer that makes classes of whatever the kernel gives."""
        size = int(np.prod(self.shape))
        if len(self.shape) > 1:
            self.add("reshape", "flat", {"shape": (size,)})
        self.add("dense", "tail", {}, (_CLASSES, size))

    def graph(self) -> Graph:
        return Graph("bench", ("input",), self.last, self.tensors, tuple(self.nodes))


class Alone(ABC):
    """One way to say a kernel in a line: its name, and behind it what `grammar` says.

    grammar: a regular expression; its groups h, w, c, kh, kw, n, m are sizes of a map, of a window,
             of inputs and outputs, by which the line is held small
    example: a whole line
    phases:  where it runs, the phase that is counted unless another is asked for first
    kernels: how the names of the kernels of the node that are counted begin; rules may add others
    whole:   all that runs is counted, as programs, and all layers learn
    rounds:  as Line has it
    """

    name: ClassVar[str]
    grammar: ClassVar[str]
    example: ClassVar[str]
    phases: ClassVar[tuple[str, ...]] = ("infer", "learn")
    kernels: ClassVar[str] = ""
    whole: ClassVar[bool] = False
    rounds: ClassVar[int] = 0

    @abstractmethod
    def write(self, line: Line, words: Mapping[str, str]) -> None:
        """The network. words: what the groups of the grammar found. SynapccError for what makes no layer."""

    def counts(self, step: Step) -> bool:
        return self.whole or (step.node == NODE and step.kernel.startswith(self.kernels))


def alone() -> dict[str, Alone]:
    """Every way to say a kernel, by its name."""
    found: dict[str, Alone] = discovery.instances(Alone, "name", __package__ or "", _path, "synapcc.ops")
    return found


MAP = r"(?P<h>\d+)x(?P<w>\d+)x(?P<c>\d+) (?P<kh>\d+)x(?P<kw>\d+)"
STEPS = r"(?: s(?P<s>\d+))?(?P<same> same)?"
HOLES = r"(?: d(?P<d>\d+))?"
LINE = r"(?P<w>\d+)x(?P<c>\d+) k(?P<kw>\d+)"
"""What MAP is of one dimension."""


def window(line: Line, words: Mapping[str, str], stride: int) -> dict[str, Attr]:
    """Writes the input, a map, and gives kernel, stride and padding of what slides over it, and the dilation
    where words may say one.

    words: those of MAP or LINE, STEPS and HOLES; what has no height is one-dimensional
    stride: where no other is said
    """
    numbers = {key: int(word) for key, word in words.items() if word.strip().isdigit()}
    h, w, kh, kw = numbers.get("h", 1), numbers["w"], numbers.get("kh", 1), numbers["kw"]
    stride = numbers.get("s", stride)
    strides = (stride if h > 1 else 1, stride)
    same, apart = "same" in words, numbers.get("d", 1)
    holes = (apart if h > 1 else 1, apart)
    high, wide = ((k - 1) * d + 1 for k, d in zip((kh, kw), holes, strict=True))
    top, bottom = _same(h, high, strides[0]) if same else (0, 0)
    left, right = _same(w, wide, strides[1]) if same else (0, 0)
    if high > h + top + bottom or wide > w + left + right:
        raise SynapccError(line.where, "the kernel is larger than the map", "make the kernel smaller")
    down = (h + top + bottom - high) // strides[0] + 1
    places = down * ((w + left + right - wide) // strides[1] + 1)
    seen = places * kh * kw * numbers["c"]
    if seen > MAX_WINDOWS:
        what = f"all its windows hold {seen} values, the most is {MAX_WINDOWS}"
        raise SynapccError(line.where, what, "make the map or the kernel smaller")
    line.input(h, w, numbers["c"])
    attrs: dict[str, Attr] = {"kernel": (kh, kw), "stride": strides, "padding": (top, left, bottom, right)}
    return attrs | {"dilation": holes} if "d" in numbers else attrs


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and behind for ceil(size / stride) outputs, the odd one behind."""
    missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return missing // 2, missing - missing // 2
