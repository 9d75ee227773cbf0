"""`dots` and `subtract_products` of gen/ops/_dense_loops.py in instructions of AVX-512 that leave lanes out:
what is left of a row behind whole registers is one more register, and no element goes alone.

What they compute stands there, in Python; on other processors that text is compiled instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .vector import CELL_BYTES, WIDE, WORD, features, load, number, place_of, splat

CELLS = 32
"""Values of 16 bits in a register of AVX-512."""
SHORTS, WORDS = ir.VectorType(ir.IntType(16), CELLS), ir.VectorType(WORD, CELLS // 2)
ROWS = 4
"""Whose sums are made at once."""


def usable() -> bool:
    """Whether this processor has lanes of 16 bits of which an instruction leaves some out."""
    return bool(features().get("avx512bw"))


@intrinsic  # type: ignore[untyped-decorator]
def dots(
    context: Any, acc: Any, count: Any, w: Any, apart: Any, narrow: Any, seen: Any, start: Any, n: Any
) -> Any:
    """As of gen/ops/_dense_loops.py, on addresses.

    apart: bytes from one row of w to the next; narrow: whether w is int8, else int16
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = (*args[:4], *args[5:])
        with builder.if_else(builder.icmp_unsigned("!=", args[4], number(0))) as (then, otherwise):
            with then:
                _rows(builder, given, ir.VectorType(ir.IntType(8), CELLS))
            with otherwise:
                _rows(builder, given, SHORTS)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8), code


def _rows(builder: Any, args: Any, kind: Any) -> None:
    """All rows, several at a time, which share what is loaded of inputs; then one by one."""
    count, whole = args[1], builder.udiv(args[1], number(ROWS))
    with cgutils.for_range(builder, whole) as loop:
        _dots(builder, args, kind, builder.mul(loop.index, number(ROWS)), ROWS)
    done = builder.mul(whole, number(ROWS))
    with cgutils.for_range(builder, builder.sub(count, done)) as loop:
        _dots(builder, args, kind, builder.add(done, loop.index), 1)


