"""Where a window lies on a map [height, width, channels] as it moves over it: the geometry of pooling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CompileError
from .graph import Node

Region = tuple[slice, slice, slice]
"""Of maps [devices, rows, columns, channels]."""


@dataclass(frozen=True, slots=True)
class Window:
    """Output (i, j) of rows x cols sees the input's rows i * stride_h - top .. + kernel_h - 1, columns alike.

    What of a window lies beyond the input is padding: each window lies at least partly within it.
    """

    height: int
    width: int
    channels: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    top: int
    left: int
    rows: int
    cols: int

    @classmethod
    def of(cls, node: Node, shape: tuple[int, ...]) -> Window:
        """The window of a node (attributes kernel, stride, padding); CompileError if it does not fit."""
        if len(shape) != 3:
            what = f"input {shape} is no map"
            raise CompileError(node.name, what, "it takes [height, width, channels]; 1-D data have height 1")
        kernel, stride, around = (_numbers(node, key) for key in ("kernel", "stride", "padding"))
        if min(*kernel, *stride) < 1 or min(around) < 0:
            what = f"kernel {kernel}, stride {stride} and padding {around} make no window"
            raise CompileError(node.name, what, "kernel and stride are 1 or more, padding 0 or more")
        outputs = []
        for axis, size in enumerate(shape[:2]):
            before, after = around[axis], around[axis + 2]
            n = (size + before + after - kernel[axis]) // stride[axis] + 1
            if n < 1:
                what = f"a kernel of {kernel} is larger than its input {shape[:2]} with padding {around}"
                raise CompileError(node.name, what, "take a smaller kernel or more padding")
            if before >= kernel[axis] or (n - 1) * stride[axis] - before >= size:
                what = f"kernel {kernel} with padding {around} has windows that see nothing of the input"
                raise CompileError(node.name, what, "pad less than the kernel's size")
            outputs.append(n)
        return cls(*shape, *kernel, *stride, *around[:2], *outputs)

    @classmethod
    def from_attrs(cls, a: Mapping[str, Any]) -> Window:
        return cls(*(int(a[f.name]) for f in fields(cls)))

    @property
    def attrs(self) -> dict[str, int]:
        return asdict(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the output."""
        return self.rows, self.cols, self.channels

    @property
    def overlap(self) -> int:
        """The largest number of windows that see one input."""
        down = min(-(-self.kernel_h // self.stride_h), self.rows)
        return down * min(-(-self.kernel_w // self.stride_w), self.cols)

    def fitting_shift(self, top: int) -> int:
        """The least shift of signals up to `top` at which those of all windows that see one input add up
        within 16 bits; 0 where there is one window an input."""
        if self.overlap == 1:
            return 0
        return next(s for s in range(31) if self.overlap * ((top + ((1 << s) >> 1)) >> s) < 2**15)

    def counts(self) -> NDArray[np.int64]:
        """How many inputs each window sees, [rows, cols]."""
        down = _seen(self.rows, self.stride_h, self.top, self.kernel_h, self.height)
        return np.outer(down, _seen(self.cols, self.stride_w, self.left, self.kernel_w, self.width))

    def inputs(self, flat: NDArray[Any]) -> NDArray[Any]:
        """A view [devices, height, width, channels] of inputs [devices, size]."""
        return flat.reshape(len(flat), self.height, self.width, self.channels)

    def outputs(self, flat: NDArray[Any]) -> NDArray[Any]:
        """A view [devices, rows, cols, channels] of outputs [devices, size]."""
        return flat.reshape(len(flat), *self.shape)

    def taps(self) -> Iterator[tuple[Region, Region]]:
        """For each place in the window, row by row: outputs that see an input there, and these inputs."""
        for y in range(self.kernel_h):
            down = _reach(y - self.top, self.stride_h, self.rows, self.height)
            for x in range(self.kernel_w):
                across = _reach(x - self.left, self.stride_w, self.cols, self.width)
                if down and across:
                    everyone = slice(None)
                    yield (everyone, down[0], across[0]), (everyone, down[1], across[1])


def _numbers(node: Node, key: str) -> tuple[int, ...]:
    return tuple(int(n) for n in node.attrs[key])  # type: ignore[union-attr]


def _seen(n: int, stride: int, before: int, kernel: int, size: int) -> NDArray[np.int64]:
    start = np.arange(n) * stride - before
    return np.minimum(start + kernel, size) - np.maximum(start, 0)


def _reach(at: int, stride: int, n: int, size: int) -> tuple[slice, slice] | None:
    """Outputs i for which i * stride + at is an input, and these inputs."""
    first, end = max(-(at // stride), 0), min((size - 1 - at) // stride + 1, n)
    if first >= end:
        return None
    start = first * stride + at
    return slice(first, end), slice(start, start + (end - first - 1) * stride + 1, stride)


def random_window(rng: np.random.Generator, shape: tuple[int, ...] | None = None) -> Window:
    """For tests: a window on a map of this shape, or of any; sometimes all of it, sometimes 1-D."""
    shape = shape or (int(rng.choice([1, 1, 4, 6])), *(int(n) for n in rng.integers(1, (9, 7))))
    return Window.of(Node("", "", (), "", random_attrs(rng, shape)), shape)


def random_attrs(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """For tests: kernel, stride and padding of a node on a map of this shape."""
    if not rng.integers(4):
        return {"kernel": shape[:2], "stride": (1, 1), "padding": (0, 0, 0, 0)}
    kernel = tuple(int(rng.integers(1, min(n, 4) + 1)) for n in shape[:2])
    stride = kernel if rng.integers(2) else tuple(int(s) for s in rng.integers(1, 4, 2))
    padded = [int(rng.integers(0, k)) * int(rng.integers(0, 2)) for k in (*kernel, *kernel)]
    # Behind the input at most what the last window reaches anyway: no window lies beyond it.
    after = [min(p, k - 1, s - 1) for p, k, s in zip(padded[2:], kernel, stride, strict=True)]
    return {"kernel": kernel, "stride": stride, "padding": (*padded[:2], *after)}
