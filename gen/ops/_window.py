"""The geometry of everything that slides a window over a map [height, width, channels]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..ir.graph import Node
from ._contract import SIZE, within

Index = NDArray[np.intp]
Region = tuple[slice, slice, slice]  # of maps: every device, rows, columns
MAX_WINDOWS = 1 << 22  # values of all windows side by side: what calibration works on
KEPT = 64  # geometries whose index tables stay in memory
RUN = 32  # bytes of a row of a window from which on it is copied as one
NEVER = 1 << 40  # the place of what is nowhere in a map


@dataclass(frozen=True, slots=True)
class Window:
    """Windows: output (y, x) sees the input rows y * stride_h - pad_top + dilation_h * ky, columns alike.

    A one-dimensional map has height 1. Places outside of the map count as zero, or not at all. Padding below
    and to the right follows from the output's size.
    """

    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    kernel_h: int
    kernel_w: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    groups: int = 1

    @classmethod
    def of(cls, node: Node, shape: Sequence[int]) -> Window:
        """The windows of a node with the attributes kernel, stride, dilation, padding, groups on a map.

        CompileError where there is no output, or a padding that a window does not reach into the map from.
        """
        if len(shape) != 3:
            what = f"its input has shape {tuple(shape)}"
            raise CompileError(node.name, what, "it takes a map [height, width, channels]")
        height, width, channels = shape
        kernel, stride = _pair(node, "kernel", None), _pair(node, "stride", 1)
        dilation = _pair(node, "dilation", 1)
        padding = _ints(node, "padding", (0, 0, 0, 0))
        groups = _ints(node, "groups", 1)[0]
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        if min(*kernel, *stride, *dilation, groups) < 1 or min(padding) < 0 or len(padding) != 4:
            what = (
                f"kernel {kernel}, stride {stride}, dilation {dilation}, padding {padding}, {groups} groups"
            )
            raise CompileError(node.name, what, "sizes are 1 or more, paddings 0 or more")
        if channels % groups:
            raise CompileError(
                node.name, f"{channels} channels in {groups} groups", "they must divide evenly"
            )
        top, left, bottom, right = padding
        room = height + top + bottom - reach[0], width + left + right - reach[1]
        if min(room) < 0:
            what = f"a window of {reach[0]} x {reach[1]} does not fit into {height} x {width} and its padding"
            raise CompileError(node.name, what, "use a smaller kernel, or a larger input")
        if top >= reach[0] or bottom >= reach[0] or left >= reach[1] or right >= reach[1]:
            what = f"padding {padding} is as wide as its window of {reach[0]} x {reach[1]}"
            raise CompileError(node.name, what, "some outputs would see nothing but padding; pad less")
        out = room[0] // stride[0] + 1, room[1] // stride[1] + 1
        return cls(
            *(height, width, channels, *out, *kernel, *stride, *dilation, top, left, groups),
        )

    @classmethod
    def from_attrs(cls, a: Mapping[str, Any]) -> Window:
        return cls(**{name: int(a[name]) for name in cls.__dataclass_fields__})

    @property
    def misfit(self) -> str:
        """Whether attributes say what `of` would not: what is wrong; "" if nothing."""
        for size, out, kernel, stride, dilation, pad in (
            (self.height, self.out_height, self.kernel_h, self.stride_h, self.dilation_h, self.pad_top),
            (self.width, self.out_width, self.kernel_w, self.stride_w, self.dilation_w, self.pad_left),
        ):
            reach = (kernel - 1) * dilation + 1
            if pad >= reach or (out - 1) * stride - pad >= size:
                return f"{out} windows of {reach} from {-pad} on, {stride} apart, leave a map of {size}"
        if self.channels % self.groups:
            return f"{self.channels} channels in {self.groups} groups"
        seen = self.positions * self.kernel_h * self.kernel_w * self.channels
        return f"its windows hold {seen} values, the most is {MAX_WINDOWS}" if seen > MAX_WINDOWS else ""

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes that operands may have."""
        return {
            "input": self.input_size,
            "pooled": self.positions * self.channels,
            "positions": self.positions,
            "taps": self.taps,
            "channels": self.channels,
        }

    @property
    def attrs(self) -> dict[str, int]:
        """As attributes of a step."""
        return asdict(self)

    @property
    def positions(self) -> int:
        return self.out_height * self.out_width

    @property
    def taps(self) -> int:
        """Values that one output sees: the columns of a weight."""
        return self.kernel_h * self.kernel_w * self.channels // self.groups

    @property
    def itself(self) -> bool:
        """Whether the windows, one behind another, are the map as it lies."""
        alone = self.groups == self.kernel_h == self.kernel_w == 1
        return alone and self.positions * self.taps == self.input_size

    @property
    def overlap(self) -> int:
        """The largest number of windows that one input lies in."""
        rows, cols = _axes(self)
        return _most(self.height, rows) * _most(self.width, cols)

    @property
    def beyond(self) -> bool:
        """Whether a window reaches beyond the map."""
        rows, cols = _axes(self)
        return not (np.all(_inside(rows, self.height)) and np.all(_inside(cols, self.width)))

    @property
    def inside(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(first, end) of the rows of windows, and of the columns, that lie inside of the map along that
        axis; the number of them twice where none does."""
        found = []
        for seen, size in zip(_axes(self), (self.height, self.width), strict=True):
            whole = np.flatnonzero(np.all(_inside(seen, size), axis=1))
            found.append((int(whole[0]), int(whole[-1]) + 1) if len(whole) else (len(seen), len(seen)))
        return found[0], found[1]

    @property
    def input_size(self) -> int:
        return self.height * self.width * self.channels

    @property
    def pooled(self) -> tuple[int, int, int]:
        """The shape of an output that has the input's channels."""
        return self.out_height, self.out_width, self.channels

    def counts(self) -> NDArray[np.int64]:
        """How many places of the map each window sees, [out_height, out_width]."""
        rows, cols = _axes(self)
        return np.outer(_inside(rows, self.height).sum(axis=1), _inside(cols, self.width).sum(axis=1))

    def fitting_shift(self, top: int) -> int:
        """The least shift of signals up to `top` at which those of all windows that see one input add up
        within 16 bits; 0 where there is one window an input."""
        return fitting_shift(self.overlap, top)

    def lead(self, read: int, written: int) -> int:
        """Bytes by which outputs must begin before the inputs in whose memory they go on, windows being taken
        row by row. read, written: bytes of a place of the input, and of the output"""
        return _lead(self, False, read, written)

    def back_lead(self, read: int, written: int) -> int:
        """The same of what passes from outputs, which are read, back to inputs, which are made row by row."""
        return _lead(self, True, read, written)

    def inputs(self, flat: NDArray[Any]) -> NDArray[Any]:
        """A view [D, height, width, channels] of inputs [D, size]."""
        return flat.reshape(len(flat), self.height, self.width, self.channels)

    def outputs(self, flat: NDArray[Any]) -> NDArray[Any]:
        """A view [D, out_height, out_width, channels] of outputs [D, size]."""
        return flat.reshape(len(flat), self.out_height, self.out_width, -1)

    def regions(self) -> Iterator[tuple[Region, Region]]:
        """For each place in the window, row by row: outputs that see an input there, and these inputs."""
        return ((outputs, inputs) for _, outputs, inputs in self.places())

    def places(self) -> Iterator[tuple[tuple[int, int], Region, Region]]:
        """The same behind the place (ky, kx)."""
        rows, cols = _axes(self)
        for ky in range(self.kernel_h):
            down = _reach(rows[:, ky], self.height)
            for kx in range(self.kernel_w):
                across = _reach(cols[:, kx], self.width)
                if down and across:
                    everyone = slice(None)
                    outputs, inputs = (everyone, down[0], across[0]), (everyone, down[1], across[1])
                    yield (ky, kx), outputs, inputs


WINDOW = within(
    {name: (0, SIZE[1]) if name.startswith("pad") else SIZE for name in Window.__dataclass_fields__}
)
"""Attributes of a step with windows."""


def fitting_shift(overlap: int, top: int) -> int:
    """The least shift of signals up to `top` at which so many that reach one input add up within 16 bits; 0
    where it is one."""
    if overlap == 1:
        return 0
    shift = next((s for s in range(31) if overlap * ((top + ((1 << s) >> 1)) >> s) < 2**15), None)
    if shift is None:
        what = f"one input lies in {overlap} windows, whose signals cannot be summed"
        raise CompileError("pooling", what, "use a larger stride, or a smaller window")
    return shift


def padding(node: Node) -> tuple[int, ...]:
    """(top, left, bottom, right) of a node."""
    return _ints(node, "padding", (0, 0, 0, 0))


def wider(node: Node, border: Sequence[int]) -> tuple[int, ...] | None:
    """The padding of `node` with a border around it; None where a window would see nothing but padding."""
    around = tuple(a + b for a, b in zip(padding(node), border, strict=True))
    kernel, dilation = _pair(node, "kernel", None), _pair(node, "dilation", 1)
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    return None if any(p > r for p, r in zip(around, reach * 2, strict=True)) else around


def _axes(g: Window) -> tuple[Index, Index]:
    """Rows [out_height, kernel_h] and columns [out_width, kernel_w] that the windows see, or would see."""
    return (
        _along(g.out_height, g.stride_h, g.pad_top, g.kernel_h, g.dilation_h),
        _along(g.out_width, g.stride_w, g.pad_left, g.kernel_w, g.dilation_w),
    )


def _inside(seen: Index, size: int) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (seen >= 0) & (seen < size)
    return inside


def _first(seen: Index, size: int, back: bool) -> Index:
    """For each window along an axis the first place that it sees, or for each place the first window that
    sees it; NEVER where there is none."""
    window, tap = np.nonzero(_inside(seen, size))
    place = seen[window, tap]
    at, found = (place, window) if back else (window, place)
    first = np.full(size if back else len(seen), NEVER)
    np.minimum.at(first, at, found)
    return first


@lru_cache(KEPT)
def _lead(g: Window, back: bool, read: int, written: int) -> int:
    """By how many bytes results must begin before what they are made of. read, written: bytes of a place of
    either; back: whether results are inputs, made of outputs"""
    rows, cols = _axes(g)
    down, across = _first(rows, g.height, back), _first(cols, g.width, back)
    first = down[:, None] * (g.out_width if back else g.width) + across
    first[(down[:, None] == NEVER) | (across == NEVER)] = NEVER
    left = np.minimum.accumulate(first.ravel()[::-1])[::-1]  # the first of what is still to be read
    done = np.arange(1, left.size + 1) * written
    return max(0, int((done - left * read)[left < NEVER].max(initial=0)))


def _reach(seen: Index, size: int) -> tuple[slice, slice] | None:
    """Outputs that see something at one place of their windows, and what they see there."""
    outputs = np.flatnonzero(_inside(seen, size))
    if not len(outputs):
        return None
    first, last = int(seen[outputs[0]]), int(seen[outputs[-1]])
    step = (last - first) // max(len(outputs) - 1, 1) or 1
    return slice(int(outputs[0]), int(outputs[-1]) + 1), slice(first, last + 1, step)


def _ints(node: Node, key: str, default: int | tuple[int, ...] | None) -> tuple[int, ...]:
    value = node.attrs.get(key, default)
    values = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(v, int) for v in values):
        raise CompileError(node.name, f"{key} is {value}", "report this: an importer is wrong")
    return tuple(int(v) for v in values)  # type: ignore[arg-type]


