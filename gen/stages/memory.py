"""Places arena tensors: liveness across every program that can run, then offsets, large tensors first.

Two tensors may share bytes if no moment of any entry program needs both. What a step writes may lie where
something lies that it alone still needs: in place, or trailing behind what it has read (Blacker et al.,
"Diagonal Memory Optimisation for Machine Learning on Micro-controllers", 2020). Tensors of two different
types wider than a byte never share, so that the emitted C reads every byte through one type (or through a
character type, which may alias anything).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..ir.program import Call, Entry, Program, Repeat, Step
from ..ops import inplace, kernel, replaced, trailing
from .pack import Near, aligned, ends, lowest, searched

BYTEWIDE = ("int8", "uint8")
WORTH = 32  # one byte in so many is worth it: for less, no layout is turned over, and no instruction spent


@dataclass(frozen=True, slots=True)
class Piece:
    """An arena tensor to be placed."""

    name: str
    nbytes: int
    dtype: str


def loaded(programs: Mapping[str, Program], program: str, names: Iterable[str]) -> frozenset[str]:
    """Which of the arena tensors `names` the program reads before it writes them: a caller loads these."""
    return Liveness(programs, frozenset(names)).before(program, frozenset())


def filled(entries: Iterable[Entry], inputs: tuple[str, ...], label: bool) -> dict[str, tuple[str, ...]]:
    """By entry program, what callers lay into the arena before it: the network's `inputs`, and the label
    where there is one; or what it takes of its own."""
    common = (*inputs, *(("label",) if label else ()))
    return {e.name: e.loaded if {*e.inputs} - {*inputs} else common for e in entries}


class Liveness:
    """Which of the arena tensors `names` must hold content when."""

    def __init__(self, programs: Mapping[str, Program], names: Collection[str]) -> None:
        self.programs, self.names = programs, names

    def before(self, program: str, live: frozenset[str]) -> frozenset[str]:
        """Tensors that must hold content before `program`, if `live` must after it."""
        for item in reversed(self.programs[program].items):
            if isinstance(item, Step):
                live = self.before_step(item, live)
            elif isinstance(item, Call):
                live = self.before(item.program, live)
            elif isinstance(item, Repeat):
                live = live | self.before(item.program, live | self.before(item.program, live))
            else:
                live = (
                    live
                    | self.before(item.program, live)
                    | ({item.flag} if item.flag in self.names else frozenset())
                )
        return live

    def operands(self, step: Step) -> set[str]:
        return {name for name in step.args.values() if name in self.names}

    def before_step(self, step: Step, after: frozenset[str]) -> frozenset[str]:
        """The same of one step."""
        operands = self.operands(step)
        return (after | operands) - operands.intersection(replaced(step).values())


@dataclass(frozen=True, slots=True)
class Over:
    """A result that may lie on an operand which nobody needs afterwards.

    lead: bytes by which it must begin before it; None: it lies there in place, neither before nor behind
    saved: bytes that both then share at most
    """

    source: str
    target: str
    lead: int | None
    saved: int


def overlaying(step: Step, pieces: Mapping[str, Piece], after: Collection[str]) -> list[Over]:
    """What the step writes and may lie on what is not needed `after` it."""
    found = []
    for source, target in inplace(step):
        a, b = pieces.get(source), pieces.get(target)
        if a and b and source not in after and (a.nbytes, a.dtype) == (b.nbytes, b.dtype):
            found.append(Over(source, target, None, b.nbytes))
    if pair := trailing(step):
        a, b = (pieces.get(name) for name in pair)
        if a and b and a.name not in after and not _unlike(a, b):
            read, written = (np.dtype(piece.dtype).itemsize for piece in (a, b))
            lead = aligned(kernel(step.kernel).lead(read, written, step.attrs))
            if (saved := min(b.nbytes - lead, a.nbytes)) > 0:
                found.append(Over(a.name, b.name, lead, saved))
    return found


def _unlike(a: Piece, b: Piece) -> bool:
    """Whether no byte may be read through the types of both."""
    return a.dtype != b.dtype and a.dtype not in BYTEWIDE and b.dtype not in BYTEWIDE


class Interference(Liveness):
    """Which tensors must not share bytes, and which results may lie on their operand.

    inplace: (operand, result) of kernels that work in place: whether one may be the other
    leads:   (operand, result) of kernels whose result trails: bytes by which it must begin before the operand
    floor:   bytes that some step needs, however well tensors are placed
    written: what steps write, from the last step of the last program back to the first
    """

    def __init__(self, programs: Mapping[str, Program], pieces: Mapping[str, Piece]) -> None:
        super().__init__(programs, pieces.keys())
        self.pieces = pieces
        self.edges: set[tuple[str, str]] = set()
        self.inplace: dict[tuple[str, str], bool] = {}
        self.leads: dict[tuple[str, str], int] = {}
        self.floor = 0
        self.written: list[str] = []

    def entry(self, program: str, loaded: Iterable[str], kept: Iterable[str]) -> None:
        """Adds an entry program: `loaded` hold content before it, `kept` must hold theirs after it."""
        live = self.before(program, frozenset(n for n in kept if n in self.pieces))
        self._together(live | {n for n in loaded if n in self.pieces})

    def before_step(self, step: Step, after: frozenset[str]) -> frozenset[str]:
        over, together = overlaying(step, self.pieces, after), self.operands(step) | after
        pairs = {(o.source, o.target) for o in over}
        for name in together:
            for other in together:
                if name < other and not {(name, other), (other, name)} & pairs:
                    self.edges.add((name, other))
        for pair in inplace(step):
            if {*pair} <= self.pieces.keys():
                self.inplace[pair] = pair in pairs and self.inplace.get(pair, True)
        for o in over:
            if o.lead is not None:
                pair = o.source, o.target
                self.leads[pair] = max(o.lead, self.leads.get(pair, 0))
        self.written += [name for name in replaced(step).values() if name in self.pieces]
        saved = sum(max(o.saved for o in over if o.target == target) for target in {o.target for o in over})
        self.floor = max(self.floor, sum(self.pieces[n].nbytes for n in together) - saved)
        return super().before_step(step, after)

    def _together(self, names: Iterable[str]) -> None:
        names = sorted(names)
        self.edges.update((a, b) for i, a in enumerate(names) for b in names[i + 1 :])

    def turns(self, groups: Sequence[Collection[str]], last: bool) -> list[int]:
        """Numbers of groups of tensors, first that which is written last; where several steps write one, in
        the program of an entry that comes early, or `last`."""
        turn: dict[str, int] = {}
        for i, name in enumerate(self.written):
            turn[name] = i if last else turn.get(name, i)
        never = len(self.written)
        return sorted(range(len(groups)), key=lambda g: min(turn.get(name, never) for name in groups[g]))

    def conflict(self, a: str, b: str) -> bool:
        return _unlike(self.pieces[a], self.pieces[b]) or (min(a, b), max(a, b)) in self.edges

    def over(self, a: str, b: str, distance: int) -> bool:
        """Whether they may share bytes where b begins by so many bytes behind a."""
        pairs = (a, b), (b, a)
        moved = distance != 0 and any(p in self.inplace for p in pairs)
        ahead = {(b, a): distance, (a, b): -distance}  # by how much a result begins before its operand
        return not moved and all(ahead[p] >= self.leads[p] for p in pairs if p in self.leads)

    def apart(self, a: str, b: str) -> bool:
        """Whether they may not lie in one place."""
        return self.conflict(a, b) or bool({(a, b), (b, a)} & self.leads.keys())

    def groups(self) -> dict[str, list[str]]:
        """Tensors that lie in one place, by the name of the first: chains of in-place results."""
        home = {n: [n] for n in self.pieces}
        for (source, target), possible in sorted(self.inplace.items()):
            a, b = home[source], home[target]
            if a is b:
                continue
            if possible and not any(self.apart(x, y) for x in a for y in b):
                a.extend(b)
                for name in b:
                    home[name] = a
            else:  # one place or two that share nothing
                self.edges.add((min(source, target), max(source, target)))
        return {members[0]: members for members in home.values()}


def place(
    programs: Mapping[str, Program],
    entries: Mapping[str, Iterable[str]],
    pieces: Mapping[str, Piece],
    kept: Iterable[str],
    first: Collection[str] = (),
) -> tuple[dict[str, int], int]:
    """Byte offset of every piece, and the size of the arena.

    entries: what is loaded before each; first: pieces that lie as low as they can
    """
    graph = Interference(programs, pieces)
    for entry, loaded in entries.items():
        graph.entry(entry, loaded, kept)
    groups = graph.groups()

    def turn(head: str) -> tuple[bool, int, str]:
        return not any(m in first for m in groups[head]), -pieces[head].nbytes, head

    heads = sorted(groups, key=turn)
    low = sum(any(m in first for m in groups[head]) for head in heads)
    sizes = [pieces[head].nbytes for head in heads]
    at = lowest(sizes, _near(graph, groups, heads, trail=False), range(len(heads)))
    if graph.leads and ends(sizes, at, low)[0] > graph.floor:
        orders = [graph.turns([groups[head] for head in heads], last) for last in (False, True)]
        near = _near(graph, groups, heads, trail=True)
        other = searched(sizes, near, orders, low, graph.floor)
        before, after = (sum(ends(sizes, found, low)) for found in (at, other))
        at = other if WORTH * after <= (WORTH - 1) * before else at
    offsets = {m: at[i] for i, head in enumerate(heads) for m in groups[head]}
    return offsets, extent(pieces, offsets, offsets)


def _near(
    graph: Interference, groups: Mapping[str, Collection[str]], heads: Sequence[str], trail: bool
) -> Sequence[Near]:
    """What keeps groups of tensors from each other's bytes; trail: whether those that may trail do so."""
    size = [graph.pieces[head].nbytes for head in heads]
    near: list[dict[int, tuple[int, int]]] = [{} for _ in heads]
    for i, a in enumerate(heads):
        for j, b in enumerate(heads[:i]):
            pairs = [(x, y) for x in groups[a] for y in groups[b]]
            before = [graph.leads[y, x] for x, y in pairs if (y, x) in graph.leads]  # a may begin before b
            behind = [graph.leads[pair] for pair in pairs if pair in graph.leads]  # or b before a
            if (
                any(graph.conflict(*p) for p in pairs)
                or (before + behind and not trail)
                or (before and behind)
            ):
                near[i][j], near[j][i] = (size[i], size[j]), (size[j], size[i])
            elif before:
                near[i][j], near[j][i] = (max(before), size[j]), (size[j], max(before))
            elif behind:
                near[i][j], near[j][i] = (size[i], max(behind)), (max(behind), size[i])
    return near


def clash(
    programs: Mapping[str, Program],
    entries: Mapping[str, Iterable[str]],
    pieces: Mapping[str, Piece],
    kept: Iterable[str],
    offsets: Mapping[str, int],
) -> tuple[str, str] | None:
    """Two pieces that share bytes at these offsets and must not; None where all is as `place` leaves it."""
    graph = Interference(programs, pieces)
    for entry, loaded in entries.items():
        graph.entry(entry, loaded, kept)
    ordered = sorted(pieces, key=offsets.__getitem__)
    for i, a in enumerate(ordered):
        for b in ordered[i + 1 :]:
            if offsets[b] >= offsets[a] + pieces[a].nbytes:
                break
            if graph.conflict(a, b) or not graph.over(a, b, offsets[b] - offsets[a]):
                return a, b
    return None


def extent(pieces: Mapping[str, Piece], offsets: Mapping[str, int], names: Iterable[str]) -> int:
    """Bytes of an arena that holds `names` at their offsets."""
    size = max((offsets[n] + pieces[n].nbytes for n in names), default=0)
    return aligned(size)
