"""What the pooling layers have in common: their windows, and random ones for the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Node
from ._window import Window


def pool_window(node: Node, shape: Sequence[int]) -> Window:
    """The windows of a node with the attributes kernel, stride, padding; CompileError if none fit."""
    window = Window.of(node, shape)
    if (window.dilation_h, window.dilation_w, window.groups) != (1, 1, 1):
        what = f"dilation {(window.dilation_h, window.dilation_w)} of a pooling layer"
        raise CompileError(node.name, what, "pool over neighbouring places")
    return window


def pool_misfit(a: Mapping[str, int]) -> str:
    """What of a step's windows no pooling has; "" if nothing."""
    window = Window.from_attrs(a)
    if (window.dilation_h, window.dilation_w, window.groups) != (1, 1, 1):
        return "a pooling has neither dilation nor groups"
    if a.get("overlap", window.overlap) != window.overlap:
        return f"attribute overlap is {a['overlap']}, {window.overlap} windows overlap"
    if window.overlap == 1 and a.get("before", 0):
        return f"attribute before is {a['before']}, and no windows overlap"
    return ""


def random_window(rng: np.random.Generator) -> Window:
    """For tests: a window on any map; sometimes all of it, sometimes one-dimensional."""
    shape = int(rng.choice([1, 1, 4, 6])), *(int(n) for n in rng.integers(1, (9, 7)))
    return pool_window(Node("", "", (), "", random_attrs(rng, shape)), shape)


def random_attrs(rng: np.random.Generator, shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """For tests: kernel, stride and padding of a node on a map of this shape."""
    if not rng.integers(4):
        return {"kernel": (shape[0], shape[1]), "stride": (1, 1), "padding": (0, 0, 0, 0)}
    kernel = tuple(int(rng.integers(1, min(n, 4) + 1)) for n in shape[:2])
    stride = kernel if rng.integers(2) else tuple(int(s) for s in rng.integers(1, 4, 2))
    padding = tuple(int(rng.integers(0, k)) * int(rng.integers(2)) for k in (*kernel, *kernel))
    return {"kernel": kernel, "stride": stride, "padding": padding}


def divisors(window: Window, a: Mapping[str, Any]) -> NDArray[np.int64]:
    """How many values the mean of each window is over, [out_height, out_width]; 1 where it is their sum."""
    seen = window.counts()
    if "total" in a:
        return np.ones_like(seen)
    return np.full_like(seen, window.kernel_h * window.kernel_w) if a["count_padding"] else seen
