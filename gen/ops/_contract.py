"""What a kernel takes, as it declares it: attributes and their ranges, types and shapes of its operands.

A step that compile made and one that stands in a Plan read from a file are held against the same words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..ir.plan import PlanTensor
from ._shifts import MAX_SHIFT

Range = tuple[int, int]
Tensors = Mapping[str, PlanTensor]

_OPERAND = re.compile(r"([a-z0-9|]+|=\w+) \[(\w+(?:, \w+)*)\]")


@dataclass(frozen=True, slots=True)
class Operand:
    """types: the types that it may have; like: the role whose type it has instead
    dims:  its shape, each dimension a number or a name, which stands for one size in all operands
    """

    types: tuple[str, ...]
    like: str
    dims: tuple[str, ...]


def takes(*others: Mapping[str, Operand], **roles: str) -> Mapping[str, Operand]:
    """Operands by role, those of `others` first, each as "TYPES [DIMS]".

    TYPES are names with | between them, or =ROLE. ValueError where one is neither.
    """
    found = {role: operand for other in others for role, operand in other.items()}
    for role, text in roles.items():
        parsed = _OPERAND.fullmatch(text)
        if parsed is None:
            raise ValueError(f'operand {role} is no "int8 [n]" or "=x [n]": {text}')
        like = parsed[1].removeprefix("=") if parsed[1].startswith("=") else ""
        found[role] = Operand(() if like else tuple(parsed[1].split("|")), like, tuple(parsed[2].split(", ")))
    return found


def within(*others: Mapping[str, Range], **attributes: Range) -> Mapping[str, Range]:
    """Attributes by name, each with its lowest and highest value, those of `others` first."""
    return {name: limits for group in (*others, attributes) for name, limits in group.items()}


SIZE: Range = (1, 2**31 - 1)
INT8: Range = (-128, 127)
INT16: Range = (-(2**15), 2**15 - 1)
WORD: Range = (0, 2**32 - 1)
HELD = within(lo=(-(2**31), 0), hi=(0, 2**31 - 1))
"""The limits that a result is held within: 0 lies between them."""
BETWEEN = within(lo=(-(2**31), 2**31 - 1), hi=(-(2**31), 2**31 - 1))
"""Limits that 0 need not lie between, `lo` not above `hi` (`crossed`)."""
ADDEND: Range = (-(2**31) + 1, 2**31 - 1)
"""What zero points bring to a sum that is shifted then."""
REQUANTISED = within(HELD, shift=(0, MAX_SHIFT))
ROUNDED = within(rounding=(0, 2), seed=WORD, tensor=WORD)
"""How a change is rounded: numeric.Rounding."""


def crossed(a: Mapping[str, Any]) -> str:
    """Whether a lower limit lies above its upper one: what to say of it."""
    return f"its limits are {a['lo']} to {a['hi']}" if a["lo"] > a["hi"] else ""


def attributes_fault(declared: Mapping[str, Range], spare: Collection[str], a: Mapping[str, Any]) -> str:
    """The first attribute that is missing, unknown or beyond its range; "" if there is none.

    spare: those that may be missing
    """
    for name in (*declared, *a):
        if name not in declared:
            return f"it has no attribute {name}"
        if name not in a:
            if name not in spare:
                return f"attribute {name} is missing"
            continue
        lo, hi = declared[name]
        if type(a[name]) is not int or not lo <= a[name] <= hi:
            return f"attribute {name} is {a[name]}, {lo} to {hi} are possible"
    return ""


def operands_fault(declared: Mapping[str, Operand], t: Tensors, sizes: Mapping[str, int]) -> str:
    """The first operand whose type or shape is not as declared; "" if there is none.

    sizes: names of dimensions whose size follows from attributes
    """
    known = dict(sizes)
    for role, tensor in t.items():
        if role not in declared:
            return f"it does not say what operand {role} is"
        operand = declared[role]
        types = (t[operand.like].dtype,) if operand.like else operand.types
        if tensor.dtype not in types:
            return f"operand {role}, {tensor.name}, is {tensor.dtype}, not {' or '.join(types)}"
        pairs = list(zip(operand.dims, tensor.shape, strict=False))
        fits = all(n == (int(d) if d.isdigit() else known.setdefault(d, n)) for d, n in pairs)
        if len(tensor.shape) != len(operand.dims) or not fits:
            dims = [f"{d} = {known[d]}" if d in known else d for d in operand.dims]
            return f"operand {role}, {tensor.name}, has shape {list(tensor.shape)}, not [{', '.join(dims)}]"
    return ""


def aliased(roles: Collection[str], changing: Collection[str], t: Tensors) -> str:
    """A tensor that is changed under one role and stands under another one, too; "" if there is none."""
    for role in changing:
        for other in roles:
            if other != role and {role, other} <= t.keys() and t[role].name == t[other].name:
                return f"operands {role} and {other} are both {t[role].name}"
    return ""


def beyond(t: PlanTensor, lo: int, hi: int) -> str:
    """Whether a value from lo to hi may lie outside of the limits of `t`: what to say of it."""
    return "" if t.lo <= lo and hi <= t.hi else f"{t.name} would hold {lo} to {hi}, and may {t.lo} to {t.hi}"


def either(attribute: str, role: str, t: Tensors, a: Mapping[str, Any]) -> str:
    """A kernel takes the attribute, or in its place the operand `role`, with a number for each place."""
    return "" if (attribute in a) != (role in t) else f"it takes either {attribute} or operand {role}"
