"""Networks as microcontrollers run them: depthwise convolutions, inverted bottlenecks, pools."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from residual_nets import Builder

from synapcc.gen.ir.graph import Graph, Tensor

Net = Callable[[int, int], Graph]


def _begun(*shape: int) -> Builder:
    return Builder(np.random.default_rng(0), {"x": Tensor("x", shape)}, gain=2**0.5)


def mobilenet(side: int, channels: int) -> Graph:
    """A stem and blocks of a depthwise convolution and one of a single tap, as MobileNet has."""
    net = _begun(side, side, 3)
    x = net.relu("relu0", net.conv("stem", "x", channels, stride=2))
    for i, (stride, factor) in enumerate(((1, 2), (2, 2), (1, 1), (2, 2), (1, 1)), 1):
        x = net.relu(f"relu{i}a", net.conv(f"deep{i}", x, channels, stride=stride, groups=channels))
        channels *= factor
        x = net.relu(f"relu{i}b", net.conv(f"point{i}", x, channels, kernel=1))
    return net.ended("mobilenet", x)


def inverted(side: int, channels: int) -> Graph:
    """Blocks that are six times as wide inside, some with a way around them, as MobileNetV2 has."""
    net = _begun(side, side, 3)
    x = net.relu("relu0", net.conv("stem", "x", channels, stride=2))
    for i, stride in enumerate((1, 2, 1, 2, 1), 1):
        wide = 6 * channels
        inner = net.relu(f"relu{i}a", net.conv(f"wide{i}", x, wide, kernel=1))
        inner = net.relu(f"relu{i}b", net.conv(f"deep{i}", inner, wide, stride=stride, groups=wide))
        channels *= stride
        inner = net.conv(f"point{i}", inner, channels, kernel=1)
        x = net.put("add", f"add{i}", (x, inner), net.tensors[x].shape) if stride == 1 else inner
    return net.ended("inverted", x)


def keywords(side: int, channels: int) -> Graph:
    """A depthwise-separable network as for spoken words: maps of one size from the stem on."""
    net = _begun(2 * side - 1, side // 2, 1)
    x = net.relu("relu0", net.conv("stem", "x", channels, stride=2))
    for i in range(1, 5):
        x = net.relu(f"relu{i}a", net.conv(f"deep{i}", x, channels, groups=channels))
        x = net.relu(f"relu{i}b", net.conv(f"point{i}", x, channels, kernel=1))
    return net.ended("keywords", x, classes=12)


def pooled(side: int, channels: int) -> Graph:
    """Convolutions, each with a pool of 2 x 2 behind it."""
    net = _begun(side, side, 1)
    x = "x"
    for i in (1, 2):
        x = net.relu(f"relu{i}", net.conv("stem" if i == 1 else "conv", x, i * channels))
        height, width, filters = net.tensors[x].shape
        pool = {"kernel": (2, 2), "stride": (2, 2), "padding": (0,) * 4}
        x = net.put("maxpool2d", f"pool{i}", (x,), (height // 2, width // 2, filters), **pool)
    return net.ended("pooled", x)


def around(side: int, channels: int) -> Graph:
    """One convolution with a way around it: its signal is added to what it is made of."""
    net = _begun(side, side, 2)
    x = net.relu("relu0", net.conv("stem", "x", channels))
    return net.ended(
        "around", net.put("add", "add", (x, net.conv("conv", x, channels)), net.tensors[x].shape)
    )


NETS: Sequence[Net] = (mobilenet, inverted, keywords, pooled, around)


def samples(net: Graph, n: int = 8) -> dict[str, np.ndarray]:
    """Noise, and labels."""
    rng = np.random.default_rng(1)
    classes = net.tensors[net.output].shape[0]
    x = rng.normal(0, 0.5, (n, *net.tensors["x"].shape)).astype(np.float32)
    return {"x": x, "label": rng.integers(0, classes, n)}
