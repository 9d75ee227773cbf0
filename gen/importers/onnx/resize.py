"""Resize and Upsample of ONNX files: maps larger or smaller, by nearest values or between two of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._build import MAX_ELEMENTS
from .._names import from_node
from .file import AGAIN, DAMAGED, OnnxNode
from .fold import axis
from .layers import Act, Operand, Scope, activation, constant
from .spatial import seen_as_map

Real = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis as it is resized. scale: of `out` over `size`, as the file says it; roi: its start and end."""

    size: int
    out: int
    scale: float
    roi: tuple[float, float]

    def apart(self) -> float:
        """How far values lie apart if the first and the last stay."""
        return (self.size - 1) / (self.out - 1) if self.out > 1 else 0.0


def _symmetric(a: _Axis, x: Real) -> Real:
    """half_pixel about the middle, where scale * size is no whole number."""
    return a.size / 2 * (1 - a.out / (a.scale * a.size)) + (x + 0.5) / a.scale - 0.5


def _cropped(a: _Axis, x: Real) -> Real:
    start, end = a.roi
    if a.out == 1:
        return 0.5 * (start + end) * (a.size - 1) + 0 * x
    return start * (a.size - 1) + x * (end - start) * a.apart()


TRANSFORMATIONS: Mapping[str, Callable[[_Axis, Real], Real]] = {
    "align_corners": lambda a, x: x * a.apart(),
    "asymmetric": lambda a, x: x / a.scale,
    "half_pixel": lambda a, x: (x + 0.5) / a.scale - 0.5,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda a, x: (x + 0.5) / a.scale - 0.5 if a.out > 1 else 0 * x,
    "tf_crop_and_resize": _cropped,
    "tf_half_pixel_for_nn": lambda a, x: (x + 0.5) / a.scale,
}
ROUNDINGS: Mapping[str, Callable[[Real], Real]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
}


