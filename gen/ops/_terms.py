"""Sums of products whose factors are operands, as equations of a rule file ask for them: one shift a sum.

Term k is c_k * 2^s_k * the product of operands, each to the power that f_k has for it: digits of base 4, in
the order of the roles. Integers of all terms stand for multiples of one power of two then, so that their sum
is exact, in 64 bits; what is beyond the 30 bits that a rounding takes is dropped from below, which changes
no rounding that rounds to the nearest or at random. Where a step has `summed`, each product of signals stands
for the sum of so many of its kind, one a position of a map; what is changed itself has one place for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from ..errors import CompileError, TermError
from ._contract import Range, Tensors, within

TERMS = 6
BASE = 4  # powers up to 3
ALIGN, SUM, MAX_SHIFT, ROUNDED_BITS = 48, 62, 24, 30
ROOM = 56  # bits of a random term, of which there are a few

Reach = Mapping[str, int]


def attributes(roles: int) -> dict[str, Range]:
    """Those of a kernel whose factors are so many roles."""
    each: dict[str, Range] = {}
    for k in range(TERMS):
        each |= {f"c{k}": (-127, 127), f"f{k}": (1, BASE**roles - 1), f"s{k}": (0, ALIGN)}
    return dict(within(each, drop=(0, SUM), shift=(0, MAX_SHIFT)))


SPARE = tuple(f"{letter}{k}" for k in range(1, TERMS) for letter in "cfs")


@dataclass(frozen=True, slots=True)
class Part:
    """One term. coefficient: an integer, or before formats are chosen a real number; times: how many products
    its sum has"""

    coefficient: float
    align: int
    powers: Mapping[str, int]
    times: int = 1


def code(powers: Mapping[str, int], roles: Sequence[str]) -> int:
    """f of a term. ValueError where it has no digits for these powers."""
    if any(role not in roles or not 0 <= p < BASE for role, p in powers.items()):
        raise ValueError(f"{dict(powers)} of {roles}: powers are 0 to {BASE - 1}")
    return sum(powers.get(role, 0) * BASE**i for i, role in enumerate(roles))


def parts(a: Mapping[str, Any], roles: Sequence[str]) -> list[Part]:
    """The terms of a step. The last of the roles is what the step changes."""
    found = []
    for k in range(TERMS):
        if f"c{k}" in a:
            digits = {role: int(a[f"f{k}"]) // BASE**i % BASE for i, role in enumerate(roles)}
            powers = {role: p for role, p in digits.items() if p}
            times = int(a.get("summed", 1)) if powers.keys() - {roles[-1]} else 1
            number = a[f"c{k}"]
            if rates := a.get(f"n{k}", 0):  # before formats are chosen: how often the rate stands in it
                number *= 2.0 ** -(rates * a["fall"])
            found.append(Part(number, int(a.get(f"s{k}", 0)), powers, times))
    return found


def misfit(t: Tensors, a: Mapping[str, Any], roles: Sequence[str], own: str) -> str:
    """What is wrong with the terms of a step; "" if nothing. own: the role that is linear in every term"""
    for k in range(TERMS):
        there = [f"{letter}{k}" in a for letter in "cfs"]
        if any(there) != all(there):
            return f"term {k} is not whole"
        if any(there) and k and f"c{k - 1}" not in a:
            return f"term {k} stands behind none"
    for part in parts(a, roles):
        if strange := [role for role in part.powers if role not in t]:
            return f"a term has a factor {strange[0]}, and there is no such operand"
        if part.powers.get(own, 0) > 1:
            return f"{own} stands in a term more than once"
        if not part.coefficient:
            return "a term has the coefficient 0"
    named = {role for part in parts(a, roles) for role in part.powers}
    idle = [role for role in t if role in roles and role not in named and role != own]
    return f"no term has operand {idle[0]}" if idle else ""


def reach(part: Part, mags: Reach) -> int:
    """The largest magnitude of a term, and of any product on the way to it."""
    top: int = int(abs(part.coefficient)) * signals(part, mags) << part.align
    return top


def signals(part: Part, mags: Reach) -> int:
    """The same without its number."""
    top: int = part.times * math.prod(max(mags[role], 1) ** p for role, p in part.powers.items())
    return top


def narrow(t: Tensors, a: Mapping[str, Any], roles: Sequence[str]) -> dict[str, int]:
    """For each term k whether its products of signals, and their sum, have 32 bits in C: 1 as narrow<k>."""
    mags = {role: max(-t[role].lo, t[role].hi) for role in t if role in roles} | {roles[-1]: 1}
    return {f"narrow{k}": int(signals(part, mags) < 2**31) for k, part in enumerate(parts(a, roles))}


def total(a: Mapping[str, Any], roles: Sequence[str], mags: Reach) -> int:
    return sum(reach(part, mags) for part in parts(a, roles))


def wide(t: Tensors, a: Mapping[str, Any], roles: Sequence[str]) -> int:
    """1 where the sum needs more than 32 bits in C."""
    mags = {role: max(-t[role].lo, t[role].hi) for role in t if role in roles}
    return int(total(a, roles, mags) >= 2**31)


def aligned(
    a: Mapping[str, Any],
    roles: Sequence[str],
    fracs: Reach,
    mags: Reach,
    frac: int,
    rounding: int,
    where: str,
) -> dict[str, int]:
    """The integers of a step whose terms have real coefficients, given operands' formats.

    frac: that of what they change or write; rounding: how it is rounded
    TermError, naming the term, where a sum could overflow or a term change nothing; CompileError where it
    is a rule of ours that wrote it.
    """
    found = parts(a, roles)
    split = [_split(part.coefficient) for part in found]
    own = [
        sum(fracs[role] * p for role, p in part.powers.items()) - e
        for part, (_, e) in zip(found, split, strict=True)
    ]
    finest = max(frac, *own)
    exact = [
        replace(part, coefficient=m, align=finest - n)
        for part, (m, _), n in zip(found, split, own, strict=True)
    ]
    shift = finest - frac
    drop = max(sum(reach(part, mags) for part in exact).bit_length() - ROUNDED_BITS, shift - MAX_SHIFT, 0)
    wrong = _wrong(exact, mags, (drop, shift), rounding, a)
    if wrong:
        k, what, hint = wrong
        if "said" not in a:  # a rule's own statement: no rule file has its text
            hint = "leave this layer out of `layers`, or calibrate with data of another size"
            raise CompileError(where, f"in what the rule computes {what}", hint)
        raise TermError(where, what, hint, int(a["said"]), int(a[f"at{k}"]))
    lowered = {"drop": drop, "shift": shift - drop}
    for k, part in enumerate(exact):
        lowered |= {f"c{k}": int(part.coefficient), f"f{k}": int(a[f"f{k}"]), f"s{k}": part.align}
    return lowered


def _wrong(
    exact: Sequence[Part], mags: Reach, shifts: tuple[int, int], rounding: int, a: Mapping[str, Any]
) -> tuple[int, str, str] | None:
    """Which term cannot be, why, and what helps; None if all can.

    shifts: what is dropped, and all; a: the step's attributes
    """
    tops, (drop, shift) = [reach(part, mags) for part in exact], shifts
    limited = "least" in a  # the sum is held within limits, whose units it has
    worst = max(range(len(tops)), key=tops.__getitem__)
    if sum(tops) >= 2**SUM or max(part.align for part in exact) > ALIGN:
        bits = sum(tops).bit_length() + 1
        what = f"this term could overflow: beside the others the sum has {bits} bits, {SUM + 1} are possible"
        return worst, what, "give its factors fewer bits, or write terms that are nearer in size"
    if drop > shift:
        top = tops[worst] >> shift
        what = f"this term is too large: it may reach {top} units, 2^{ROUNDED_BITS} are possible"
        rated = f"n{worst}" in a  # before formats are chosen: the rate stands in it
        smaller = "take a smaller factor" + ", or a smaller rate" * rated
        return worst, what, "take wider limits" if limited else smaller
    for k, top in enumerate(tops):
        if top >> drop < numeric.Rounding.least(rounding, shift - drop):
            what = f"this term can change nothing: at most {top} units, shifted right by {shift}"
            free = rounding != numeric.Rounding.STOCHASTIC
            return k, what, "take a larger factor" + (', or rounding = "stochastic"' if free else "")
    return None


def _split(number: float) -> tuple[int, int]:
    """(m, e) of m * 2^e, m odd."""
    exact = Fraction(number)
    m, e = exact.numerator, 1 - exact.denominator.bit_length()
    while not m % 2:
        m, e = m // 2, e + 1
    return m, e


def product(
    part: Part, t: Mapping[str, NDArray[Any]], roles: Iterable[str], kind: Any
) -> NDArray[Any] | None:
    """The product of a term's factors among `roles`; None if it has none of them."""
    found: NDArray[Any] | None = None
    for role in roles:
        if p := part.powers.get(role, 0):
            factor = t[role].astype(kind) ** p if p > 1 else t[role].astype(kind)
            found = factor if found is None else found * factor
    return found


