"""Vectors behind one another. Each input is brought to the output's Q format on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import numeric
from ..errors import CompileError
from ..graph import Node
from . import Arrays, Attrs, Bounds, Case, Format, Kernel, Known, Layer

if TYPE_CHECKING:
    from ..tape import Tape


class Concat(Layer):
    op = "concat"

    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        if any(len(s) != 1 for s in shapes):
            raise CompileError(
                node.name,
                f"inputs of shapes {list(shapes)}",
                "only vectors can be concatenated; flatten them first",
            )
        return (sum(s[0] for s in shapes),)

    def forward(self, tape: Tape, node: Node) -> None:
        y, offset = tape.activation(node), 0
        for name in node.inputs:
            tape.step("concat.copy", node, {"x": tape.value(name), "y": y}, offset=offset)
            offset += tape.shape(name)[0]

    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        out: dict[str, str] = {}
        offset = 0
        for i, name in enumerate(node.inputs):
            n = tape.shape(name)[0]
            if tape.wants_teach(name):
                part = tape.teach(f"{node.name}_input{i}", (n,), tie=teach)
                tape.step("concat.slice", node, {"d": teach, "g": part}, offset=offset)
                out[name] = (
                    tape.sum(name, out[name], part) if name in out else part
                )  # one tensor may stand twice
            offset += n
        return out

    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        if len(shapes) < 2 or any(len(s) != 1 for s in shapes):
            return None
        return Node("concat", "", tuple(f"in{i}" for i in range(len(shapes))), "out"), {}


class Copy(Kernel):
    """y[offset : offset + n] = x / 2^shift."""

    name = "concat.copy"
    reads = ("x",)
    updates = ("y",)

    def integer(self, t: Arrays, a: Attrs) -> None:
        n = t["x"].shape[1]
        v = numeric.saturate(numeric.shift_round(t["x"].astype(np.int32), a["shift"]), a["lo"], a["hi"])
        t["y"][:, a["offset"] : a["offset"] + n] = v

    def real(self, t: Arrays, a: Attrs) -> None:
        t["y"][:, a["offset"] : a["offset"] + t["x"].shape[1]] = t["x"]

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        return {"y": f["x"].frac}

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        shift = f["x"].frac - f["y"].frac
        if not 0 <= shift <= 30:
            raise CompileError(
                where,
                f"needs a shift of {shift}, 0 to 30 are possible",
                "rescale the inputs that are concatenated",
            )
        return {"offset": int(a["offset"]), "shift": shift, "lo": f["y"].lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"y": (a["lo"], a["hi"], k["y"].shape[0] * max(-a["lo"], a["hi"]))}

    def case(self, rng: np.random.Generator) -> Case:
        n, m = int(rng.integers(1, 30)), int(rng.integers(1, 30))
        x = rng.integers(-128, 128, n).astype(np.int8)
        y = rng.integers(-128, 128, n + m).astype(np.int8)
        return Case(
            {"x": x, "y": y},
            {"offset": int(rng.integers(0, m + 1)), "shift": int(rng.integers(0, 9)), "lo": -128, "hi": 127},
            {},
        )


class Slice(Kernel):
    """g = d[offset : offset + n]."""

    name = "concat.slice"
    reads = ("d",)
    writes = ("g",)

    def integer(self, t: Arrays, a: Attrs) -> None:
        t["g"][...] = t["d"][:, a["offset"] : a["offset"] + t["g"].shape[1]]

    real = integer

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"g": (k["d"].lo, k["d"].hi, min(k["d"].l1, k["g"].shape[0] * k["d"].mag))}

    def case(self, rng: np.random.Generator) -> Case:
        n, m = int(rng.integers(1, 30)), int(rng.integers(1, 30))
        d = rng.integers(-(2**15), 2**15, n + m).astype(np.int16)
        return Case({"d": d, "g": np.zeros(n, np.int16)}, {"offset": int(rng.integers(0, m + 1))}, {})
