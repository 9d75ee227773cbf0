"""Random .tflite files of several operators that are one function of each value of an int8 tensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from lite import Author

Rng = np.random.Generator
Held = tuple[int, float, int]
"""A tensor, its scale and its zero point."""
SIZE = 256
COMPARISONS = ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL")
OPTIONS = {
    **{op: op.title().replace("_", "") + "Options" for op in COMPARISONS},
    **{op: op.title() + "Options" for op in ("ABS", "ADD", "DIV", "EXP", "MUL", "SUB")},
    "LEAKY_RELU": "LeakyReluOptions",
    "LOGICAL_AND": "LogicalAndOptions",
    "LOGICAL_NOT": "LogicalNotOptions",
    "LOGICAL_OR": "LogicalOrOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "SELECT_V2": "SelectV2Options",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptions",
}


class Composer:
    """Writes operators on tensors of one shape, random ones."""

    def __init__(self, rng: Rng) -> None:
        self.rng, self.a, self.count = rng, Author(), 0
        self.shape = (1, 16, 16) if rng.integers(2) else (1, SIZE)
        self.whole = [self.tensor(*self.pair())]

    def pair(self) -> tuple[float, int]:
        """A scale below 1, often a power of two, and a zero point."""
        log = self.rng.uniform(-7, -0.1)
        scale = float(np.float32(2.0 ** (log if self.rng.integers(3) else np.floor(log))))
        return scale, int(self.rng.choice([-128, 0, 127, self.rng.integers(-128, 128)]))

    def tensor(self, scale: float, zero: int) -> Held:
        self.count += 1
        return self.a.tensor(f"t{self.count}", self.shape, scale=scale, zero=zero), scale, zero

    def other(self, kind: str) -> int:
        self.count += 1
        return self.a.tensor(f"t{self.count}", self.shape, kind)

    def number(self, scale: float, zero: int, nonzero: bool = False) -> Held:
        """A constant of one element."""
        self.count += 1
        value = int(self.rng.integers(-128, 128))
        if nonzero and value == zero:
            value = zero + 1 if zero < 127 else zero - 1
        return self.a.tensor(f"c{self.count}", (), scale=scale, zero=zero, data=value), scale, zero

    def drawn(self) -> Held:
        return self.whole[int(self.rng.integers(len(self.whole)))]

    def write(self, op: str, inputs: list[int], out: int, version: int = 2, **fields: object) -> int:
        self.a.op(op, inputs, [out], OPTIONS.get(op, ""), version, **fields)
        return out

    # ---- what is drawn: each adds a tensor --------------------------------------------------------

    def sum(self, out: tuple[float, int] | None = None) -> None:
        """A sum, difference, product or squared difference, with a constant or another one."""
        op = str(self.rng.choice(["ADD", "SUB", "MUL", "SQUARED_DIFFERENCE"]))
        x = self.drawn()
        y = self.drawn() if self.rng.integers(2) or op == "SQUARED_DIFFERENCE" else self.number(*self.pair())
        sides = [x[0], y[0]][:: 1 if self.rng.integers(2) else -1]
        scale, zero = out or (max(x[1], y[1]) * 2.0 ** self.rng.uniform(-2, 1), self.pair()[1])
        if op in ("MUL", "SQUARED_DIFFERENCE") and out is None:
            scale = x[1] * y[1] * 2.0 ** self.rng.uniform(2, 7)
        scale = float(np.float32(min(scale, 0.9)))
        z = self.tensor(scale, zero)
        fields = {"fusedActivationFunction": int(self.rng.integers(4))} if op in ("ADD", "SUB", "MUL") else {}
        self.write(op, sides, z[0], **fields)
        self.whole.append(z)

    def quotient(self) -> None:
        x, y = self.drawn(), self.number(*self.pair(), nonzero=True)
        z = self.tensor(
            float(np.float32(min(x[1] / y[1] * 2.0 ** self.rng.uniform(-6, 0), 0.9))), self.pair()[1]
        )
        self.write("DIV", [x[0], y[0]], z[0])
        self.whole.append(z)

    def function(self) -> None:
        op = str(self.rng.choice(["ABS", "EXP", "LEAKY_RELU"]))
        x, z = self.drawn(), self.tensor(*self.pair())
        self.write(
            op, [x[0]], z[0], 1 if op == "EXP" else 2, **({"alpha": 0.3} if op == "LEAKY_RELU" else {})
        )
        self.whole.append(z)

    def extreme(self) -> None:
        x = self.drawn()
        z = self.tensor(*x[1:])
        self.write(str(self.rng.choice(["MAXIMUM", "MINIMUM"])), [x[0], self.number(*x[1:])[0]], z[0])
        self.whole.append(z)

    def truth(self) -> int:
        """A comparison, or two."""
        x = self.drawn()
        y = self.drawn() if self.rng.integers(2) else self.number(*self.pair())
        found = self.write(str(self.rng.choice(COMPARISONS)), [x[0], y[0]], self.other("BOOL"))
        if not self.rng.integers(3):
            return self.write("LOGICAL_NOT", [found], self.other("BOOL"), 1)
        if not self.rng.integers(3):
            op = str(self.rng.choice(["LOGICAL_AND", "LOGICAL_OR"]))
            return self.write(op, [found, self.truth()], self.other("BOOL"), 1)
        return found

    def choice(self) -> None:
        """A SELECT_V2 of two tensors of one format, or one and a constant."""
        yes = self.drawn()
        if self.rng.integers(2):
            no = self.number(*yes[1:])
        else:
            self.sum(yes[1:])
            no = self.whole[-1]
        sides = [yes[0], no[0]][:: 1 if self.rng.integers(2) else -1]
        z = self.tensor(*yes[1:])
        self.write("SELECT_V2", [self.truth(), *sides], z[0], 1)
        self.whole.append(z)

    def in_float(self) -> None:
        """Up to four operators in float32, between DEQUANTIZE and QUANTIZE."""
        x = self.drawn()
        real = self.write("DEQUANTIZE", [x[0]], self.other("FLOAT32"))
        first, kinds = real, ["ADD", "MUL", "MAXIMUM", "FLOOR", "ABS", "SELECT_V2", "SQUARE", "RELU6"]
        for _ in range(int(self.rng.integers(2, 5))):
            op = str(self.rng.choice(kinds))
            if op == "SQUARE":  # once: beyond 2^31 steps C leaves it to the processor
                kinds.remove(op)
            if op in ("ADD", "MUL", "MAXIMUM"):
                self.count += 1
                number = self.a.tensor(f"c{self.count}", (), "FLOAT32", data=[self.rng.normal()])
                real = self.write(op, [real, number], self.other("FLOAT32"), 1)
            elif op == "SELECT_V2":
                which = self.write("LESS", [first, real], self.other("BOOL"), 1)
                real = self.write(op, [which, real, first], self.other("FLOAT32"), 1)
            else:
                real = self.write(op, [real], self.other("FLOAT32"), 1)
        z = self.tensor(*self.pair())
        self.write("QUANTIZE", [real], z[0], 1)
        self.whole.append(z)

    def bytes(self) -> bytes:
        return self.a.bytes([self.whole[0][0]], [self.whole[-1][0]])


def composition(rng: Rng) -> bytes:
    """Some operators, the last of which has no form of its own in int8."""
    c = Composer(rng)
    makers: list[Callable[[], None]] = [c.sum, c.quotient, c.function, c.extreme, c.choice, c.in_float]
    for _ in range(int(rng.integers(0, 4))):
        makers[int(rng.integers(len(makers)))]()
    [c.choice, c.quotient, c.in_float][int(rng.integers(3))]()
    return c.bytes()
