"""Networks whose maps are clipped and pooled: what learning needs of these maps is little."""

from __future__ import annotations

import math

import numpy as np
from residual_nets import Builder

from synapcc.gen.ir.graph import Graph, Tensor

SIDE = 9
FORMS = ("clip-pool", "pool-clip", "overlapping", "separable", "one-dimensional", "of three")


def pooled(rng: np.random.Generator, form: str, side: int = SIDE, filters: int = 4) -> Graph:
    """Two convolutions, each with a clip and most with a pooling, in one of the FORMS."""
    height = 1 if form == "one-dimensional" else side
    net = Builder(rng, {"x": Tensor("x", (height, side, 2))})
    x = "x"
    for i in range(2):
        hi = 1.5 if rng.integers(2) else math.inf
        if form == "separable":
            x = clip(
                net,
                f"d{i}",
                net.conv(f"depth{i}", x, net.tensors[x].shape[2], groups=net.tensors[x].shape[2]),
                hi,
            )
            x = clip(net, f"c{i}", net.conv(f"conv{i}", x, filters, 1, 2), hi)
            continue
        x = net.conv(f"conv{i}", x, filters, 3 if height > 1 else 1)
        x = pool(net, f"pool{i}", x, form) if form == "pool-clip" else clip(net, f"clip{i}", x, hi)
        x = clip(net, f"clip{i}", x, hi) if form == "pool-clip" else pool(net, f"pool{i}", x, form)
    return net.ended("pooled", x)


def clip(net: Builder, name: str, x: str, hi: float) -> str:
    return net.put("clip", name, (x,), net.tensors[x].shape, lo=0.0, hi=hi)


def pool(net: Builder, name: str, x: str, form: str) -> str:
    """The largest of each window; of maps that it does not fit, the last rows and columns are left out."""
    height, width, channels = net.tensors[x].shape
    size = 3 if form in ("overlapping", "of three") else 2
    step = 3 if form == "of three" else 2
    kernel, stride = (min(size, height), size), (min(step, height), step)
    kernel = kernel[0], min(size, width)
    shape = (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1, channels
    return net.put("maxpool2d", name, (x,), shape, kernel=kernel, stride=stride, padding=(0,) * 4)


def samples(rng: np.random.Generator, graph: Graph, n: int = 24, classes: int = 4) -> dict[str, np.ndarray]:
    shape = graph.tensors["x"].shape
    return {"x": rng.normal(0, 0.5, (n, *shape)).astype(np.float32), "label": rng.integers(0, classes, n)}
