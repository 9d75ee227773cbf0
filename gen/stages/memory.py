"""Places arena tensors: liveness across every program that can run, then offsets, large tensors first.

Two tensors may share bytes if no moment of any entry program needs both. Tensors of two different types wider
than a byte never share, so that the emitted C reads every byte through one type (or through a character type,
which may alias anything).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ..ir.program import Call, Entry, Program, Repeat, Step
from ..ops import inplace, replaced

ALIGN = 4
BYTEWIDE = ("int8", "uint8")


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


class Interference(Liveness):
    """Which tensors must not share bytes, and which in-place results may take over their operand's place."""

    def __init__(self, programs: Mapping[str, Program], pieces: Mapping[str, Piece]) -> None:
        super().__init__(programs, pieces.keys())
        self.pieces = pieces
        self.edges: set[tuple[str, str]] = set()
        self.inplace: dict[tuple[str, str], bool] = {}

    def entry(self, program: str, loaded: Iterable[str], kept: Iterable[str]) -> None:
        """Adds an entry program: `loaded` hold content before it, `kept` must hold theirs after it."""
        live = self.before(program, frozenset(n for n in kept if n in self.pieces))
        self._together(live | {n for n in loaded if n in self.pieces})

    def before_step(self, step: Step, after: frozenset[str]) -> frozenset[str]:
        pairs, together = self._pairs(step, after), self.operands(step) | after
        for name in together:
            for other in together:
                if name < other and not {(name, other), (other, name)} & pairs:
                    self.edges.add((name, other))
        return super().before_step(step, after)

    def _pairs(self, step: Step, after: frozenset[str]) -> set[tuple[str, str]]:
        """(operand, result) of an in-place kernel, for each operand that is dead afterwards."""
        found = set()
        for source, target in inplace(step):
            if source in self.pieces and target in self.pieces:
                a, b = self.pieces[source], self.pieces[target]
                possible = source not in after and (a.nbytes, a.dtype) == (b.nbytes, b.dtype)
                self.inplace[source, target] = possible and self.inplace.get((source, target), True)
                found |= {(source, target)} if possible else set()
        return found

    def _together(self, names: Iterable[str]) -> None:
        names = sorted(names)
        self.edges.update((a, b) for i, a in enumerate(names) for b in names[i + 1 :])

    def conflict(self, a: str, b: str) -> bool:
        x, y = self.pieces[a], self.pieces[b]
        if x.dtype != y.dtype and x.dtype not in BYTEWIDE and y.dtype not in BYTEWIDE:
            return True
        return (min(a, b), max(a, b)) in self.edges

    def groups(self) -> dict[str, list[str]]:
        """Tensors that lie in one place, by the name of the first: chains of in-place results."""
        home = {n: [n] for n in self.pieces}
        for (source, target), possible in sorted(self.inplace.items()):
            a, b = home[source], home[target]
            if a is b:
                continue
            if possible and not any(self.conflict(x, y) for x in a for y in b):
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
    offsets: dict[str, int] = {}

    def turn(head: str) -> tuple[bool, int, str]:
        return not any(m in first for m in groups[head]), -pieces[head].nbytes, head

    for head in sorted(groups, key=turn):
        members = groups[head]
        taken = sorted(
            (offsets[o], offsets[o] + pieces[o].nbytes)
            for o in offsets
            if any(graph.conflict(m, o) for m in members)
        )
        at = 0
        for start, end in taken:
            if at + pieces[head].nbytes <= start:
                break
            at = max(at, -(-end // ALIGN) * ALIGN)
        offsets |= dict.fromkeys(members, at)
    return offsets, extent(pieces, offsets, offsets)


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
            moved = offsets[a] != offsets[b] and {(a, b), (b, a)} & graph.inplace.keys()
            if moved or graph.conflict(a, b):
                return a, b
    return None


def extent(pieces: Mapping[str, Piece], offsets: Mapping[str, int], names: Iterable[str]) -> int:
    """Bytes of an arena that holds `names` at their offsets."""
    size = max((offsets[n] + pieces[n].nbytes for n in names), default=0)
    return -(-size // ALIGN) * ALIGN
