"""How a tensor holds numbers: its type, its limits, and what its integers mean.

A meaning is an object. `PowerOfTwo` is what synapcc chooses itself: the kernels shift. `Scaled`, any scale
with a zero point, is what a caller's own numbers may have. What only moves, keeps or reports numbers asks
`real` and `units`; a kernel that shifts asks for `frac`, and refuses what has none. One that shifts and takes
a zero point as well (`Kernel.zeros`) asks for `power`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import CompileError, TermError

Real = NDArray[np.float64]


class NoPowerOfTwo(CompileError):
    """A frac was asked of a meaning that has none."""


class Meaning(ABC):
    """What integers stand for. Arrays are [..., *shape of the tensor]; what has a number for each row takes
    vectors [rows] and matrices [rows, n]."""

    @abstractmethod
    def real(self, v: ArrayLike) -> Real:
        """The real numbers that integers stand for."""

    @abstractmethod
    def units(self, x: ArrayLike) -> Real:
        """Real numbers as integers, rounded, ties to even, and not yet held within any limits."""

    def unit(self, x: float) -> int:
        """The integer of one real number, halves up, where rows are alike; not yet held within any limits."""
        zero, one = map(float, self.real([0.0, 1.0]))
        return math.floor((x - zero) / (one - zero) + 0.5)

    @property
    @abstractmethod
    def frac(self) -> int:
        """The n of v / 2^n, the least one where rows differ. NoPowerOfTwo where the scale is none."""

    @property
    def power(self) -> int:
        """The n of (v - zero point) / 2^n, as `frac` where the zero point is 0."""
        return self.frac

    @property
    def row_fracs(self) -> tuple[int, ...]:
        """One frac per row where rows have their own; empty if all are alike."""
        return ()

    @property
    @abstractmethod
    def step(self) -> float:
        """What one unit is worth, the largest where rows differ."""

    @property
    def nearest(self) -> int:
        """The n whose 2^-n is nearest to what one unit is worth, by their ratio."""
        return math.floor(0.5 - math.log2(self.step))

    @property
    def common(self) -> Meaning:
        """The meaning as a Plan has it: what rows have of their own stands in the shifts of their steps."""
        return self

    @abstractmethod
    def to_json(self) -> dict[str, Any]: ...

    @staticmethod
    def from_json(j: Mapping[str, Any]) -> Meaning:
        """From the keys that `to_json` gave, among others."""
        if "frac" in j:
            return PowerOfTwo(j["frac"], zero=j.get("zero", 0))
        return Scaled(tuple(j["scale"]), tuple(j["zero"]))


@dataclass(frozen=True, slots=True)
class PowerOfTwo(Meaning):
    """v stands for (v - zero) / 2^exponent; where `rows` are given, in row i for v / 2^rows[i], exponent
    being the least of them."""

    exponent: int
    rows: tuple[int, ...] = ()
    zero: int = 0

    def _factor(self, rank: int, sign: int) -> Any:
        if not self.rows:
            return 2.0 ** (sign * self.exponent)
        factor = 2.0 ** (sign * np.array(self.rows, np.float64))
        return factor[:, None] if rank == 2 else factor

    def real(self, v: ArrayLike) -> Real:
        values = np.asarray(v, np.float64)
        return np.asarray((values - self.zero) * self._factor(values.ndim, -1), np.float64)

    def units(self, x: ArrayLike) -> Real:
        values = np.asarray(x, np.float64)
        return np.asarray(np.rint(values * self._factor(values.ndim, 1)) + self.zero, np.float64)

    @property
    def frac(self) -> int:
        if self.zero:
            what = f"the numbers have {self}"
            raise NoPowerOfTwo("number format", what, "report this model: this kernel takes no zero point")
        return self.exponent

    @property
    def power(self) -> int:
        return self.exponent

    @property
    def row_fracs(self) -> tuple[int, ...]:
        return self.rows

    @property
    def step(self) -> float:
        return 2.0**-self.exponent

    @property
    def common(self) -> Meaning:
        return PowerOfTwo(self.exponent, zero=self.zero)

    def to_json(self) -> dict[str, Any]:
        return {"frac": self.exponent} | ({"zero": self.zero} if self.zero else {})

    def __str__(self) -> str:
        if self.rows:
            return "Q by row"
        return f"Q{self.exponent}" + (f", zero point {self.zero}" if self.zero else "")


@dataclass(frozen=True, slots=True)
class Scaled(Meaning):
    """v stands for (v - zero) * scale: one pair for all, or one for each row."""

    scale: tuple[float, ...]
    zero: tuple[int, ...] = (0,)

    def _pairs(self, rank: int) -> tuple[Any, Any]:
        if len(self.scale) == 1:
            return self.scale[0], self.zero[0]
        pair = np.array(self.scale, np.float64), np.array(self.zero, np.float64)
        return (pair[0][:, None], pair[1][:, None]) if rank == 2 else pair

    def real(self, v: ArrayLike) -> Real:
        values = np.asarray(v, np.float64)
        scale, zero = self._pairs(values.ndim)
        return np.asarray((values - zero) * scale, np.float64)

    def units(self, x: ArrayLike) -> Real:
        values = np.asarray(x, np.float64)
        scale, zero = self._pairs(values.ndim)
        return np.asarray(np.rint(values / scale) + zero, np.float64)

    @property
    def frac(self) -> int:
        what = f"the numbers have {self}, which is no power of two"
        raise NoPowerOfTwo("number format", what, "rescale them into a format of 2^-n where they come in")

    @property
    def step(self) -> float:
        return max(self.scale)

    def to_json(self) -> dict[str, Any]:
        return {"scale": self.scale, "zero": self.zero}

    def __str__(self) -> str:
        if len(self.scale) > 1:
            return "scale by row"
        return f"scale {self.scale[0]:.6g}, zero point {self.zero[0]}"


def misfit(meaning: Meaning, rows: int, lo: int, hi: int) -> str:
    """What is wrong with the meaning of a tensor of so many rows and these limits; "" if nothing is."""
    if isinstance(meaning, PowerOfTwo):
        if not all(type(n) is int for n in (meaning.exponent, *meaning.rows, meaning.zero)):
            return "has a number that is none"
        return "" if meaning.zero == 0 or lo <= meaning.zero <= hi else "has a zero point beyond its limits"
    assert isinstance(meaning, Scaled)
    if len(meaning.scale) != len(meaning.zero) or len(meaning.scale) not in (1, rows):
        return f"has {len(meaning.scale)} scales and {len(meaning.zero)} zero points for {rows} rows"
    if not all(type(s) is float and math.isfinite(s) and s > 0 for s in meaning.scale):
        return "has a scale that is no positive number"
    if not all(type(z) is int and lo <= z <= hi for z in meaning.zero):
        return "has a zero point beyond its limits"
    return ""


SCALED = 'layers whose scales a model file brings learn by "-rate * teach[o] * pre[i]" alone'


@contextmanager
def shifts(node: str, kernel: str, said: tuple[int, int] | None = None) -> Iterator[None]:
    """What a kernel is asked inside may need powers of two: CompileError, naming it, where there is none.

    said: as in Step
    """
    try:
        yield
    except NoPowerOfTwo as e:
        what = f"{kernel} shifts, and {e.what}"
        if said:
            raise TermError(node, what, SCALED, *said) from None
        raise CompileError(node, what, e.hint) from None


@dataclass(frozen=True, slots=True, init=False)
class Format:
    """How a tensor holds numbers: its type, what v means, and lo <= v <= hi always."""

    dtype: str
    meaning: Meaning
    lo: int
    hi: int

    def __init__(
        self, dtype: str, meaning: Meaning | int, lo: int, hi: int, row_fracs: tuple[int, ...] = ()
    ) -> None:
        """`meaning`, or the n of v / 2^n, and `row_fracs`, an n for each row where they have their own."""
        given = meaning if isinstance(meaning, Meaning) else PowerOfTwo(meaning, row_fracs)
        for name, value in (("dtype", dtype), ("meaning", given), ("lo", lo), ("hi", hi)):
            object.__setattr__(self, name, value)

    @property
    def frac(self) -> int:
        """As the meaning has it; NoPowerOfTwo where that has none."""
        return self.meaning.frac

    @property
    def power(self) -> int:
        """As the meaning has it; NoPowerOfTwo where its scale is none."""
        return self.meaning.power

    @property
    def row_fracs(self) -> tuple[int, ...]:
        return self.meaning.row_fracs