def _pair(node: Node, key: str, default: int | None) -> tuple[int, int]:
    values = _ints(node, key, default if default is None else (default, default))
    if len(values) != 2:
        raise CompileError(node.name, f"{key} is {values}", "report this: an importer is wrong")
    return values[0], values[1]


def _most(size: int, seen: Index) -> int:
    """How often the place that is seen most often is seen."""
    return int(np.bincount(seen[_inside(seen, size)], minlength=1).max())


@lru_cache(KEPT)
def taps(g: Window) -> Index:
    """[groups, positions, taps]: which element of the flat input each tap is, its size where it is padding.

    Taps in the order (ky, kx, channel).
    """
    rows, cols = _axes(g)
    y, x = rows[:, None, :, None], cols[None, :, None, :]  # [out_h, out_w, kernel_h, kernel_w]
    inside = _inside(y, g.height) & _inside(x, g.width)
    place = (y * g.width + x) * g.channels
    channel = np.arange(g.channels).reshape(g.groups, -1)
    every = place[None, ..., None] + channel[:, None, None, None, None, :]
    flat = np.where(inside[None, ..., None], every, g.height * g.width * g.channels)
    return flat.reshape(g.groups, g.positions, g.taps).astype(np.intp)


def _along(out: int, stride: int, pad: int, kernel: int, dilation: int) -> Index:
    return np.arange(out)[:, None] * stride - pad + np.arange(kernel)[None, :] * dilation