def resize(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> Act:
    """Resize; Upsample, and Resize of opset 10, which count from the first place."""
    x = activation(node, args)
    old = node.op == "Upsample" or scope.opset < 11
    axes, mode = _axes(scope, node, args, x, old), node.string("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise node.error(f"resizes in mode {mode[:20]!r}", "nearest and linear can be compiled")
    changed = [i for i, a in enumerate(axes) if a is not None]
    if any(i < 2 for i in changed):
        raise node.error(f"resizes axes {changed} of shape {x.shape}", "only height and width can be resized")
    m = seen_as_map(scope, node, x)
    tensor, names = m.tensor, [from_node(node.name)]
    for i in changed:
        found, at = axes[i], i - len(x.shape) + 2
        assert found is not None
        if math.prod(scope.builder.shape(tensor)) // found.size * found.out > MAX_ELEMENTS:
            raise node.error(f"makes {found.out} values of {found.size}", AGAIN)
        places = _coordinates(scope, node, found, old, mode)
        if mode == "nearest":
            whole = [int(p) for p in _nearest(node, places, found, old)]
            if whole != list(range(found.size)):
                tensor = scope.builder.gather(tensor, at, whole, names, node.source)
        else:
            tensor = scope.builder.interpolate(tensor, at, places, names, node.source)
    return m.act(tensor, scope.builder.shape(tensor))


def _coordinates(scope: Scope, node: OnnxNode, a: _Axis, old: bool, mode: str) -> Real:
    """Where each value of the output lies in the input."""
    how = "asymmetric" if old else node.string("coordinate_transformation_mode", "half_pixel")
    if how not in TRANSFORMATIONS:
        raise node.error(f"its coordinate_transformation_mode is {how[:30]!r}", DAMAGED)
    if node.integer("antialias", 0) and a.out < a.size and mode == "linear":
        raise node.error("has antialias, and makes a map smaller", "export with antialias = 0, or pool")
    at = TRANSFORMATIONS[how](a, np.arange(a.out, dtype=np.float64))
    if not np.all(np.isfinite(at)):
        raise node.error(f"its scale is {a.scale}", DAMAGED)
    if how == "tf_crop_and_resize" and (at.min() < 0 or at.max() > a.size - 1):
        raise node.error(f"its region {a.roi} reaches beyond the map", "pad in front of it")
    return at


def _nearest(node: OnnxNode, at: Real, a: _Axis, old: bool) -> NDArray[np.int64]:
    if old and a.out < a.size:
        raise node.error("makes a map smaller by its nearest values", "export with opset 11 or newer")
    mode = "floor" if old else node.string("nearest_mode", "round_prefer_floor")
    if mode not in ROUNDINGS:
        raise node.error(f"its nearest_mode is {mode[:30]!r}", DAMAGED)
    places: NDArray[np.int64] = np.clip(ROUNDINGS[mode](at), 0, a.size - 1).astype(np.int64)
    return places


def _axes(scope: Scope, node: OnnxNode, args: Sequence[Operand], x: Act, old: bool) -> list[_Axis | None]:
    """How each axis is resized; None where it stays."""
    rank = len(x.shape)
    listed = node.integers("axes")
    try:
        chosen = list(range(rank)) if listed is None else [axis(i, rank) for i in listed]
    except ValueError as error:
        raise node.error(str(error), AGAIN) from None
    scales = _numbers(node, args, 1 if old else 2, "scales", "f")
    if node.op == "Upsample" and scales is None and "scales" in node.attrs:  # opset 7
        scales = np.array(node.reals("scales") or (), np.float64)
    sizes = None if old else _numbers(node, args, 3, "sizes", "iu")
    regions = None if old else _numbers(node, args, 1, "roi", "f")
    given = scales if sizes is None else sizes
    if given is None or given.size != len(chosen) or len(set(chosen)) != len(chosen):
        raise node.error(f"its scales or sizes do not fit {len(chosen)} axes", AGAIN)
    if not np.all(np.isfinite(given) & (given > 0)) or given.max() > MAX_ELEMENTS:
        raise node.error(f"its scales or sizes are {given.tolist()[:8]}", DAMAGED)
    if regions is None or regions.size != 2 * len(chosen):
        if node.string("coordinate_transformation_mode", "") == "tf_crop_and_resize":
            raise node.error("has no region to crop", AGAIN)
        regions = np.repeat([0.0, 1.0], len(chosen))
    out: list[_Axis | None] = [None] * rank
    outs, factors = _outputs(node, [x.shape[i] for i in chosen], scales if sizes is None else None, sizes)
    for k, i in enumerate(chosen):
        roi = float(regions[k]), float(regions[k + len(chosen)])
        if outs[k] != x.shape[i] or factors[k] != 1.0 or roi != (0.0, 1.0):
            out[i] = _Axis(x.shape[i], outs[k], factors[k], roi)
    return out


def _outputs(
    node: OnnxNode, shape: Sequence[int], scales: Real | None, sizes: Real | None
) -> tuple[list[int], list[float]]:
    """Sizes of the output, and the factors by which it is larger."""
    if sizes is None:
        assert scales is not None
        outs = [math.floor(n * s) for n, s in zip(shape, scales.tolist(), strict=True)]
        if min(outs) < 1:
            raise node.error(f"scales {shape} by {scales.tolist()}: nothing is left", AGAIN)
        return outs, scales.tolist()
    factors = [n / size for n, size in zip(sizes.tolist(), shape, strict=True)]
    policy = node.string("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return [int(n) for n in sizes], factors
    if policy not in ("not_larger", "not_smaller"):
        raise node.error(f"its keep_aspect_ratio_policy is {policy[:20]!r}", DAMAGED)
    scale = min(factors) if policy == "not_larger" else max(factors)
    return [math.floor(scale * n + 0.5) for n in shape], [scale] * len(shape)


def _numbers(node: OnnxNode, args: Sequence[Operand], i: int, what: str, kinds: str) -> Real | None:
    """Operand i, a list of numbers; None where it is missing or empty."""
    value = constant(node, args, i, what)
    if value is None or not value.size:
        return None
    if value.dtype.kind not in kinds or value.ndim != 1 or value.size > 16:
        raise node.error(f"its {what} are {value.dtype.name} of shape {value.shape}", DAMAGED)
    return value.astype(np.float64)
