"""Puts the steps of a learning program in an order that needs less of the arena at a time: the same bits.

What rules write goes down the network layer by layer, and of two branches the last one first. Here a step may
go before another one unless one of them changes what the other one reads or changes. Steps are chosen one
after the other by what lies in the arena during and after them, in two ways; the better of these orders is
taken where its fullest step holds less than the fullest of the order that was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ..ir.program import Program, Step, reached
from ..ops import changed
from .memory import Liveness, Piece, overlaying

Steps = Sequence[Step]
Names = frozenset[str]
_KEYS: tuple[Callable[[int, int], tuple[int, int]], ...] = (
    lambda during, after: (after, during),
    lambda during, after: (during, after),
)


def ordered(
    programs: Mapping[str, Program], entries: Iterable[str], pieces: Mapping[str, Piece], kept: Iterable[str]
) -> dict[str, Program]:
    """The programs, those in another order of which it makes less of the arena necessary.

    entries: the entry programs; kept: what must hold content after each. What `infer` runs stays as it is.
    """
    walk = _After(programs, pieces.keys())
    for entry in entries:
        walk.before(entry, frozenset(kept) & pieces.keys())
    fixed = reached(programs, "infer")
    out = dict(programs)
    for name in walk.after.keys() - {*fixed}:
        steps = [item for item in programs[name].items if isinstance(item, Step)]
        if len(steps) == len(programs[name].items):
            out[name] = replace(programs[name], items=tuple(_Order(walk, pieces, steps, name).best()))
    return out


class _After(Liveness):
    """`after`: by program, what must hold content behind it, wherever it is called."""

    def __init__(self, programs: Mapping[str, Program], names: Iterable[str]) -> None:
        super().__init__(programs, frozenset(names))
        self.after: dict[str, Names] = {}

    def before(self, program: str, live: Names) -> Names:
        self.after[program] = self.after.get(program, frozenset()) | live
        return super().before(program, live)


class _Order:
    """The steps of one program, and what each needs in the arena."""

    def __init__(self, walk: _After, pieces: Mapping[str, Piece], steps: Steps, program: str) -> None:
        self.walk, self.pieces, self.steps = walk, pieces, steps
        self.after = walk.after[program]
        self.start = walk.before(program, self.after)
        self.over = [overlaying(s, pieces, ()) for s in steps]
        self.operands = [frozenset(walk.operands(s)) for s in steps]
        touched = [({*s.args.values()}, {*changed(s).values()}) for s in steps]
        self.behind = [
            {i for i in range(j) if touched[i][1] & touched[j][0] or touched[i][0] & touched[j][1]}
            for j in range(len(steps))
        ]

    def best(self) -> Steps:
        orders = [range(len(self.steps)), *(self._chosen(key) for key in _KEYS)]
        return [self.steps[i] for i in min(orders, key=self._fullest)]

    def _bytes(self, names: Iterable[str]) -> int:
        return sum(self.pieces[n].nbytes for n in names)

    def _during(self, i: int, live: Names, dead: Names) -> int:
        """Bytes that hold content while step i runs, if `live` do before it, or after it but for `dead`."""
        saved = max((o.saved for o in self.over[i] if o.source in dead), default=0)
        return self._bytes(live | self.operands[i]) - saved

    def _fullest(self, order: Iterable[int]) -> int:
        live, most = self.after, 0
        for i in reversed([*order]):
            most = max(most, self._during(i, live, self.operands[i] - live))
            live = self.walk.before_step(self.steps[i], live)
        return most

    def _chosen(self, key: Callable[[int, int], tuple[int, int]]) -> list[int]:
        """Always the step that `key` of the bytes during it and after it likes best; the first of equals."""
        left = Counter(name for operands in self.operands for name in operands)
        waiting, done, live, order = [*range(len(self.steps))], set[int](), self.start, list[int]()
        while waiting:
            ready = [i for i in waiting if self.behind[i] <= done]
            dead = {i: frozenset(n for n in self.operands[i] if left[n] == 1) - self.after for i in ready}

            def cost(i: int, live: Names = live, dead: Mapping[int, Names] = dead) -> tuple[int, int]:
                after = self._bytes((live | self.operands[i]) - dead[i])
                return key(self._during(i, live, dead[i]), after)

            i = min(ready, key=cost)
            live = (live | self.operands[i]) - dead[i]
            left.subtract(self.operands[i])
            waiting.remove(i)
            done.add(i)
            order.append(i)
        return order
