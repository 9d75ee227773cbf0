"""Packs boxes of bytes into as few as can be found: who may share them is given, where each lies is found.

A box is put into the lowest place that those before it leave. Some orders of boxes do better than others:
several are tried, and what is found is improved by boxes that change their turn. The same boxes always get
the same places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

ALIGN = 4
TRIES = 4  # orders that are tried for each box from each where it begins
DEEP = 100  # boxes that reach into one another, of which each is put before the next

Near = Mapping[int, tuple[int, int]]
"""By the number of another box, which lies at n: (a, b), it may not begin between n - a and n + b."""


def aligned(n: int) -> int:
    return -(-n // ALIGN) * ALIGN


def lowest(sizes: Sequence[int], near: Sequence[Near], order: Iterable[int]) -> list[int]:
    """Offsets of boxes that take the lowest place in turn."""
    at = [-1] * len(sizes)
    for box in order:
        taken = sorted((at[o] - a, at[o] + b) for o, (a, b) in near[box].items() if at[o] >= 0)
        place = 0
        for start, end in taken:
            if place <= start:
                break
            place = max(place, aligned(end))
        at[box] = place
    return at


def ends(sizes: Sequence[int], at: Sequence[int], low: int) -> tuple[int, int]:
    """Bytes of all boxes, and of the first `low`."""
    every = [aligned(start + size) for start, size in zip(at, sizes, strict=True)]
    return max(every, default=0), max(every[:low], default=0)


def searched(
    sizes: Sequence[int], near: Sequence[Near], orders: Iterable[Sequence[int]], low: int, floor: int
) -> list[int]:
    """Offsets whose `ends` are few bytes together; the first `low` boxes have the first turns.

    orders: where to begin, beside the boxes as they are, and each behind those that must begin before it;
            the better half of them is improved; floor: bytes of all that are enough
    """
    rng, boxes = Random(0), range(len(sizes))

    def needed(at: Sequence[int]) -> int:
        return sum(ends(sizes, at, low))

    def turns(order: Sequence[int]) -> list[int]:
        return sorted(order, key=lambda i: i >= low)

    def moved(order: Sequence[int], at: Sequence[int]) -> list[int]:
        """The order with one box in another place, every other time one that reaches to the top."""
        top = ends(sizes, at, low)[0]
        tops = [k for k, i in enumerate(order) if aligned(at[i] + sizes[i]) == top]
        out = [*order]
        out.insert(rng.choice(boxes), out.pop(rng.choice(rng.choice([tops, boxes]))))
        return turns(out)

    every = [boxes, *(_behind(sizes, near, depth) for depth in (1, DEEP)), *orders]
    begun = [(order, lowest(sizes, near, order)) for order in map(turns, every)]
    begun.sort(key=lambda pair: needed(pair[1]))
    best = begun[0][1]
    for order, at in begun[: -(-len(begun) // 2)]:
        for _ in range(TRIES * len(sizes)):
            if ends(sizes, best, low)[0] <= floor:
                return best
            other = moved(order, at)
            if needed(tried := lowest(sizes, near, other)) <= needed(at):
                order, at = other, tried
            best = min(best, at, key=needed)
    return best


def _behind(sizes: Sequence[int], near: Sequence[Near], depth: int) -> list[int]:
    """Boxes in turn, each behind those that may reach into it from below, and those into them, so deep."""
    order: dict[int, None] = {}

    def put(box: int, depth: int) -> None:
        for other, (_, behind) in near[box].items():
            if depth and behind < sizes[other] and other not in order:
                put(other, depth - 1)
        order.setdefault(box)

    for box in range(len(sizes)):
        put(box, depth)
    return [*order]
