"""`windows` and `windows_onto` of gen/ops/_loops.py in the multiply-add instructions of x86: two products of
int16 a lane and instruction, in tiles of positions and of registers of filters, whose sums stay in registers.

What they compute stands there, in Python; on other processors that text is compiled instead. Registers have
16 lanes where the processor has AVX-512 for int16, else 8; LLVM makes one instruction of multiply-add and sum
where there is one (vpdpwssd).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BITS, WORD = ir.IntType(64), ir.IntType(32)
LANES = 8  # what a block of filters has, in memory
BLOCK_BYTES, PAIR_BYTES, CELL_BYTES = 4 * LANES, 4 * LANES, 2


@dataclass(frozen=True, slots=True)
class Tile:
    """Sums that are in registers at once: of so many positions, and of registers of so many blocks.

    Eight sums hide the latency of an instruction; positions share what is loaded of weights, registers what
    is loaded of inputs.
    """

    blocks: int
    registers: int
    positions: int
    madd: str

    @property
    def sums(self) -> ir.VectorType:
        return ir.VectorType(WORD, LANES * self.blocks)

    @property
    def pairs(self) -> ir.VectorType:
        return ir.VectorType(ir.IntType(16), 2 * LANES * self.blocks)


NARROW, WIDE = "llvm.x86.avx2.pmadd.wd", "llvm.x86.avx512.pmaddw.d.512"


def features() -> Any:
    return binding.get_host_cpu_features()


def usable() -> bool:
    """Whether this processor has these instructions."""
    return bool(features().get("avx2"))


def tiles() -> tuple[Tile, ...]:
    """The widest first; the last one is a block wide."""
    if features().get("avx512bw"):
        return Tile(2, 4, 4, WIDE), Tile(2, 2, 4, WIDE), Tile(2, 1, 8, WIDE), Tile(1, 1, 8, NARROW)
    return Tile(1, 4, 2, NARROW), Tile(1, 2, 4, NARROW), Tile(1, 1, 8, NARROW)


KIND = types.void(*[types.int64] * 13)


@intrinsic  # type: ignore[untyped-decorator]
def windows(
    context: Any, out: Any, apart: Any, start: Any, blocks: Any, w: Any, wide: Any, x: Any, step: Any,
    offsets: Any, runs: Any, pairs: Any, every: Any, count: Any,
) -> Any:  # fmt: skip
    """As of gen/ops/_loops.py, on addresses, steps in bytes; start has 8 * blocks sums, a pair of w 8 * wide
    pairs of numbers."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _blocks(builder, args, False)
        return context.get_dummy_value()

    return KIND, code


@intrinsic  # type: ignore[untyped-decorator]
def windows_onto(
    context: Any, out: Any, apart: Any, start: Any, blocks: Any, w: Any, wide: Any, x: Any, step: Any,
    offsets: Any, runs: Any, pairs: Any, every: Any, count: Any,
) -> Any:  # fmt: skip
    """As of gen/ops/_loops.py; `start` is not read."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _blocks(builder, args, True)
        return context.get_dummy_value()

    return KIND, code


def _blocks(builder: Any, args: Any, onto: bool) -> None:
    """All blocks of filters, in the widest tiles that are left."""
    *arrays, count = args
    blocks, first = arrays[3], number(0)
    for tile in tiles():
        width = number(tile.blocks * tile.registers)
        times = builder.udiv(builder.sub(blocks, first), width)
        with cgutils.for_range(builder, times) as loop:
            block = builder.add(first, builder.mul(loop.index, width))
            _positions(builder, arrays, count, block, tile, onto)
        first = builder.add(first, builder.mul(times, width))


def _positions(builder: Any, arrays: Any, count: Any, block: Any, tile: Tile, onto: bool) -> None:
    """All positions, as many at a time as a tile has, then half as many, down to one: the last ones may reach
    back to where they fit, but for sums that would be added twice."""
    done, many = number(0), tile.positions
    while many:
        size = number(many)
        left = builder.sub(count, done)
        fits = builder.icmp_unsigned(">=", count, size)
        whole = builder.udiv(left if onto else builder.add(left, number(many - 1)), size)
        whole = builder.select(fits, whole, number(0))
        with cgutils.for_range(builder, whole) as loop:
            at, last = builder.add(done, builder.mul(loop.index, size)), builder.sub(count, size)
            at = builder.select(builder.icmp_unsigned("<", at, last), at, last)
            _sums(builder, arrays, block, at, tile, many, onto)
        done = builder.add(done, builder.mul(whole, size))
        done = builder.select(builder.icmp_unsigned("<", done, count), done, count)
        many //= 2


def _sums(builder: Any, arrays: Any, block: Any, at: Any, tile: Tile, positions: int, onto: bool) -> None:
    """The sums of a tile: registers from `block` on, positions from `at` on."""
    out, apart, start, _, w, wide, x, step, offsets, runs, pairs, every = arrays
    index = [builder.add(block, number(j * tile.blocks)) for j in range(tile.registers)]
    places = [builder.add(at, number(c)) for c in range(positions)]
    held = [[cgutils.alloca_once(builder, tile.sums) for _ in index] for _ in places]
    for row in held:
        for i, value in zip(index, row, strict=True):
            begin = load(builder, place_of(builder, start, i, BLOCK_BYTES), tile.sums, 4)
            builder.store(ir.Constant(tile.sums, None) if onto else begin, value)
    kind = ir.FunctionType(tile.sums, [tile.pairs, tile.pairs])
    madd = cgutils.get_or_insert_function(builder.module, kind, tile.madd)
    seen = [place_of(builder, x, place, step) for place in places]
    with cgutils.for_range(builder, runs) as run:
        offset = load(builder, place_of(builder, offsets, run.index, 8), BITS, 8)
        begins = [place_of(builder, window, offset, CELL_BYTES) for window in seen]
        with cgutils.for_range(builder, pairs) as pair:
            row = builder.mul(builder.add(builder.mul(run.index, pairs), pair.index), wide)
            rows = [place_of(builder, w, builder.add(row, i), PAIR_BYTES) for i in index]
            factors = [load(builder, place, tile.pairs, 2) for place in rows]
            for begin, values in zip(begins, held, strict=True):
                word = load(builder, place_of(builder, begin, pair.index, every), WORD, 2)
                both = builder.bitcast(splat(builder, word, tile.sums), tile.pairs)
                for value, factor in zip(values, factors, strict=True):
                    product = builder.call(madd, [factor, both])
                    builder.store(builder.add(builder.load(value), product), value)
    for place, values in zip(places, held, strict=True):
        there = place_of(builder, out, place, apart)
        for i, value in zip(index, values, strict=True):
            to, total = place_of(builder, there, i, BLOCK_BYTES), builder.load(value)
            if onto:
                total = builder.add(total, load(builder, to, tile.sums, 4))
            builder.store(total, builder.inttoptr(to, tile.sums.as_pointer()), align=4)


def number(n: int) -> Any:
    return ir.Constant(BITS, n)


def place_of(builder: Any, address: Any, index: Any, size: Any) -> Any:
    """The address of an element of so many bytes."""
    by = number(size) if isinstance(size, int) else size
    return builder.add(address, builder.mul(index, by))


def load(builder: Any, address: Any, kind: Any, align: int) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def splat(builder: Any, value: Any, kind: Any) -> Any:
    """A register with `value` in each lane."""
    none = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(none, value, ir.Constant(WORD, 0))
    lanes = ir.Constant(ir.VectorType(WORD, kind.count), [0] * kind.count)
    return builder.shuffle_vector(one, none, lanes)
