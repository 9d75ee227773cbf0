"""What a state that is kept says of itself, so that firmware of another Plan takes over what it knows.

An entry a tensor: a key of its name, shape and meaning, its type, its exponent, and where it lies in what is
kept. What has no entry starts as compiled, always: samples and what counts for them, sums of a few changes,
traces, whose meaning is an equation that a name does not tell, phases, and what is counted for a reader.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import CompileError
from ..ir.format import PowerOfTwo
from ..ir.plan import Plan, PlanTensor
from ..ir.roles import GOOD, LEARNED
from ..ops import changed
from ..stages.heard import Heard

MAGIC = 0x314D4B53  # "SKM1": the manifest's version
ENTRY = struct.Struct("<IIIhBB")
TRAILER = struct.Struct("<III")
DTYPES = ("int8", "int16", "int32", "uint32")
"""By the number that stands for them."""
PACES = ("step", "trial")
"""Counts of learning steps: the rounding's random words and a schedule go by them."""
MOST_BEHIND = 255  # that a byte counts
_FEEDBACK = "_feedback"


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor that may be taken over.

    key:      32 bits of what it is
    at:       bytes from the start of what is kept
    count:    elements, the padding of rows included
    exponent: n where v stands for v / 2^n; 0 where the key says what v stands for
    behind:   layers that learn in front of it
    """

    name: str
    key: int
    at: int
    count: int
    dtype: str
    exponent: int
    behind: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a state says of itself, and what of it may not be mixed with what was compiled.

    entries: in the state's order
    needs:   (i, j): entry i is taken only if j is. Those from number `always` on hold only where layers in
             front of it learned in the other Plan: else they are there as this one has compiled them
    """

    entries: tuple[Entry, ...]
    needs: tuple[tuple[int, int], ...]
    always: int

    def packed(self, layout: int) -> bytes:
        """The bytes behind what is kept. layout: CRC-32 of the table of pieces."""
        rows = (
            ENTRY.pack(e.key, e.at, e.count, e.exponent, DTYPES.index(e.dtype), e.behind)
            for e in self.entries
        )
        return b"".join(rows) + TRAILER.pack(layout, len(self.entries), MAGIC)


def largest(tensors: int) -> int:
    """Bytes of a manifest at most, of a state of so many tensors."""
    return tensors * ENTRY.size + TRAILER.size


def manifest(plan: Plan, heard: Mapping[str, Heard], places: Mapping[str, int]) -> Manifest:
    """What a state of `plan` says of itself.

    heard:  what each layer that learns hears (gen.stages.heard)
    places: where each tensor that is kept lies among what is kept, in bytes
    """
    layers = _layers(plan, heard, places)
    moved = {name: layer for layer, names in layers.items() for name in names}
    known: dict[str, str] = {}
    for t in sorted(plan.space("state"), key=lambda t: t.offset):
        base = t.name.removeprefix(f"{GOOD}_") if t.use == GOOD else t.name
        if _movable(plan, t.name, places) and (base in moved or t.name in PACES):
            known[t.name] = moved.get(base, "")
    if not moved:
        hint = "leave migrate out"
        raise CompileError("keep.migrate", f"{plan.model} keeps nothing that another Plan could know", hint)
    entries = tuple(_entry(plan, plan[n], places[n], heard.get(layer)) for n, layer in known.items())
    if len({e.key for e in entries}) < len(entries):
        raise CompileError("keep.migrate", "two tensors have one key", "give a layer another name")
    at = {e.name: i for i, e in enumerate(entries)}
    always, fronts = (
        [(at[i], at[j]) for i, j in dict.fromkeys(pairs) if i != j and i in at]
        for pairs in (_needs(plan, layers, list(at)), _fronts(layers, heard))
    )
    return Manifest(entries, (*always, *fronts), len(always))


def _layers(plan: Plan, heard: Mapping[str, Heard], places: Mapping[str, int]) -> dict[str, list[str]]:
    """The tensors of each layer: weights and bias first, how many samples made its rows, learned feedback."""
    found: dict[str, list[str]] = {}
    counts = _row_counts(plan)
    for layer, hears in heard.items():
        own = [f"{layer}_{part}" for part in ("weight", "bias")]
        if f"{layer}_recurrent" not in heard:  # else they are another layer's
            own += [f"{layer}_recurrent_{part}" for part in ("weight", "bias")]
        own = [n for n in own if n in plan and plan[n].learned]
        own += [c for c in counts if plan[c].space == "state" and c.startswith(f"{layer}_")]
        if not own or not all(_movable(plan, n, places) for n in own):
            continue
        if not set(hears.behind) <= set(found):  # one in front of it starts as compiled, always
            continue
        feedback = f"{layer}{_FEEDBACK}"
        found[layer] = own + [feedback] * (feedback in plan and plan[feedback].learned)
    return found


def _row_counts(plan: Plan) -> list[str]:
    """Counts of the samples that rows are means of: kernels change them together with these."""
    found = []
    for _, _, step in plan.ops():
        names = changed(step)
        learned = [n for n in names.values() if plan[n].learned]
        if learned and "count" in names:
            found.append(names["count"])
    return list(dict.fromkeys(found))


def _movable(plan: Plan, name: str, places: Mapping[str, int]) -> bool:
    """Whether a tensor is kept, and its padding stays zero within its limits."""
    return name in places and plan[name].dtype in DTYPES and plan[name].lo <= 0 <= plan[name].hi


def _entry(plan: Plan, t: PlanTensor, at: int, heard: Heard | None) -> Entry:
    power = t.meaning.exponent if _shifts(t) and isinstance(t.meaning, PowerOfTwo) else 0
    behind = len(heard.behind) if heard else 0
    return Entry(t.name, _key(plan, t, heard), at, t.count, t.dtype, power, min(behind, MOST_BEHIND))


def _shifts(t: PlanTensor) -> bool:
    """Whether another power of two is a matter of shifts."""
    meaning = t.meaning
    return (
        t.role in LEARNED and isinstance(meaning, PowerOfTwo) and not meaning.zero and not meaning.row_fracs
    )


def _key(plan: Plan, t: PlanTensor, heard: Heard | None) -> int:
    """CRC-32 of what a tensor is: where two agree, their numbers mean the same but for the exponent."""
    scale = "" if _shifts(t) or t.role not in LEARNED else str(sorted(t.meaning.to_json().items()))
    words = (t.name, t.role, t.use, t.shape, scale, heard.key if heard else "", plan.numbers)
    return zlib.crc32(repr(words).encode())


def _core(names: Sequence[str]) -> list[str]:
    """Of the tensors of a layer those of which none may be missing."""
    return [n for n in names if not n.endswith(_FEEDBACK)]


def _needs(
    plan: Plan, layers: Mapping[str, Sequence[str]], known: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """(i, j): i is taken only if j is. A layer's feedback may be missing, all else of it may not; a guard's
    good state is all of it, behind all that was learned."""
    for names in layers.values():
        core = _core(names)
        yield from zip(core, [*core[1:], core[0]], strict=True)
        for name in names[len(core) :]:
            yield name, core[0]
    good = [n for n in known if plan[n].use == GOOD]
    yield from zip(good, [*good[1:], *good[:1]], strict=True)
    for name in [*good[:1], *(n for n in known if n in PACES)]:
        for names in layers.values():
            yield name, names[0]


def _fronts(layers: Mapping[str, Sequence[str]], heard: Mapping[str, Heard]) -> Iterator[tuple[str, str]]:
    """(i, j): a layer that heard what was learned is taken only with that."""
    for layer, names in layers.items():
        for before in heard[layer].behind:
            yield names[0], layers[before][0]
