"""What passes may ask of a layer: how its node changes when something beside it goes into it.

A pass knows no op. It asks the layer, and an op that says nothing is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..ir.graph import Attr, Node

Shape = tuple[int, ...]
Pair = tuple[np.ndarray, np.ndarray]
"""Scale and shift of every element of a tensor, flat; or weight [rows, columns] and bias [rows]."""
Border = tuple[tuple[int, int, int, int], float]
"""Padding (top, left, bottom, right) of a map, and the value that stands there."""


class Folding:
    """The side of a layer that passes see.

    scales:       computes scale * x + shift, which are its constants, [size of x] each
    fully:        each output has a weight of its own for every input, which may have any scale and shift
    rearranges:   gives the values of its one input, in another shape or order
    joins:        gives its inputs side by side along the last axis
    channelwise:  does the same with each channel of a map, and with none what another one holds
    untied:       the op that does the same with weights of its own at every position; "" if there is none
    """

    scales: ClassVar[bool] = False
    fully: ClassVar[bool] = False
    rearranges: ClassVar[bool] = False
    joins: ClassVar[bool] = False
    channelwise: ClassVar[bool] = False
    untied: ClassVar[str] = ""

    def idle(self, node: Node, shape: Shape, to: Shape, constants: Sequence[np.ndarray]) -> bool:
        """Whether it only hands its input on. shape, to: of its input and its output."""
        return False

    def merged(self, node: Node, before: Node) -> Mapping[str, Attr] | None:
        """Attributes of one node that does what `before` and then `node` do, of one op; None: none does."""
        return None

    def moved(self, node: Node, parts: Sequence[NDArray[Any]], to: Shape, border: int) -> NDArray[Any] | None:
        """What the output, of shape `to`, holds of the inputs `parts`, where it only moves values.

        `border` stands where it holds 0 instead. None if it computes.
        """
        return None

    def picked(self, node: Node, shape: Shape, places: NDArray[Any]) -> Mapping[str, Attr] | None:
        """Its attributes where it gives a vector of just these places of its output, which has `shape`; None
        if it cannot, or gives no less then."""
        return None

    def border(self, node: Node) -> Border | None:
        """The border, if all that it does is to put one around a map."""
        return None

    def padded(self, node: Node, border: Border, least: float) -> Mapping[str, Attr] | None:
        """Its attributes with the border of a node in front taken in; None if it cannot be.

        least: no value within the border is smaller
        """
        return None

    def least(self, node: Node) -> float:
        """No output is smaller."""
        return -math.inf

    def commutes(self, node: Node, pair: Pair) -> bool:
        """Whether f(scale * x + shift) = scale * f(x) + shift, where each channel has one scale and shift."""
        return False

    def homogeneous(self, node: Node) -> bool:
        """Whether f(scale * x) = scale * f(x) for positive scales of each channel; where it gives as many
        values as each of its inputs has, of each value."""
        return False

    def takes_in(self, node: Node, shifted: bool) -> bool:
        """Whether a scale, and a shift if `shifted`, that all places of a channel share can go into it."""
        return False

    def scaled(self, node: Node, factor: float) -> Mapping[str, Attr] | None:
        """Its attributes where it gives `factor` times as much, as it does of any one input that is as many
        times as large; None if it cannot."""
        return None

    def behind(self, node: Node, constants: Pair, pair: Pair) -> Pair | None:
        """Its constants with scale * y + shift of its output y taken in; None if they cannot be."""
        return None

    def before(self, node: Node, constants: Pair, pair: Pair, shape: Shape) -> Pair | None:
        """Its constants with scale * x + shift of its input x [shape] taken in; None if they cannot be."""
        return None


def per_channel(pair: Pair, channels: int) -> Pair | None:
    """Scale and shift [channels] of those of a map, if all places of a channel have the same."""
    if pair[0].size % channels:
        return None
    rows = [v.reshape(-1, channels) for v in pair]
    if any(np.any(r != r[0]) for r in rows):
        return None
    return rows[0][0], rows[1][0]


def affine_columns(constants: Pair, scale: np.ndarray, shift: np.ndarray) -> Pair:
    """W (s * x + t) + b = (W s) x + (W t + b). scale, shift: [columns], or [rows, columns]."""
    weight, bias = constants
    return weight * scale, bias + (weight * shift).sum(axis=1)
