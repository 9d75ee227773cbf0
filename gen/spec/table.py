"""Reading a TOML table so that a typo, a wrong type or a wrong value is one clear line."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..errors import CompileError
from ..words import nearest, short, what_is


def exponent(value: object) -> int | None:
    """k of a number that is exactly 2^k, or of the text "2^k"; None of all else."""
    if isinstance(value, str):
        found = re.fullmatch(r"2\^(-?\d{1,3})", value.strip(), re.ASCII)
        return int(found[1]) if found else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**64:
        return None
    half, k = math.frexp(value)
    return k - 1 if half == 0.5 else None


class Table:
    """A TOML table that holds no other keys than `keys`, read key by key."""

    def __init__(self, where: str, name: str, raw: Mapping[str, Any], keys: Sequence[str]) -> None:
        self.where, self.name, self.raw = where, name, raw
        for key in raw:
            if key not in keys:
                at = f"[{name}]" if name else "a rule file"
                hint = f"{nearest(key, keys)}allowed in {at} are {', '.join(keys)}"
                raise CompileError(where, f'there is no key "{short(key)}" in {at}', hint)

    def error(self, key: str, what: str, hint: str) -> CompileError:
        """What is wrong with a value of this table."""
        return CompileError(self.where, f"{self.name}.{key} {what}" if self.name else f"{key} {what}", hint)

    def get(self, key: str) -> object:
        """The value as it stands there, or None."""
        return self.raw.get(key)

    def table(self, key: str, like: type) -> Table:
        """The table `key`, whose keys are the fields of the dataclass `like`."""
        return self.subtable(key, [f.name for f in fields(like)])

    def subtable(self, key: str, keys: Sequence[str]) -> Table:
        """The table `key`, which may hold `keys`."""
        value = self.get(key)
        if not isinstance(value, dict):
            raise self.error(key, f"is {what_is(value)}, not a table", f"write [{key}] on a line of its own")
        return Table(self.where, key, value, keys)

    def choice(self, key: str, allowed: Sequence[str], default: str | None, more: str = "") -> str:
        """One of the words `allowed`. Without a default it must be there. more: where others come from."""
        value = self.get(key)
        listed = ", ".join(f'"{a}"' for a in allowed) + more
        if value is None:
            if default is None:
                raise self.error(key, "is missing", f"allowed are {listed}")
            return default
        if not isinstance(value, str):
            raise self.error(key, f"is {what_is(value)}", f"allowed are {listed}")
        if value not in allowed:
            raise self.error(key, f"is {what_is(value)}", f"{nearest(value, allowed)}allowed are {listed}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(key, f"is {what_is(value)}", "give true or false, without quotes")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None) -> int:
        """A whole number from `low` to `high`. Without a default it must be there."""
        value = self.get(key)
        allowed = f"give a whole number from {low} to {high}"
        if value is None:
            if default is None:
                raise self.error(key, "is missing", allowed)
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(key, f"is {what_is(value)}", allowed)
        return value

    def number(self, key: str, low: float, high: float, default: float | None, unit: str = "") -> float:
        """A number from `low` to `high`, of a unit if that is said. Without a default it must be there."""
        value = self.get(key)
        allowed = f"give a number from {low:g} to {high:g}{unit and f' {unit}'}"
        if value is None:
            if default is None:
                raise self.error(key, "is missing", allowed)
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.error(key, f"is {what_is(value)}", allowed)
        return float(value)

    def power_of_two(self, key: str, low: int, high: int, default: float) -> float:
        """A number that is exactly 2^k, k from `low` to `high`, or the text "2^k"."""
        value = self.get(key)
        if value is None:
            return default
        k = exponent(value)
        if k is None or not low <= k <= high:
            raise self.error(key, f"is {what_is(value)}", f'give a power of two, "2^{low}" to "2^{high}"')
        return 2.0**k
