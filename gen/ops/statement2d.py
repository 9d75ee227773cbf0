"""What an equation of a rule file does to a convolution, beyond its own update: sums of products.

A layer's signals have a value at each position of its map, and its input is seen by them through a window: at
position p tap i of pre is what the window of p sees there, 0 beyond the map. `tied` changes weights [filters,
taps] that all positions share, so that a product of signals stands for its sum over the positions; what is
changed itself, W, stands for no position. `untied` changes weights [positions * filters, taps], each by the
products of its own position. `bias` is `tied` of biases.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..ir.plan import PlanTensor
from . import Arrays, Attrs, Case, Cost, Format, Variant
from . import _terms as terms
from ._contract import HELD, ROUNDED, SIZE, Tensors, takes, within
from ._loops import WINDOWED, Loop
from ._statement2d_loops import bias as bias_loop
from ._statement2d_loops import tied as tied_loop
from ._statement2d_loops import untied as untied_loop
from ._tying import Tied as TiedWeights
from ._tying import copies, grouped, parts
from ._window import Window, see
from .conv2d import GEOMETRY, conv_misfit, conv_sizes, random_case
from .local2d import Untied as UntiedWeights
from .statement import COLUMNS, GROUPS, OF_MATRIX, OF_VECTOR, ROWS, SIGNALS, Statement, some, words


def _tables(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, NDArray[Any]]:
    return {"parts": terms.table(a, OF_MATRIX), **words(t["w"].shape[1], a)}


def _vector_tables(t: Mapping[str, PlanTensor], a: Attrs) -> dict[str, NDArray[Any]]:
    return {"parts": terms.table(a, OF_VECTOR), **words(t["y"].shape[0], a)}


class Mapped(Statement):
    """Of signals that have a value at each position."""

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        plain = super().variant(kernel_set, t, a)
        return replace(plain, numbers={**plain.numbers, **terms.narrow(t, a, self.factors)})


class Convolved(Mapped):
    """w -= round(sum of c · S · w^r), S the sum, or one, of d^p[o] · x^q[i] at a position; r 0 or 1."""

    reads = (*ROWS, *COLUMNS, "step")
    updates = ("w", "saturated")
    optional = (*ROWS, *COLUMNS)
    factors = OF_MATRIX
    target = "w"
    operands = takes(
        {},
        **dict.fromkeys(ROWS, "int8|int16 [outputs]"),
        **dict.fromkeys(COLUMNS, "int8|int16 [input]"),
        step="uint32 [1]",
        w="int8|int16 [rows, taps]",
        saturated="uint32 [1]",
    )
    attributes = within(GEOMETRY, HELD, ROUNDED, terms.attributes(len(OF_MATRIX)))
    spare = terms.SPARE
    tying: ClassVar[type[TiedWeights]]

    def sizes(self, a: Attrs) -> dict[str, int]:
        return conv_sizes(a, self.tying)

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return conv_misfit(a) or super().misfit(t, a)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return super().lower(f, a, where) | {name: int(a[name]) for name in GEOMETRY}

    def sums(self, t: Arrays, a: Attrs, device: int) -> NDArray[np.int64]:
        one = {role: v[device : device + 1] for role, v in t.items()}
        found: NDArray[np.int64] = self._total(one, a, np.int64)[0]
        return found

    def _total(self, t: Mapping[str, NDArray[Any]], a: Attrs, kind: Any) -> NDArray[Any]:
        found: Any = kind(0)
        for part in terms.parts(a, self.factors):
            made = terms.scaled(part, kind)
            down, across = (terms.product(part, t, roles, kind) for roles in (ROWS, COLUMNS))
            if down is not None or across is not None:
                made = made * self.met(Window.from_attrs(a), int(a["filters"]), down, across)
            found = found + (made * t["w"].astype(kind) if "w" in part.powers else made)
        return np.asarray(np.broadcast_to(found, t["w"].shape))

    @abstractmethod
    def met(
        self, g: Window, filters: int, down: NDArray[Any] | None, across: NDArray[Any] | None
    ) -> NDArray[Any]:
        """[D, rows, taps, or 1] of signals [D, positions * filters] and inputs [D, size], one or both."""

    def integer(self, t: Arrays, a: Attrs) -> None:
        self.changed(t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        for part in parts(len(t["w"]), Window.from_attrs(a)):
            some_devices = {role: copies(v, part) for role, v in t.items()}
            t["w"][part] -= self._total(some_devices, a, t["w"].dtype.type)

    def case(self, rng: np.random.Generator) -> Case:
        g, rows, attrs = random_case(rng, self.tying)
        wide = bool(rng.integers(2))
        bits = int(rng.integers(10, 17)) if wide else 8
        w = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (rows, g.taps))
        arrays = some(rng, ROWS, g.positions * attrs["filters"], 2) | some(rng, COLUMNS, g.input_size, 2)
        arrays |= {"step": rng.integers(0, 2**32, 1, np.uint32), "w": w.astype(np.int16 if wide else np.int8)}
        arrays |= {"saturated": np.zeros(1, np.uint32)}
        made = self.drawn(rng, arrays, bits, OF_MATRIX, "w", self.times(g))
        return Case(made.arrays, {**made.attrs, **attrs}, made.limits)

    @staticmethod
    def times(g: Window) -> int:
        """How many positions a product is summed over."""
        return 1


class Tied(Convolved):
    """One row a filter: S is a sum over the positions."""

    name = "statement2d.tied"
    loop = Loop(tied_loop, {**WINDOWED, **GROUPS}, _tables)
    attributes = within(Convolved.attributes, summed=SIZE)
    tying = TiedWeights

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return super().misfit(t, a) or unsummed(a, Window.from_attrs(a).positions)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return super().lower(f, a, where) | {"summed": int(a["summed"])}

    def met(
        self, g: Window, filters: int, down: NDArray[Any] | None, across: NDArray[Any] | None
    ) -> NDArray[Any]:
        if across is None:
            assert down is not None
            return np.asarray(down.reshape(len(down), -1, filters).sum(axis=1)[..., None])
        seen = see(g, across)
        if down is None:
            return np.asarray(seen.sum(axis=2).repeat(filters // g.groups, axis=1))
        return np.asarray(np.matmul(grouped(g, down).swapaxes(-1, -2), seen).reshape(len(seen), -1, g.taps))

    @staticmethod
    def times(g: Window) -> int:
        return g.positions

    def case(self, rng: np.random.Generator) -> Case:
        case = super().case(rng)
        return Case(
            case.arrays, {**case.attrs, "summed": Window.from_attrs(case.attrs).positions}, case.limits
        )


class Untied(Convolved):
    """One row a filter and position: S is of that position."""

    name = "statement2d.untied"
    loop = Loop(untied_loop, {**WINDOWED, **GROUPS}, _tables)
    tying = UntiedWeights

    def met(
        self, g: Window, filters: int, down: NDArray[Any] | None, across: NDArray[Any] | None
    ) -> NDArray[Any]:
        row = np.arange(g.positions * filters)
        made = None if down is None else down[..., None]
        if across is None:
            return np.asarray(made)
        seen = see(g, across)[:, row % filters // (filters // g.groups), row // filters]
        return np.asarray(seen if made is None else made * seen)


class Bias(Mapped):
    """y -= round(sum of c · S · y^r), S the sum of the product of v^p over the positions, r 0 or 1."""

    name = "statement2d.bias"
    loop = Loop(bias_loop, GROUPS, _vector_tables)
    reads = (*SIGNALS, "step")
    updates = ("y", "saturated")
    optional = SIGNALS
    factors = OF_VECTOR
    operands = takes(
        {},
        **dict.fromkeys(SIGNALS, "int8|int16 [outputs]"),
        step="uint32 [1]",
        y="int32 [n]",
        saturated="uint32 [1]",
    )
    attributes = within(HELD, ROUNDED, terms.attributes(len(OF_VECTOR)), summed=SIZE)
    spare = terms.SPARE

    def misfit(self, t: Tensors, a: Attrs) -> str:
        sizes = {t[role].shape[0] for role in SIGNALS if role in t}
        positions = max(sizes, default=0) / t["y"].shape[0]
        return super().misfit(t, a) or (unsummed(a, positions) if sizes else "")

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return super().lower(f, a, where) | {"summed": int(a["summed"])}

    def _product(self, part: terms.Part, t: Mapping[str, NDArray[Any]], kind: Any) -> Any:
        made = terms.product(part, t, SIGNALS, kind)
        n = t["y"].shape[-1]
        total: Any = kind(1)
        if made is not None:
            total = made.reshape(*made.shape[:-1], -1, n).sum(axis=-2)
        return total * t["y"].astype(kind) if "y" in part.powers else total

    def integer(self, t: Arrays, a: Attrs) -> None:
        self.changed(t, a)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][...] -= self._total(t, a, t["y"].dtype.type)

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(macs=math.prod(shapes["y"]) * sum(part.times for part in terms.parts(a, self.factors)))

    def case(self, rng: np.random.Generator) -> Case:
        n, positions, bits = int(rng.integers(1, 12)), int(rng.integers(1, 20)), 25
        y = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), n).astype(np.int32)
        arrays = some(rng, SIGNALS, n * positions, 3) | {"step": rng.integers(0, 2**32, 1, np.uint32), "y": y}
        made = self.drawn(
            rng, arrays | {"saturated": np.zeros(1, np.uint32)}, bits, OF_VECTOR, "y", positions
        )
        return Case(made.arrays, {**made.attrs, "summed": positions}, made.limits)


def unsummed(a: Attrs, positions: float) -> str:
    """Whether a step says that products are summed over other positions than there are."""
    return "" if a["summed"] == positions else f"its products are sums of {a['summed']}, not {positions:g}"