def _dots(builder: Any, args: Any, kind: Any, first: Any, many: int) -> None:
    acc, _, w, apart, seen, start, n = args
    index = [builder.add(first, number(i)) for i in range(many)]
    rows, held = [place_of(builder, w, i, apart) for i in index], []
    for _ in index:
        held.append(cgutils.alloca_once(builder, WORDS))
        builder.store(ir.Constant(WORDS, None), held[-1])
    madd = _function(builder, WIDE, WORDS, [SHORTS, SHORTS])
    with _lanes(builder, n) as (at, mask):
        values = load(builder, place_of(builder, seen, at, CELL_BYTES), SHORTS, 2)
        for row, total in zip(rows, held, strict=True):
            place = place_of(builder, row, at, kind.element.width // 8)
            factors = _some(builder, place, kind, mask)
            factors = factors if kind == SHORTS else builder.sext(factors, SHORTS)
            product = builder.call(madd, [factors, values])
            builder.store(builder.add(builder.load(total), product), total)
    add = _function(builder, f"llvm.vector.reduce.add.v{CELLS // 2}i32", WORD, [WORDS])
    for i, total in zip(index, held, strict=True):
        begin = load(builder, place_of(builder, start, i, 4), WORD, 4)
        found = builder.add(begin, builder.call(add, [builder.load(total)]))
        to = builder.inttoptr(place_of(builder, acc, i, 4), WORD.as_pointer())
        builder.store(found, to, align=4)


@intrinsic  # type: ignore[untyped-decorator]
def subtract_products(
    context: Any, w: Any, n: Any, factor: Any, seen: Any, shift: Any, key: Any, mul: Any, add: Any, lo: Any,
    hi: Any,
) -> Any:  # fmt: skip
    """As of gen/ops/_dense_loops.py, on addresses, of a row of int16: a product and its random number are one
    sum of two products, and what 16 bits cannot hold saturates twice, in the difference and at the limits."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        w, n, factor, seen, shift, key, mul, add, lo, hi = args
        keys, met = splat(builder, builder.trunc(key, WORD), WORDS), cgutils.alloca_once(builder, WORD)
        builder.store(ir.Constant(WORD, 0), met)
        one = builder.or_(builder.and_(factor, number(0xFFFF)), number(1 << 16))
        by = builder.bitcast(splat(builder, builder.trunc(one, WORD), WORDS), SHORTS)
        down = splat(builder, builder.trunc(shift, WORD), WORDS)
        more = splat(builder, builder.trunc(builder.sub(number(16), shift), SHORTS.element), SHORTS)
        low, high = (splat(builder, builder.trunc(v, SHORTS.element), SHORTS) for v in (lo, hi))
        pack = _function(builder, "llvm.x86.avx512.packssdw.512", SHORTS, [WORDS, WORDS])
        madd = _function(builder, WIDE, WORDS, [SHORTS, SHORTS])
        two = {name: _function(builder, f"llvm.{name}.v{CELLS}i16", SHORTS, [SHORTS, SHORTS])
               for name in ("ssub.sat", "smin", "smax")}  # fmt: skip
        ones = _function(builder, f"llvm.ctpop.i{CELLS}", WORD, [WORD])
        with _lanes(builder, n) as (at, mask):
            half = builder.mul(at, number(2))  # bytes of values, and of the words behind half as many
            factors, addends, inputs = (
                load(builder, builder.add(array, half), kind, 2)
                for array, kind in ((mul, WORDS), (add, WORDS), (seen, SHORTS))
            )
            random = builder.add(builder.mul(factors, keys), addends)
            random = builder.lshr(builder.bitcast(random, SHORTS), more)
            sums = [
                builder.ashr(builder.call(madd, [_interleaved(builder, inputs, random, part), by]), down)
                for part in (0, 1)
            ]
            change, place = builder.call(pack, sums), builder.add(w, half)
            old = _some(builder, place, SHORTS, mask)
            new = builder.call(two["ssub.sat"], [old, change])
            new = builder.call(two["smin"], [builder.call(two["smax"], [new, low]), high])
            differ = builder.icmp_signed("!=", new, builder.sub(old, change))
            differ = builder.bitcast(builder.and_(differ, mask), WORD)
            builder.store(builder.add(builder.load(met), builder.call(ones, [differ])), met)
            _put_some(builder, new, place, mask)
        return builder.load(met)

    return types.int32(*[types.int64] * 10), code


@contextmanager
def _lanes(builder: Any, n: Any) -> Iterator[tuple[Any, Any]]:
    """A loop over n values, a register at a time: (the first one, which lanes are of the n)."""
    blocks = builder.udiv(builder.add(n, number(CELLS - 1)), number(CELLS))
    lane = ir.Constant(SHORTS, list(range(CELLS)))
    with cgutils.for_range(builder, blocks) as loop:
        at = builder.mul(loop.index, number(CELLS))
        left = builder.sub(n, at)
        left = builder.select(builder.icmp_unsigned("<", left, number(CELLS)), left, number(CELLS))
        several = splat(builder, builder.trunc(left, SHORTS.element), SHORTS)
        yield at, builder.icmp_unsigned("<", lane, several)


def _interleaved(builder: Any, first: Any, second: Any, part: int) -> Any:
    """The lower or upper values of each 16 bytes of both in turn, as `packssdw` puts them together again."""
    order = [start + part * 4 + k // 2 + CELLS * (k % 2) for start in range(0, CELLS, 8) for k in range(8)]
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(WORD, CELLS), order))


def _function(builder: Any, name: str, result: Any, given: Any) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, given), name)


def _some(builder: Any, address: Any, kind: Any, mask: Any) -> Any:
    """What lies at an address in the lanes of a mask, 0 in the others, which are not read."""
    name = f"llvm.masked.load.v{kind.count}i{kind.element.width}.p0"
    load = _function(builder, name, kind, [kind.as_pointer(), ir.IntType(32), mask.type, kind])
    where = builder.inttoptr(address, kind.as_pointer())
    return builder.call(load, [where, ir.Constant(WORD, 1), mask, ir.Constant(kind, None)])


def _put_some(builder: Any, value: Any, address: Any, mask: Any) -> None:
    kind = value.type
    name = f"llvm.masked.store.v{kind.count}i{kind.element.width}.p0"
    store = _function(builder, name, ir.VoidType(), [kind, kind.as_pointer(), ir.IntType(32), mask.type])
    where = builder.inttoptr(address, kind.as_pointer())
    builder.call(store, [value, where, ir.Constant(WORD, 1), mask])


def row_sums(acc: Any, w: Any, seen: Any, start: Any, n: Any) -> None:
    """What `dots` is compiled as."""
    dots(
        acc.ctypes.data, len(acc), w.ctypes.data, w.shape[1] * w.itemsize, w.itemsize == 1, seen.ctypes.data,
        start.ctypes.data, n,
    )  # fmt: skip


def change_row(
    w: Any, i: Any, n: Any, factor: Any, seen: Any, shift: Any, key: Any, mul: Any, add: Any, lo: Any, hi: Any
) -> Any:
    """What `subtract_products` is compiled as."""
    return subtract_products(
        w.ctypes.data + 2 * i * w.shape[1], n, factor, seen.ctypes.data, shift, key, mul.ctypes.data,
        add.ctypes.data, lo, hi,
    )  # fmt: skip
