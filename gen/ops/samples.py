"""Tables of samples: the ring of the wearer's labelled samples in RAM, and base examples in flash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Kernel, Known, _labels
from ._contract import WORD, Range, Tensors, takes, within
from ._loops import Cells, Loop, helper, stream_key

KEPT = ("int8", "uint8", "int16", "uint16")
"""What a table may hold: inputs, labels, targets."""
ROWS: Range = (1, 2**16 - 1)  # of a table: numeric.scale_index draws no larger number


def _rows(index: np.ndarray, table: np.ndarray) -> NDArray[np.intp]:
    """Row numbers [devices].

    An index behind the table, which only a host that writes the state can make, means its last row.
    """
    rows: NDArray[np.intp] = np.minimum(index[:, 0], table.shape[1] - 1).astype(np.intp)
    return rows


def _values(rng: np.random.Generator, dtype: str, shape: int | tuple[int, int]) -> NDArray[Any]:
    """Any integers of the type."""
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


@helper
def row_of(index: Cells, table: Cells) -> Any:
    """As `_rows`, of one device."""
    return min(np.int64(index[0]), len(table) - 1)


@helper
def following(place: Any, rows: Any) -> Any:
    """The place behind `place` in a ring."""
    behind = np.uint32(place + np.uint32(1))
    return np.uint32(0) if behind >= rows else behind


@helper
def class_of(label: Any, classes: Any) -> Any:
    """The class that a label means: one behind the last, which only a host can make, is the last."""
    return min(np.int64(label), classes - 1)


def _seek(label: Cells, labels: Cells, count: Cells, next: Cells, held: Cells, rows: int) -> None:
    classes = len(held)
    for c in range(classes):
        held[c] = 0
    if count[0] < rows:
        return
    held[class_of(label[0], classes)] = 1
    most = np.int32(1)
    for i in range(rows):
        c = class_of(labels[i, 0], classes)
        held[c] = np.int32(held[c] + np.int32(1))
        most = max(most, held[c])
    place = np.uint32(next[0])
    while held[class_of(labels[place, 0], classes)] != most:  # a sample that is kept has such a class
        place = following(place, rows)
    next[0] = place


def _write(x: Cells, index: Cells, table: Cells) -> None:
    row = row_of(index, table)
    for i in range(len(x)):
        table[row, i] = x[i]


def _advance(next: Cells, count: Cells, rows: int) -> None:
    next[0] = following(next[0], rows)
    count[0] = count[0] + np.uint32(1) if count[0] < rows else np.uint32(rows)


def _read(table: Cells, index: Cells, x: Cells) -> None:
    row = row_of(index, table)
    for i in range(len(x)):
        x[i] = table[row, i]


def _pick(count: Cells, next: Cells, index: Cells, flag: Cells, rows: int) -> None:
    index[0] = next[0]
    flag[0] = next[0] < count[0]
    next[0] = following(next[0], rows)


def _draw(count: Cells, step: Cells, index: Cells, seed: int, tensor: int) -> None:
    index[0] = numeric.scale_index(stream_key(seed, step[0], tensor), count[0])


def _rewind(next: Cells) -> None:
    next[0] = 0


class Seek(Kernel):
    """Where a full ring lets go: next = the first place, from next on and round, whose label is of a class
    that most samples have, the new one counted in. Nothing where count < rows.

    held [classes]: how many samples each class has, the new one too; 0 where count < rows.
    """

    name = "samples.seek"
    loop = Loop(_seek)
    reads = ("label", "labels", "count")
    updates = ("next",)
    writes = ("held",)
    operands = takes(
        label=_labels.LABEL,
        labels="=label [rows, 1]",
        count="uint32 [1]",
        next="uint32 [1]",
        held="int32 [classes]",
    )
    attributes = within(rows=ROWS)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"rows": int(a["rows"])}

    def integer(self, t: Arrays, a: Attrs) -> None:
        rows, (devices, classes) = int(a["rows"]), t["held"].shape
        new = np.minimum(np.broadcast_to(t["label"], (devices, 1)), classes - 1).astype(np.intp)
        kept = np.broadcast_to(t["labels"][:, :, 0], (devices, rows))
        kept = np.minimum(kept, classes - 1).astype(np.intp)
        t["held"][...] = 0
        for i in np.flatnonzero(np.broadcast_to(t["count"][:, 0], devices) >= rows):
            held = np.bincount(np.append(kept[i], new[i]), minlength=classes)
            places = (int(t["next"][i, 0]) + np.arange(rows)) % rows
            t["held"][i] = held
            t["next"][i] = places[np.argmax(held[kept[i, places]] == held.max())]

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"next": (0, a["rows"] - 1), "count": (0, a["rows"])}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        most = a["rows"] + 1
        return [Accumulator("samples of a class", 0, most)], {"held": (0, most, most)}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        rows, classes = shapes["labels"][0], shapes["held"][0]
        return Cost(reads=3 * rows + classes, writes=rows + classes)

    def case(self, rng: np.random.Generator) -> Case:
        rows, classes = int(rng.integers(1, 20)), int(rng.choice([2, int(rng.integers(2, 8)), 300]))
        label = _labels.draw(rng, classes)
        drawn = np.append(rng.integers(0, classes, 3), classes)  # a few classes, and one that is none
        arrays: dict[str, NDArray[Any]] = {
            "label": label,
            "labels": rng.choice(drawn, (rows, 1)).astype(label.dtype),
            "count": rng.choice([rows, int(rng.integers(0, rows + 1))], 1).astype(np.uint32),
            "next": rng.integers(0, rows, 1).astype(np.uint32),
            "held": np.zeros(classes, np.int32),
        }
        return Case(arrays, {"rows": rows}, {"next": (0, rows - 1)})


class Write(Kernel):
    """table[index] = x."""

    name = "samples.write"
    loop = Loop(_write)
    reads = ("x", "index")
    updates = ("table",)
    operands = takes(x=f"{'|'.join(KEPT)} [n]", index="uint32 [1]", table="=x [rows, n]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["table"][np.arange(len(t["x"])), _rows(t["index"], t["table"])] = t["x"]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        lo, hi = min(k["x"].lo, k["table"].lo), max(k["x"].hi, k["table"].hi)
        return [], {"table": (lo, hi, int(np.prod(k["table"].shape)) * max(-lo, hi))}

    def case(self, rng: np.random.Generator) -> Case:
        rows, n, dtype = int(rng.integers(1, 9)), int(rng.integers(1, 20)), rng.choice(KEPT)
        arrays: dict[str, NDArray[Any]] = {
            "x": _values(rng, dtype, n),
            "index": rng.integers(0, rows + 2, 1).astype(np.uint32),
            "table": _values(rng, dtype, (rows, n)),
        }
        return Case(arrays, {}, {})


class Advance(Kernel):
    """next = next + 1, back to 0 at `rows`; count = count + 1 where it is below `rows`, else `rows`."""

    name = "samples.advance"
    loop = Loop(_advance)
    updates = ("next", "count")
    ring = ("next", "count")
    operands = takes(next="uint32 [1]", count="uint32 [1]")
    attributes = within(rows=ROWS)

    def integer(self, t: Arrays, a: Attrs) -> None:
        one = t["next"].dtype.type(1)
        following = t["next"] + one
        t["next"][...] = np.where(following >= a["rows"], 0, following)
        t["count"][...] = np.where(t["count"] < a["rows"], t["count"] + one, a["rows"])

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"next": (0, a["rows"] - 1), "count": (0, a["rows"])}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {}

    def case(self, rng: np.random.Generator) -> Case:
        rows = int(rng.integers(1, 5))
        arrays: dict[str, NDArray[Any]] = {
            "next": rng.integers(0, rows, 1).astype(np.uint32),
            "count": rng.integers(0, rows + 1, 1).astype(np.uint32),
        }
        return Case(arrays, {"rows": rows}, {})


class Read(Kernel):
    """x = table[index]."""

    name = "samples.read"
    loop = Loop(_read)
    reads = ("table", "index")
    writes = ("x",)
    operands = takes(table=f"{'|'.join(KEPT)} [rows, n]", index="uint32 [1]", x="=table [n]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        table = np.broadcast_to(t["table"], (len(t["index"]), *t["table"].shape[1:]))
        t["x"][...] = table[np.arange(len(t["index"])), _rows(t["index"], table)]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        n = k["x"].shape[0]
        return [], {"x": (k["table"].lo, k["table"].hi, n * k["table"].mag)}

    def case(self, rng: np.random.Generator) -> Case:
        rows, n, dtype = int(rng.integers(1, 9)), int(rng.integers(1, 20)), rng.choice(KEPT)
        arrays: dict[str, NDArray[Any]] = {
            "x": np.zeros(n, dtype),
            "index": rng.integers(0, rows + 2, 1).astype(np.uint32),
            "table": _values(rng, dtype, (rows, n)),
        }
        return Case(arrays, {}, {})


class Pick(Kernel):
    """The next index in order: index = next; next = next + 1, back to 0 at `rows`; flag = index < count."""

    name = "samples.pick"
    loop = Loop(_pick)
    reads = ("count",)
    updates = ("next",)
    writes = ("index", "flag")
    operands = takes(count="uint32 [1]", next="uint32 [1]", index="uint32 [1]", flag="uint8 [1]")
    attributes = within(rows=ROWS)

    def integer(self, t: Arrays, a: Attrs) -> None:
        index = t["next"].copy()
        following = index + index.dtype.type(1)
        t["index"][...] = index
        t["flag"][...] = index < t["count"]
        t["next"][...] = np.where(following >= a["rows"], 0, following)

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"next": (0, a["rows"] - 1), "index": (0, a["rows"] - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"index": (0, a["rows"] - 1, a["rows"] - 1), "flag": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        rows = int(rng.integers(1, 6))
        arrays: dict[str, NDArray[Any]] = {
            "count": rng.integers(0, rows + 1, 1).astype(np.uint32),
            "next": rng.integers(0, rows, 1).astype(np.uint32),
            "index": np.zeros(1, np.uint32),
            "flag": np.zeros(1, np.uint8),
        }
        return Case(arrays, {"rows": rows}, {})


class Draw(Kernel):
    """A random index below count, a function of seed, step and tensor; 0 where count is 0."""

    name = "samples.draw"
    loop = Loop(_draw)
    reads = ("count", "step")
    writes = ("index",)
    operands = takes(count="uint32 [1]", step="uint32 [1]", index="uint32 [1]")
    attributes = within(rows=ROWS, seed=WORD, tensor=WORD)

    def integer(self, t: Arrays, a: Attrs) -> None:
        step, count = t["step"].astype(np.uint32), t["count"].astype(np.uint32)
        word = numeric.mix(numeric.mix(np.uint32(a["seed"]), step), np.uint32(a["tensor"]))
        t["index"][...] = numeric.scale_index(word, count)

    real = integer

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {"index": (0, a["rows"] - 1)}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        kept = t["count"]
        return f"{kept.name} may be {kept.hi}, beyond {a['rows']} rows" if kept.hi > a["rows"] else ""

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"index": (0, a["rows"] - 1, a["rows"] - 1)}

    def case(self, rng: np.random.Generator) -> Case:
        rows = int(rng.integers(1, 1000))
        arrays: dict[str, NDArray[Any]] = {
            "count": rng.integers(0, rows + 1, 1).astype(np.uint32),
            "step": rng.integers(0, 2**32, 1).astype(np.uint32),
            "index": np.zeros(1, np.uint32),
        }
        attrs = {"rows": rows, "seed": int(rng.integers(2**32)), "tensor": int(rng.integers(64))}
        return Case(arrays, attrs, {})


class Rewind(Kernel):
    """next = 0."""

    name = "samples.rewind"
    loop = Loop(_rewind)
    writes = ("next",)
    operands = takes(next="uint32 [1]")

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["next"][...] = 0

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {}

    def case(self, rng: np.random.Generator) -> Case:
        return Case({"next": rng.integers(0, 9, 1).astype(np.uint32)}, {}, {})