def scaled(part: Part, kind: Any) -> Any:
    """The number of a term, and the power of two that aligns it."""
    return kind(part.coefficient) * kind(2**part.align)


def table(a: Mapping[str, Any], roles: Sequence[str]) -> NDArray[np.int64]:
    """The terms as a loop reads them: [terms, 1 + roles], the number and the powers."""
    rows = [
        [int(part.coefficient) << part.align, *(part.powers.get(role, 0) for role in roles)]
        for part in parts(a, roles)
    ]
    return np.array(rows, np.int64)


def drawn(
    rng: np.random.Generator, roles: Sequence[str], given: Mapping[str, int], own: str, times: int = 1
) -> dict[str, int]:
    """Random terms over operands whose magnitudes are `given`, each of which stands in one at least; a
    product is one of so many."""
    powers: list[dict[str, int]] = [{}]
    for role in [r for r in given if r != own]:
        into = powers[-1] | {role: int(rng.choice([1, 1, 1, 2]))}
        if powers[-1] and (not rng.integers(3) or reach(Part(127, 0, into, times), given) >= 2**ROOM):
            powers.append({role: 1})
        else:
            powers[-1] = into
    if own in given:
        into = powers[-1] | {own: 1}
        powers.append({own: 1})
        powers[-2] = powers[-2] if reach(Part(127, 0, into, times), given) >= 2**ROOM else into
    a: dict[str, int] = {}
    for k, each in enumerate(powers):
        number = int(rng.choice([1, -1, 3, -127, 127, -5]))
        room = SUM - 3 - reach(Part(number, 0, each, times), given).bit_length()
        align = int(rng.integers(0, min(max(room, 1), int(rng.choice([2, 8, 20])))))
        a |= {f"c{k}": number, f"f{k}": code(each, roles), f"s{k}": align}
    least = max(total(a | {"summed": times}, roles, given).bit_length() - ROUNDED_BITS, 0)
    return a | {"drop": least + int(rng.integers(0, 3)), "shift": int(rng.integers(0, MAX_SHIFT + 1))}