def see(g: Window, x: NDArray[Any]) -> NDArray[Any]:
    """[D, groups, positions, taps] of flat inputs [D, size]; padding is zero. Not to be written to: where a
    window is one place, and all are seen in turn, it is the inputs themselves."""
    if g.itself:
        return x.reshape(len(x), 1, g.positions, g.taps)
    if g.groups == 1 and g.kernel_w * g.channels * x.itemsize >= RUN:
        return _runs(g, x)
    padded = np.concatenate([x, np.zeros((len(x), 1), x.dtype)], axis=1)
    return padded.take(taps(g), axis=1)  # contiguous, as an index would not leave it: BLAS takes only that


def _runs(g: Window, x: NDArray[Any]) -> NDArray[Any]:
    """What `see` gives of one group, copied row of a window by row: faster where these are long."""
    height = (g.out_height - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1
    width = (g.out_width - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1
    around = np.zeros((len(x), height, width, g.channels), x.dtype)
    inside = g.inputs(x)[:, : height - g.pad_top, : width - g.pad_left]
    rows, columns = inside.shape[1:3]
    around[:, g.pad_top : g.pad_top + rows, g.pad_left : g.pad_left + columns] = inside
    each, down, across, one = around.strides
    strides = down * g.stride_h, across * g.stride_w, down * g.dilation_h, across * g.dilation_w
    shape = len(x), g.out_height, g.out_width, g.kernel_h, g.kernel_w, g.channels
    seen = np.lib.stride_tricks.as_strided(around, shape, (each, *strides, one), writeable=False)
    return np.ascontiguousarray(seen).reshape(len(x), 1, g.positions, g.taps)


def spread(g: Window, seen: NDArray[Any]) -> NDArray[Any]:
    """The transpose of `see`: [D, groups, positions, taps] summed into [D, size], for each input in the order
    of the positions that see it."""
    if g.itself:
        return seen.reshape(len(seen), -1)
    each = g.channels // g.groups
    total = np.zeros((len(seen), g.height, g.width, g.groups, each), seen.dtype)
    windows = seen.reshape(len(seen), g.groups, g.out_height, g.out_width, g.kernel_h, g.kernel_w, each)
    windows = windows.transpose(4, 5, 0, 2, 3, 1, 6)
    for (ky, kx), outputs, inputs in reversed(list(g.places())):  # the last tap is the first to meet an input
        total[inputs] += windows[ky, kx][outputs]
    return total.reshape(len(seen), -1)
