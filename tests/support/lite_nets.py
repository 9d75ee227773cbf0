"""Random int8 networks as .tflite files, and rule files under which some of their layers learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from lite import Author
from random_nets import REFUSED, Rng, random_calibration, random_spec

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.ir.format import Scaled
from synapcc.gen.ir.graph import Graph

USUAL = 40.0  # standard deviation of random integers, of weights and of activations


@dataclass
class LiteNet:
    """A file under construction: `at` is the last tensor and `shape` its shape without the batch.

    layers: the tensor that each layer with weights gives, in order
    """

    rng: Rng
    author: Author = field(default_factory=Author)
    at: int = -1
    shape: tuple[int, ...] = ()
    scale: float = 1.0
    layers: list[int] = field(default_factory=list)

    def act(self, shape: tuple[int, ...], scale: float) -> int:
        zero = int(self.rng.choice([-128, 0, int(self.rng.integers(-60, 60))]))
        self.scale, self.shape = float(np.float32(scale)), shape
        name = f"t{len(self.author.graph.tensors)}"
        self.at = self.author.tensor(name, (1, *shape), scale=self.scale, zero=zero)
        return self.at

    def weights(self, shape: tuple[int, ...], axis: int, fan: int) -> tuple[list[int], float]:
        """Weight and bias, and the scale at which outputs vary by USUAL units."""
        count = shape[axis]
        usual = 1.0 / (USUAL * np.sqrt(fan))  # at which outputs are as large as inputs
        scales = np.float32(usual * 2.0 ** self.rng.uniform(-1, 1, count if self.rng.integers(2) else 1))
        ints = np.clip(np.rint(self.rng.normal(0, USUAL, shape)), -127, 127)
        sums = USUAL * USUAL * np.sqrt(fan)
        n = len(self.author.graph.tensors)
        w = self.author.tensor(f"w{n}", shape, scale=scales, data=ints, axis=axis)
        bias = np.rint(self.rng.normal(0, sums / 4, count))
        b = self.author.tensor(f"b{n}", (count,), "INT32", scale=scales * np.float32(self.scale), data=bias)
        return [w, b], float(np.mean(scales)) * self.scale * sums / USUAL

    def dense(self, outputs: int, last: bool) -> None:
        n = int(np.prod(self.shape))
        if len(self.shape) > 1:
            self.reshape((n,))
        constants, scale = self.weights((outputs, n), 0, n)
        x, y = self.at, self.act((outputs,), scale)
        function = 0 if last else int(self.rng.integers(4))
        self.author.op(
            "FULLY_CONNECTED",
            [x, *constants],
            [y],
            "FullyConnectedOptions",
            4,
            fusedActivationFunction=function,
        )
        self.layers.append(y)

    def reshape(self, shape: tuple[int, ...]) -> None:
        quantised = self.author.graph.tensors[self.at].quantization
        x = self.at
        y = self.author.tensor(f"r{x}", (1, *shape), scale=quantised.scale, zero=quantised.zeroPoint)
        self.author.op("RESHAPE", [x], [y], "ReshapeOptions", 1, newShape=[1, *shape])
        self.at, self.shape = y, shape

    def conv(self, depthwise: bool) -> None:
        height, width, channels = self.shape
        same = bool(self.rng.integers(2))
        kernel = tuple(int(self.rng.integers(1, min(n, 4) + 1)) for n in (height, width))
        stride = tuple(int(n) for n in self.rng.integers(1, 3, 2))
        out = [
            -(-n // s) if same else (n - k) // s + 1
            for n, k, s in zip((height, width), kernel, stride, strict=True)
        ]
        outputs = channels * int(self.rng.integers(1, 3)) if depthwise else int(self.rng.integers(1, 7))
        shape, axis = ((1, *kernel, outputs), 3) if depthwise else ((outputs, *kernel, channels), 0)
        fan = kernel[0] * kernel[1] * (1 if depthwise else channels)
        constants, scale = self.weights(shape, axis, fan)
        x, y = self.at, self.act((*out, outputs), scale)  # type: ignore[arg-type]
        options = {
            "padding": 0 if same else 1,
            "strideH": stride[0],
            "strideW": stride[1],
            "fusedActivationFunction": int(self.rng.integers(4)),
        }
        if depthwise:
            options["depthMultiplier"] = outputs // channels
        op, table = (
            ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions") if depthwise else ("CONV_2D", "Conv2DOptions")
        )
        self.author.op(op, [x, *constants], [y], table, 3, **options)
        self.layers.append(y)


def lite_net(rng: Rng) -> tuple[bytes, LiteNet]:
    """A file of 0 to 3 convolutions and 1 to 3 dense layers, with fused activations of any kind."""
    net = LiteNet(rng)
    convolutions = int(rng.integers(0, 4))
    shape = tuple(int(n) for n in rng.integers((2, 2, 1), (8, 8, 4)))
    first = net.act(shape if convolutions else (int(rng.integers(3, 60)),), 2.0 ** rng.uniform(-7, -4))
    for _ in range(convolutions):
        net.conv(bool(rng.integers(2)))
    hidden = [int(rng.integers(2, 24)) for _ in range(int(rng.integers(0, 3)))]
    for outputs in hidden:
        net.dense(outputs, False)
    net.dense(int(rng.integers(2, 12)), True)
    return net.author.bytes([first], [net.at]), net


REFUSE_FILES = ("pepita", "ff")  # the rules that need formats of ours for inputs


def lite_model(seed: int, folder: Path, **fixed: object) -> tuple[Compiled, bytes, LiteNet]:
    """The compilation that belongs to a seed, its file and how that was made. fixed: of the rule file."""
    rng = np.random.default_rng([20261126, seed])
    data, net = lite_net(rng)
    path = folder / f"lite{seed}.tflite"
    path.write_bytes(data)
    graph = load_model(path)
    spec = random_spec(rng, graph)
    if spec.rule in REFUSE_FILES:  # of feedback they take what dfa takes
        spec = replace(spec, rule="dfa")
    convolutions = [n.name for n in graph.nodes if n.op == "conv2d"]
    if convolutions and not rng.integers(4):
        spec = replace(spec, untied=(str(rng.choice(convolutions)),))
    spec = replace(spec, **fixed)  # type: ignore[arg-type]
    return compile_model(graph, spec, lite_calibration(rng, graph)), data, net


def lite_calibration(rng: Rng, graph: Graph) -> dict[str, np.ndarray]:
    """Inputs that vary by USUAL units of the file."""
    out = random_calibration(rng, graph)
    for name in graph.inputs:
        held = graph.tensors[name].format
        assert held is not None and isinstance(held.meaning, Scaled)
        units = rng.normal(0, USUAL, out[name].shape) + 0.5 * held.meaning.zero[0]
        out[name] = held.meaning.real(np.clip(np.rint(units), -128, 127)).astype(np.float32)
    return out


def accepted_lite(first: int, count: int, folder: Path) -> Iterator[tuple[Compiled, int]]:
    """`count` compilations and their seeds, from `first` on, without the refused ones: few, at most."""
    made = tried = 0
    while made < count:
        seed = first + tried
        tried += 1
        try:
            compiled, _, _ = lite_model(seed, folder)
        except CompileError:
            assert tried - made < 10 + REFUSED * tried, f"{tried - made} of {tried} combinations were refused"
            continue
        made += 1
        yield compiled, seed
