"""What a rule asks for in `[options]` of a rule file: names, ranges, defaults, and errors of one kind."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ..words import what_is
from .table import Table

Setting = int | float | str


@dataclass(frozen=True, slots=True)
class Option(ABC):
    """One option; `doc` is what `synapcc rules` says of it."""

    name: str
    doc: str

    @property
    @abstractmethod
    def default(self) -> Setting:
        """The value where the rule file says nothing."""

    @abstractmethod
    def read(self, table: Table) -> Setting:
        """The value in the table; CompileError where it is none of those allowed."""


@dataclass(frozen=True, slots=True)
class Integer(Option):
    """A whole number from low to high."""

    low: int
    high: int
    start: int

    @property
    def default(self) -> int:
        return self.start

    def read(self, table: Table) -> int:
        return table.integer(self.name, self.low, self.high, self.start)


@dataclass(frozen=True, slots=True)
class PowerOfTwo(Option):
    """2^k, k from low to high."""

    low: int
    high: int
    start: float

    @property
    def default(self) -> float:
        return self.start

    def read(self, table: Table) -> float:
        return table.power_of_two(self.name, self.low, self.high, self.start)


@dataclass(frozen=True, slots=True)
class Choice(Option):
    """One of some words, the first the default."""

    words: tuple[str, ...]

    @property
    def default(self) -> str:
        return self.words[0]

    def read(self, table: Table) -> str:
        return table.choice(self.name, self.words, self.default)


@dataclass(frozen=True, slots=True)
class Quantity(Option):
    """A number from low to high of a unit, "" for none; it must be given where `start` is None."""

    low: float
    high: float
    start: float | None
    unit: str

    @property
    def default(self) -> float:
        return 0.0 if self.start is None else self.start

    def read(self, table: Table) -> float:
        return table.number(self.name, self.low, self.high, self.start, self.unit)


@dataclass(frozen=True, slots=True)
class Word(Option):
    """A name that the file chose elsewhere; "" where it says none."""

    @property
    def default(self) -> str:
        return ""

    def read(self, table: Table) -> str:
        value = table.get(self.name)
        if value is None or isinstance(value, str):
            return value or ""
        raise table.error(self.name, f"is {what_is(value)}", "give a name")


@dataclass(frozen=True, slots=True)
class Numbers(Option):
    """Several numbers of a unit, `least` to `most` of them; it must be given. Its value is a text, one number
    behind another, which a file may also say."""

    least: int
    most: int
    unit: str

    @property
    def default(self) -> str:
        return ""

    def read(self, table: Table) -> str:
        value = table.get(self.name)
        parts = value.split() if isinstance(value, str) else value
        hint = f"give {self.least} to {self.most} numbers, as [1, 2.5, 4]"
        if not isinstance(parts, list):
            raise table.error(self.name, f"is {what_is(value)}" if value is not None else "is missing", hint)
        try:
            found = [float(n) for n in parts if not isinstance(n, bool)]
        except (TypeError, ValueError, OverflowError):
            found = []
        if len(found) != len(parts) or not all(map(math.isfinite, found)):
            raise table.error(self.name, "holds what is no number", hint)
        if not self.least <= len(found) <= self.most:
            raise table.error(self.name, f"has {len(found)} numbers", hint)
        return " ".join(map(repr, found))


Settings = tuple[tuple[str, Setting], ...]


def read_options(table: Table, key: str, rule: str, allowed: Sequence[Option]) -> Settings:
    """What table `key` sets otherwise than by default. CompileError for what is no option of the rule."""
    if table.get(key) is None:
        return ()
    if not allowed:
        raise table.error(key, f"are given, but rule {rule} has none", f"drop [{key}]")
    own = table.subtable(key, [o.name for o in allowed])
    found = [(o.name, o.read(own), o.default) for o in allowed]
    return tuple((name, value) for name, value, default in found if value != default)
