"""Test vectors of the arithmetic, as docs/NUMERICS.md has them: `python -m synapcc.gen.vectors` prints them.

They are chosen by rule, so a new primitive brings its own.
"""

from __future__ import annotations

import numpy as np

from . import numeric
from .ir.format import Format, Scaled
from .numeric import PRIMITIVES, Primitive, gemmlowp
from .ops import kernel
from .ops._litert import FIXED, LOOKED_UP, entries
from .ops.softmax_error import probabilities

EACH = 8
EXPONENTS = (0, -1, -(2**24), -(2**26), -123456789, -(2**31))
FEW = 64  # an argument with no more values is handed over as a number, as kernels hand over shifts


def evaluate(p: Primitive, arguments: list[int]) -> int:
    """One value of a primitive."""
    given = [
        a if hi - lo < FEW else np.array([a], np.int32 if hi < 2**31 else np.uint32)
        for a, (_, _, lo, hi) in zip(arguments, p.args, strict=True)
    ]
    return int(np.asarray(p.py(*given)).ravel()[0])


def arguments_of(p: Primitive) -> list[list[int]]:
    """Arguments of a primitive's vectors: the ends of its domain, then scattered ones of all sizes."""
    found: list[list[int]] = []
    number = 0
    while len(found) < EACH:
        if number < 2:
            candidate = [(lo, hi)[number] for _, _, lo, hi in p.args]
        else:
            candidate = [_scattered(number, i, lo, hi) for i, (_, _, lo, hi) in enumerate(p.args)]
        number += 1
        allowed = p.given is None or bool(p.given(*(np.array([a], np.int64) for a in candidate))[0])
        if allowed and candidate not in found:
            found.append(candidate)
    return found


def _scattered(number: int, place: int, lo: int, hi: int) -> int:
    """An argument from the whole domain, or from near zero, where a domain has the most to get wrong."""
    word = int(numeric.mix(np.uint32(number), place))
    value = lo + word % (hi - lo + 1)
    if number % 2 or hi - lo < FEW:
        return value
    small = word % 5000 * (-1 if number % 4 else 1)
    return small if lo <= small <= hi else max(lo, 0) + abs(small) % (hi - max(lo, 0) + 1)


def text() -> str:
    """All vectors, ready for the document."""
    lines = ["```"]
    for p in PRIMITIVES.values():
        for arguments in arguments_of(p):
            lines.append(f"{p.name}({', '.join(map(str, arguments))}) = {evaluate(p, arguments)}")
        lines.append("")
    keys = numeric.row_keys(1, 2, 3, 3)
    lines += [f"row_keys(seed 1, step 2, tensor 3), rows 0 to 2 = {', '.join(map(str, keys.tolist()))}"]
    lines += [
        f"lanes 0 to 6 of row {i} = {', '.join(map(str, row))}"
        for i, row in enumerate(numeric.lanes(keys, 7).tolist())
    ]
    lines.append("")
    for ternary in (False, True):
        m = numeric.feedback_matrix(1, 0, 2, 9, ternary)
        kind = "ternary" if ternary else "uniform"
        lines += [
            f"feedback_matrix(seed 1, tensor 0), {kind}, row {i} = {', '.join(map(str, row))}"
            for i, row in enumerate(m.tolist())
        ]
    lines.append("")
    for frac, z in (
        (0, (0, 0)),
        (8, (100, -100, 0)),
        (12, (5000, -3000, 4999, 32767)),
        (-4, (3, 2)),
        (15, (32767, -32768, 0, 0, 1)),
    ):
        e = probabilities(np.array([z], np.int16), frac)[0].tolist()
        lines.append(
            f"probabilities of logits {', '.join(map(str, z))} at frac {frac} = {', '.join(map(str, e))}"
        )
    return "\n".join([*lines, "", *_litert(), "```"])


def _litert() -> list[str]:
    """What gen/numeric/gemmlowp.py and gen/ops/_litert.py give."""
    lines = [f"exp_neg({x}) = {int(gemmlowp.exp_neg(np.array(x, np.int32)))}" for x in EXPONENTS]
    lines += [f"inverse_root({v}) = {', '.join(map(str, gemmlowp.inverse_root(v)))}" for v in (1, 2, 3, 255)]
    x, y = Scaled((0.05,), (3,)), Scaled((0.03,), (-10,))
    for fn in (*FIXED, *LOOKED_UP):
        some = entries(fn, 0.1, x, y, fn)[::32].clip(-128, 127)
        lines.append(f"{fn} of -128, -96 .. 96 from {x} to {y} = {', '.join(map(str, some))}")
    rows = ((0.1, (0, 0)), (0.5, (20, -7, 19, 0)), (1 / 16, (127, -128, 126, 100, 5)))
    for name, out in (
        ("softmax.forward", Scaled((1 / 256,), (-128,))),
        ("softmax.log", Scaled((1 / 16,), (127,))),
    ):
        for scale, row in rows:
            given = f"{', '.join(map(str, row))} at scale {scale:g}"
            lines.append(f"{name} of {given} = {', '.join(map(str, _row(name, row, scale, out)))}")
    return lines


def _row(name: str, x: tuple[int, ...], scale: float, out: Scaled) -> list[int]:
    """One row through a kernel of gen/ops/softmax.py."""
    k, a = kernel(name), {"beta": 1.0, "size": len(x)}
    f = {"x": Format("int8", Scaled((scale,)), -128, 127), "y": Format("int8", out, -128, 127)}
    table = k.derived("table", f, a, name)[1].astype(np.int32)
    y = np.zeros((1, len(x)), np.int8)
    k.integer({"x": np.array([x], np.int8), "table": table[None], "y": y}, k.lower(f, a, name))
    answer: list[int] = y[0].tolist()
    return answer


if __name__ == "__main__":
    print(text())
