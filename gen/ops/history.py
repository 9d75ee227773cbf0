"""What backpropagation through time keeps of a window: rows that a cursor walks over, forward and back.

A history has as many rows as steps that learn; a step writes into the row `cursor` mod `rows`, so that the
last ones stay (gen/rules/bptt.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from . import Arrays, Attrs, Bounds, Case, Cost, Kernel, Known
from ._contract import SIZE, Range, Tensors, takes, within
from ._loops import Cells, Loop


def _put(x: Cells, cursor: Cells, y: Cells, rows: int) -> None:
    at = np.int64(cursor[0]) % rows
    for i in range(len(x)):
        y[at * len(x) + i] = x[i]


def _take(x: Cells, cursor: Cells, y: Cells, rows: int) -> None:
    at = np.int64(cursor[0]) % rows
    for i in range(len(y)):
        y[i] = x[at * len(y) + i]


def _back(cursor: Cells, steps: int) -> None:
    at = np.int64(cursor[0])
    cursor[0] = steps - 1 if at == 0 else at - 1


def _clear(past: Cells, carry: Cells, window: Cells) -> None:
    for i in range(len(past)):
        past[i] = 0
    for i in range(len(carry)):
        carry[i] = 0
    for i in range(len(window)):
        window[i] = 0


class _Row(Kernel):
    """One row of a history. many, one: the roles of the history and of its row."""

    reads: ClassVar[tuple[str, ...]] = ("x", "cursor")
    attributes: ClassVar[Mapping[str, Range]] = within(rows=SIZE)
    many: ClassVar[str]
    one: ClassVar[str]

    def misfit(self, t: Tensors, a: Attrs) -> str:
        many, one = t[self.many].shape[0], t[self.one].shape[0]
        return "" if many == a["rows"] * one else f"{many} values are no {a['rows']} rows of {one}"

    def _rows(self, t: Arrays, a: Attrs) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """[D, rows, n], and which row of each device"""
        many = t[self.many]
        return many.reshape(len(many), a["rows"], -1), t["cursor"][:, 0].astype(np.intp) % a["rows"]

    def case(self, rng: np.random.Generator) -> Case:
        rows, n = int(rng.integers(1, 6)), int(rng.integers(1, 9))
        kind: type[np.signedinteger[Any]] = np.int8 if rng.integers(2) else np.int16
        top = int(np.iinfo(kind).max)
        arrays: dict[str, NDArray[Any]] = {
            self.many: rng.integers(-top - 1, top + 1, rows * n).astype(kind),
            "cursor": rng.choice(np.array([0, 1, 7, int(rng.integers(2**32)), 2**32 - 1], np.uint32), 1),
            self.one: rng.integers(-top - 1, top + 1, n).astype(kind),
        }
        return Case({role: arrays[role] for role in ("x", "cursor", "y")}, {"rows": rows}, {})


class Put(_Row):
    """Row `cursor` mod `rows` of y is x."""

    name = "history.put"
    loop = Loop(_put)
    updates = ("y",)
    operands = takes(x="int8|int16 [n]", cursor="uint32 [1]", y="=x [history]")
    many, one = "y", "x"

    def misfit(self, t: Tensors, a: Attrs) -> str:
        x, y = t["x"], t["y"]
        fits = y.lo <= x.lo and x.hi <= y.hi
        return super().misfit(t, a) or ("" if fits else f"{x.name} may hold what {y.name} may not")

    def integer(self, t: Arrays, a: Attrs) -> None:
        history, at = self._rows(t, a)
        history[np.arange(len(at)), at] = t["x"]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(writes=shapes["x"][0])


class Take(_Row):
    """y is row `cursor` mod `rows` of x."""

    name = "history.take"
    loop = Loop(_take)
    writes = ("y",)
    operands = takes(x="int8|int16 [history]", cursor="uint32 [1]", y="=x [n]")
    moves = True
    many, one = "x", "y"

    def integer(self, t: Arrays, a: Attrs) -> None:
        history, at = self._rows(t, a)
        t["y"][...] = history[np.arange(len(at)) if len(history) > 1 else 0, at]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        x, n = k["x"], k["y"].shape[0]
        return [], {"y": (x.lo, x.hi, min(x.l1, n * x.mag))}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost(reads=shapes["y"][0])


class Back(Kernel):
    """cursor = cursor - 1, or the last of `steps` where it is 0."""

    name = "history.back"
    loop = Loop(_back)
    updates = ("cursor",)
    operands = takes(cursor="uint32 [1]")
    attributes: ClassVar[Mapping[str, Range]] = within(steps=SIZE)

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"cursor": (0, a["steps"] - 1)}

    def integer(self, t: Arrays, a: Attrs) -> None:
        cursor = t["cursor"]
        cursor[...] = (cursor.astype(np.intp) + a["steps"] - 1) % a["steps"]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {}

    def case(self, rng: np.random.Generator) -> Case:
        steps = int(rng.integers(1, 6))
        at = np.array([int(rng.integers(steps))], np.uint32)
        return Case({"cursor": at}, {"steps": steps}, {"cursor": (0, steps - 1)})


class Clear(Kernel):
    """No signal has come from a later step yet: all zero."""

    name = "history.clear"
    loop = Loop(_clear)
    writes = ("past", "carry", "window")
    optional = ("carry", "window")
    operands = takes(past="int16 [units]", carry="int16 [units]", window="int16 [all]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        for array in t.values():
            array[...] = 0

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], dict.fromkeys(k, (0, 0, 0))

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(1, 9))
        arrays: dict[str, NDArray[Any]] = {"past": np.zeros(n, np.int16)}
        if rng.integers(2):
            arrays["carry"] = np.zeros(n, np.int16)
        if rng.integers(2):
            arrays["window"] = np.zeros(n * int(rng.integers(1, 4)), np.int16)
        return Case(arrays, {}, {})
