"""What learning keeps of the maps that it passes back through: less than the maps, where that is enough.

A derivative that is 1 or 0 needs a bit for each value, the maximum of a window the few bits that say where it
lies (gen.ops: Kernel.kept). A step that makes such a map is a *site*: it may write that beside the map, which
then need not wait for learning. Behind a site two more things may become possible: the derivative in front of
it is taken of its result, which is smaller (`behind`), and those that read its signal read what that is made
of (`sparse`), so that it is never stored. Works on lowered programs and changes no bit of what is learned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir.plan import PlanTensor
from ..ir.program import Item, Program, Step
from ..ops import Format, Kept, changed, kernel, replaced
from .memory import WORTH

LONGEST = 3  # steps that one may do: a convolution, a clip, a pooling
Programs = Mapping[str, Program]
Tensors = Mapping[str, PlanTensor]


@dataclass(frozen=True, slots=True)
class Keeping:
    """Programs in which some sites write what is kept, and all tensors that they may name."""

    programs: Programs
    tensors: Tensors


def sites(programs: Programs, tensors: Tensors) -> list[Step]:
    """The steps that may write something in place of which no map is kept, the last of a program first."""
    keeping = _Work(programs, tensors)
    return [made for made in keeping.steps() if keeping.readers(made)][::-1]


def pools(programs: Programs, tensors: Tensors) -> list[str]:
    """The results of steps that the one that makes what they read may do, if nobody else reads that."""
    work = _Work(programs, tensors)
    return [name for step in work.steps() if (name := work.pooled(step))]


def keep(programs: Programs, tensors: Tensors, chosen: Iterable[Step], pooled: Iterable[str] = ()) -> Keeping:
    """The programs with these sites, in the order of `sites`, and with these pools in what they read."""
    work = _Work(programs, tensors)
    for made in chosen:
        work.keep(made)
    for name in pooled:
        work.pool(name)
    return Keeping(
        {n: replace(programs[n], items=tuple(items)) for n, items in work.items.items()}, work.tensors
    )


def fewest(count: int, needed: Callable[[tuple[int, ...]], int]) -> tuple[int, ...]:
    """The numbers of those of so many sites without which more bytes are `needed`; none where all of them
    together save less than one byte in WORTH: they cost instructions."""
    chosen = tuple(range(count))
    if WORTH * needed(chosen) > (WORTH - 1) * needed(()):
        return ()
    for one in range(count):
        fewer = tuple(n for n in chosen if n != one)
        if needed(fewer) <= needed(chosen):
            chosen = fewer
    return chosen


class _Work:
    """Programs as lists that change."""

    def __init__(self, programs: Programs, tensors: Tensors) -> None:
        self.items: dict[str, list[Item]] = {name: [*p.items] for name, p in programs.items()}
        self.tensors = dict(tensors)

    def steps(self) -> list[Step]:
        return [i for items in self.items.values() for i in items if isinstance(i, Step)]

    def fresh(self, name: str) -> str:
        while name in self.tensors:
            name += "_"
        return name

    def readers(self, made: Step) -> list[Kept]:
        """What the steps that could do with less read then; nothing where others write the map too."""
        found = [k for s in self.steps() if (k := kernel(s.kernel).kept(s, made, self.fresh))]
        writers = Counter(name for s in self.steps() for name in changed(s).values())
        alone = all(writers[k.of] == 1 and self.tensors[k.of].space == "arena" for k in found)
        return found if alone and len({k.name for k in found}) == 1 else []

    def keep(self, made: Step) -> None:
        """One site, if there is still a step that reads its map."""
        found = self.readers(made)
        if not found:
            return
        one = found[0]
        size, full = one.nbytes(self.tensors[one.of].count), Format("uint8", 0, 0, 255)
        meaning = full.meaning.common
        self.tensors[one.name] = PlanTensor(
            one.name, full.dtype, (size,), size, "arena", 0, meaning, full.lo, full.hi, "kept"
        )
        self._replace(made, [one.writer])
        for items in self.items.values():
            for step in [i for i in items if isinstance(i, Step)]:
                if less := kernel(step.kernel).kept(step, made, lambda _: one.name):
                    self._read_less(items, step, less)

    def pooled(self, step: Step) -> str:
        """The result of a step in front of which others may stand that do its work; "" if none do."""
        chain = self._chain(step)
        return step.args["y"] if self._absorbed(chain, "") else ""

    def _chain(self, last: Step) -> list[Step]:
        """Steps of which each makes what the next one reads as x, the last one given."""
        chain = [last]
        while len(chain) < LONGEST:
            x = chain[0].args.get("x")
            makers = [s for s in self.steps() if x in changed(s).values()]
            if len(makers) != 1:
                break
            chain.insert(0, makers[0])
        return chain

    @staticmethod
    def _absorbed(chain: Sequence[Step], row: str) -> tuple[Sequence[Step], Step] | None:
        """The last steps of a chain that are one, beginning with what absorbs the others, and that one."""
        for first in range(len(chain) - 1):
            one: Step | None = chain[first]
            for second in chain[first + 1 :]:
                one = one and kernel(one.kernel).absorbed(one, second, row)
            if one and "row" in one.args:
                return chain[first:], one
        return None

    def pool(self, name: str) -> None:
        """What makes `name` is done by what makes what it reads, if nobody else reads that."""
        last = next(s for s in self.steps() if name in changed(s).values())
        row = self.fresh(f"{name}_row")
        found = self._absorbed(self._chain(last), row)
        if found is None:
            return
        chain, one = found
        uses = self._uses()
        items = next(i for i in self.items.values() if any(item is chain[0] for item in i))
        places = [n for n, item in enumerate(items) if any(item is step for step in chain)]
        alone = all(uses[n] == 2 for step in chain[:-1] for n in changed(step).values())
        if not alone or len(places) != len(chain) or places[-1] - places[0] != len(chain) - 1:
            return
        y = self.tensors[chain[0].args["y"]]
        filters = int(one.attrs["filters"])
        self.tensors[row] = replace(y, name=row, shape=(filters,), row=filters, use="", note="of one place")
        items[places[0] : places[-1] + 1] = [one]

    def _replace(self, old: Step, new: Sequence[Step]) -> None:
        for items in self.items.values():
            for at in [i for i, item in enumerate(items) if item is old]:
                items[at : at + 1] = new

    def _uses(self) -> Counter[str]:
        return Counter(name for step in self.steps() for name in step.args.values())

    def _read_less(self, items: list[Item], step: Step, less: Kept) -> None:
        """`step` reads what is kept; what follows it in its program does as far as it can."""
        reader = less.reader
        if moved := self._behind(items, step):
            second, first, spread = moved
            del items[_place(items, second)]
            at = _place(items, step)
            items[at : at + 1] = [first, step := spread]
            reader = replace(reader, args={**reader.args, "d": spread.args["d"], "g": spread.args["g"]})
        items[_place(items, step)] = reader
        self._sparse(items, reader)

    def _behind(self, items: list[Item], step: Step) -> tuple[Step, Step, Step] | None:
        """(the step that alone reads the signal of `step`, what does the work of both)."""
        (signal,) = replaced(step).values()
        between: list[Step] = []
        for item in items[_place(items, step) + 1 :]:
            if not isinstance(item, Step):
                return None
            if signal in item.args.values():
                break
            between.append(item)
        else:
            return None
        name = self.fresh(f"{signal}_clipped")
        pair = kernel(step.kernel).behind(step, item, name)
        written = {*replaced(item).values()}
        early = not any(written & {*other.args.values()} for other in between)
        if pair is None or self._uses()[signal] != 2 or not early:
            return None
        self.tensors[name] = replace(self.tensors[step.args["d"]], name=name)
        return item, *pair

    def _sparse(self, items: list[Item], made: Step) -> None:
        """Lets all that read the signal of `made` read what it is made of, if they can."""
        (signal,) = replaced(made).values()
        at = _place(items, made)
        behind = items[at + 1 :]
        readers = [i for i in behind if isinstance(i, Step) and signal in i.args.values()]
        if not readers or self._uses()[signal] != 1 + len(readers):
            return
        others = [kernel(step.kernel).sparse(step, made) for step in readers]
        until = behind[: 1 + max(_place(behind, step) for step in readers)]
        source = {*made.args.values()}
        still = all(isinstance(i, Step) and not source & {*changed(i).values()} for i in until)
        if not still or None in others:
            return
        for step, other in zip(readers, others, strict=True):
            assert other is not None
            items[_place(items, step)] = other
        del items[_place(items, made)]


def _place(items: Sequence[Item], step: Step) -> int:
    return next(i for i, item in enumerate(items) if item is step)
