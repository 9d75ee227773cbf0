"""A convolution whose weights are not tied (locally connected): every position has filters of its own.

W [positions * filters, taps], position by position. No importer makes one: gen.stages.untie does, for the
layers that a rule file lists under `untied`. Amit 2019 learned such layers with the asymmetric Hebbian rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..ir.graph import Node
from ..ir.tape import Tape
from . import Arrays, Attrs, Case, _local_loops, _long_loops
from . import _onto as onto
from ._contract import Tensors, within
from ._folding import Pair, Shape
from ._loops import RATES, WINDOWED, Loop, row_tables
from ._requantise import centred
from ._tying import Matmul, Tied
from ._weighted import Change, Index, WeightedUpdate, update_case
from ._window import Window, see
from .conv2d import GEOMETRY, UPDATED, Conv2d, conv_misfit, conv_sizes, random_case
from .conv2d import Forward as TiedForward
from .conv2d import Transposed as TiedTransposed


class Untied(Tied):
    """Weights [copies, rows, taps], one row a filter and position."""

    @staticmethod
    def each(g: Window) -> int:
        return g.positions

    @staticmethod
    def forward(g: Window, w: NDArray[Any], seen: NDArray[Any], matmul: Matmul) -> NDArray[Any]:
        blocks = w.reshape(len(w), g.positions, g.groups, -1, g.taps)
        return matmul(blocks, seen.swapaxes(1, 2)[..., None]).reshape(len(seen), -1)

    @staticmethod
    def transposed(g: Window, m: NDArray[Any], d: NDArray[Any], matmul: Matmul) -> NDArray[Any]:
        blocks = m.reshape(len(m), g.positions, g.groups, -1, g.taps)
        signals = d.reshape(len(d), g.positions, g.groups, 1, -1)
        return matmul(signals, blocks)[..., 0, :].swapaxes(1, 2)


class Local2d(Conv2d):
    op = "local2d"
    untied = ""
    tying = Untied

    def takes_in(self, node: Node, shifted: bool) -> bool:
        return False

    def before(self, node: Node, constants: Pair, pair: Pair, shape: Shape) -> Pair | None:
        return None  # it was taken in before the weights were untied

    def statement(self, tape: Tape, node: Node, bias: bool = False) -> tuple[str, dict[str, int]]:
        if bias:
            return "statement.change", {}  # each position has biases of its own
        return "statement2d.untied", self.geometry(tape, node)

    def scratch(self, tape: Tape, node: Node) -> dict[str, str]:
        return {}


class Forward(TiedForward):
    name = "local2d.forward"
    loop = Loop(
        _local_loops.forward,
        WINDOWED,
        takes=_local_loops.takes,
        otherwise=Loop(_long_loops.local, WINDOWED, takes=_long_loops.takes),
    )
    tying = Untied


class Transposed(TiedTransposed):
    name = "local2d.transposed"
    loop = Loop(_local_loops.transposed, {**WINDOWED, **onto.ADDED})
    tying = Untied


class Update(WeightedUpdate):
    """The sum of a weight is the product of its position's signal and tap, that of a bias the signal."""

    name = "local2d.update"
    loop = Loop(_local_loops.update, {**WINDOWED, **RATES}, row_tables)
    operands = UPDATED
    attributes = within(GEOMETRY, WeightedUpdate.attributes)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return conv_sizes(a, Untied)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return conv_misfit(a) or super().misfit(t, a)

    def changes(self, t: Arrays, a: Attrs) -> tuple[NDArray[np.bool_], Change]:
        g, filters = Window.from_attrs(a), int(a["filters"])
        seen = see(g, centred(t["x"], a))

        def change(device: Index, row: Index) -> tuple[numeric.Int, numeric.Int]:
            d = t["d"][device, row].astype(np.int32)
            group = row % filters // (filters // g.groups)
            return d[:, None] * seen[device, group, row // filters].astype(np.int32), d

        return t["d"] != 0, change

    def gradient(self, t: Arrays, a: Attrs) -> tuple[np.ndarray, np.ndarray]:
        g, filters = Window.from_attrs(a), int(a["filters"])
        row = np.arange(t["d"].shape[1])
        group = row % filters // (filters // g.groups)
        return t["d"][:, :, None] * see(g, t["x"])[:, group, row // filters], t["d"]

    def case(self, rng: np.random.Generator) -> Case:
        g, m, attrs = random_case(rng, Untied)
        size, signals = g.height * g.width * g.channels, g.positions * attrs["filters"]
        return update_case(rng, (size, signals, m, g.taps), attrs)
