"""`windows` of gen/ops/_loops.py in the multiply-add instructions of x86: two int16 products a lane and
instruction, eight lanes a register, up to four registers of sums at a time.

What it computes stands there, in Python; on other processors that text is compiled instead.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BITS, BYTE = ir.IntType(64), ir.IntType(8)
LANES = 8
SUMS, PAIRS = ir.VectorType(ir.IntType(32), LANES), ir.VectorType(ir.IntType(16), 2 * LANES)
SUM_BYTES, PAIR_BYTES = 4 * LANES, 4 * LANES
WIDTHS = (4, 2, 1)  # registers of sums that share what is loaded


def usable() -> bool:
    """Whether this processor has these instructions."""
    return bool(binding.get_host_cpu_features().get("avx2"))


@intrinsic  # type: ignore[untyped-decorator]
def windows(
    context: Any, out: Any, apart: Any, start: Any, blocks: Any, w: Any, x: Any, step: Any, offsets: Any,
    runs: Any, pairs: Any, count: Any,
) -> Any:  # fmt: skip
    """As of gen/ops/_loops.py, on addresses, apart and step in bytes; start has 8 * blocks sums."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, apart, start, blocks, w, x, step, offsets, runs, pairs, count = args
        with cgutils.for_range(builder, count) as each:
            there = builder.add(out, builder.mul(each.index, apart))
            seen = builder.add(x, builder.mul(each.index, step))
            first: Any = ir.Constant(BITS, 0)
            for width in WIDTHS:
                more = builder.udiv(builder.sub(blocks, first), ir.Constant(BITS, width))
                with cgutils.for_range(builder, more) as loop:
                    block = builder.add(first, builder.mul(loop.index, ir.Constant(BITS, width)))
                    _sums(builder, (there, start, blocks, w, seen, offsets, runs, pairs), block, width)
                first = builder.add(first, builder.mul(more, ir.Constant(BITS, width)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 11), code


def _sums(builder: Any, args: Any, block: Any, width: int) -> None:
    """The sums of `width` registers from `block` on."""
    out, start, blocks, w, x, offsets, runs, pairs = args
    index = [builder.add(block, ir.Constant(BITS, j)) for j in range(width)]
    held = [cgutils.alloca_once(builder, SUMS) for _ in index]
    for at, value in zip(index, held, strict=True):
        builder.store(_load(builder, _place(builder, start, at, SUM_BYTES), SUMS, 4), value)
    kind = ir.FunctionType(SUMS, [PAIRS, PAIRS])
    madd = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmadd.wd")
    with cgutils.for_range(builder, runs) as run:
        offset = _load(builder, _place(builder, offsets, run.index, 8), BITS, 8)
        seen = builder.add(x, builder.mul(offset, ir.Constant(BITS, 2)))
        with cgutils.for_range(builder, pairs) as pair:
            word = _load(builder, _place(builder, seen, pair.index, 4), ir.IntType(32), 2)
            both = builder.bitcast(_splat(builder, word), PAIRS)
            row = builder.mul(builder.add(builder.mul(run.index, pairs), pair.index), blocks)
            for at, value in zip(index, held, strict=True):
                place = _place(builder, w, builder.add(row, at), PAIR_BYTES)
                product = builder.call(madd, [_load(builder, place, PAIRS, 2), both])
                builder.store(builder.add(builder.load(value), product), value)
    for at, value in zip(index, held, strict=True):
        place = builder.inttoptr(_place(builder, out, at, SUM_BYTES), SUMS.as_pointer())
        builder.store(builder.load(value), place, align=4)


def _place(builder: Any, address: Any, index: Any, size: int) -> Any:
    """The address of an element of so many bytes."""
    return builder.add(address, builder.mul(index, ir.Constant(BITS, size)))


def _load(builder: Any, address: Any, kind: Any, align: int) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def _splat(builder: Any, word: Any) -> Any:
    """A register with `word` in each lane."""
    zero = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(SUMS, ir.Undefined), word, zero)
    return builder.shuffle_vector(one, ir.Constant(SUMS, ir.Undefined), ir.Constant(SUMS, [0] * LANES))
