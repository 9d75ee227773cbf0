"""From abstract programs and formats to the Plan: integer attributes, proofs, offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from ..errors import CompileError, TermError
from ..ir.format import shifts
from ..ir.graph import Graph
from ..ir.plan import ROW_ALIGN, Plan, PlanTensor, of_program, padded, row_length
from ..ir.program import Abstract, Item, Program, Step, reached
from ..ops import Format, changed, kernel, step_fault
from ..spec import RuleSpec
from .bounds import Proof, prove
from .fuse import fuse
from .keep import Keeping, fewest, keep, pools, sites
from .memory import Piece, extent, filled, place
from .order import ordered
from .quantise import Quantised
from .slower import falling, with_slower, without_slower


def _worthwhile(
    places: int, folds: int, tensors: Mapping[str, PlanTensor], arena: Callable[[tuple[int, ...]], int]
) -> tuple[int, ...]:
    """Which places keep less and, numbered behind them, which pools fold.

    What is kept costs instructions, so all RAM decides whether it is worth them; a fold costs none, and the
    arena alone decides.
    """
    state = sum(t.nbytes for t in tensors.values() if t.space == "state")
    found = fewest(places + folds, lambda kept: state + arena(kept))
    alone = fewest(folds, lambda kept: arena(tuple(places + i for i in kept)))
    return found or tuple(places + i for i in alone)


def lower(abstract: Abstract, quantised: Quantised, graph: Graph, spec: RuleSpec) -> tuple[Plan, list[Proof]]:
    """The Plan of `abstract`, which was made of `graph`, and a proof for each of its steps.

    `infer` works in the arena of all programs, or as `spec` says in one of its own. CompileError where it
    cannot, because it changes the state.
    """
    shared = spec.arena.shared
    if not shared:
        _refuse_change(abstract)
    formats = quantised.formats
    every = {}
    for p in abstract.programs.values():
        with falling(p.name, abstract.slower, spec.schedule):
            every[p.name] = _program(p, formats)
    written = without_slower(every, abstract.slower)
    fused = fuse(_without_idle(written, formats, abstract.logits))
    unplaced = {t.name: t for t in _tensors(replace(abstract, programs=fused), quantised)}

    places, folds = sites(fused, unplaced), pools(fused, unplaced)

    @cache
    def laid(kept: tuple[int, ...]) -> _Laid:
        folded = [folds[i - len(places)] for i in kept if i >= len(places)]
        kept_at = [places[i] for i in kept if i < len(places)]
        return _laid(abstract, keep(fused, unplaced, kept_at, folded), shared)

    least = laid(_worthwhile(len(places), len(folds), unplaced, lambda kept: laid(kept).nbytes))
    state = {v.name for v in abstract.values.values() if v.space == "state"}
    programs = with_slower(least.keeping.programs, every, abstract.slower, state)
    arena = least.arena
    tensors, state_bytes = _placed(least.named, arena)
    plan = Plan(
        abstract.name,
        tensors,
        programs,
        abstract.entry_points,
        abstract.inputs,
        tuple(i.shape for i in graph.interface),
        tuple(i.source for i in graph.interface),
        abstract.logits,
        abstract.classes,
        state_bytes,
        arena.nbytes,
        graph.head,
        quantisers={n: q.times(formats[n].frac) for n, q in graph.quantisers.items()},
        infer_arena_bytes=arena.of_infer,
    )
    called = {name for entry in plan.entries for name in reached(programs, entry)}
    for name in sorted(programs.keys() - called):
        raise CompileError(name, "nothing calls this program", "make it an entry program, or leave it out")
    for _, _, step in plan.ops():
        if wrong := step_fault(plan, step):
            hint = "report this model and rule file; an op of your own says what it takes: synapcc docs RULES"
            raise CompileError(step.node, f"{step.kernel}: {wrong}", hint)
    return plan, prove(plan)


def _refuse_change(abstract: Abstract) -> None:
    """Raises CompileError where `infer` writes to the state: as an interrupt it would meet who learns."""
    for name in reached(abstract.programs, "infer"):
        for item in abstract.programs[name].items:
            for operand in changed(item).values() if isinstance(item, Step) else ():
                if abstract.values[operand].space == "state":
                    what = f"is false, but program infer changes {operand}, which persists"
                    hint = "an interrupt must not change what is being learned: set shared = true"
                    raise CompileError("arena.shared", what, hint)


def _program(program: Program, formats: Mapping[str, Format]) -> Program:
    items = tuple(_step(i, formats) if isinstance(i, Step) else i for i in program.items)
    return replace(program, items=items)


def _without_idle(
    programs: Mapping[str, Program], formats: Mapping[str, Format], scores: str
) -> dict[str, Program]:
    """The programs without steps whose x is their y: what reads y reads x. The scores keep their name."""
    same: dict[str, str] = {}

    def idle(step: Step) -> bool:
        held = {r: formats[n] for r, n in step.args.items()}
        return step.args.get("y") != scores and kernel(step.kernel).idle(held, step.attrs)

    for p in programs.values():
        for step in p.items:
            if isinstance(step, Step) and idle(step):
                same[step.args["y"]] = step.args["x"]

    def first(name: str) -> str:
        return first(same[name]) if name in same else name

    def kept(item: Item) -> Item:
        return (
            replace(item, args={r: first(n) for r, n in item.args.items()})
            if isinstance(item, Step)
            else item
        )

    return {
        p.name: replace(p, items=tuple(kept(i) for i in p.items if not (isinstance(i, Step) and idle(i))))
        for p in programs.values()
    }


def _step(step: Step, formats: Mapping[str, Format]) -> Step:
    k = kernel(step.kernel)
    fmt = {role: formats[name] for role, name in step.args.items()}
    try:
        with shifts(step.node, step.kernel, step.said):
            attrs = k.lower(fmt, step.attrs, step.node)
    except CompileError as error:
        if step.said is None or isinstance(error, TermError):
            raise
        hint = error.hint
        if "rate" in step.attrs:  # that of the step: what an equation multiplies it with is part of it
            hint += "; rate and numbers of a term count together"
        raise TermError(error.where, error.what, hint, *step.said) from None
    order = {role: i for i, role in enumerate(k.roles)}
    args = dict(sorted(step.args.items(), key=lambda a: order[a[0]]))
    return Step(step.kernel, step.node, args, {key: int(attrs[key]) for key in sorted(attrs)})


def _tensors(abstract: Abstract, q: Quantised) -> list[PlanTensor]:
    """What the steps name, not yet placed."""
    used = {name for _, step in abstract.steps() for name in step.args.values()}
    tensors: list[PlanTensor] = []
    for v in abstract.values.values():
        if v.name not in used:
            continue
        fmt, row = q.formats[v.name], row_length(v.shape, v.role)
        data = padded(q.data[v.name], row) if v.space != "arena" else None
        tensors.append(
            PlanTensor(
                v.name,
                fmt.dtype,
                v.shape,
                row,
                v.space,
                0,
                fmt.meaning.common,
                fmt.lo,
                fmt.hi,
                v.role,
                v.use,
                v.note,
                data,
            )
        )
    return tensors


@dataclass(frozen=True, slots=True)
class _Arena:
    """Where tensors of the arena lie, its size, and that of `infer`'s own (0 where it shares)."""

    offsets: Mapping[str, int]
    nbytes: int
    of_infer: int


def _arena(abstract: Abstract, pieces: Mapping[str, Piece], shared: bool) -> _Arena:
    loaded = filled(abstract.entry_points, abstract.inputs, "label" in pieces)
    infers = () if shared else of_program(abstract.programs, "infer", abstract.inputs) & pieces.keys()
    offsets, nbytes = place(abstract.programs, loaded, pieces, (abstract.logits, "verdict"), infers)
    return _Arena(offsets, nbytes, extent(pieces, offsets, infers))


@dataclass(frozen=True, slots=True)
class _Laid:
    """Programs whose steps are in order, and the arena that they need."""

    keeping: Keeping
    arena: _Arena

    @property
    def nbytes(self) -> int:
        return self.arena.nbytes + self.arena.of_infer

    @property
    def named(self) -> list[PlanTensor]:
        """The tensors that its steps name."""
        programs = self.keeping.programs.values()
        steps = [item for p in programs for item in p.items if isinstance(item, Step)]
        used = {name for step in steps for name in step.args.values()}
        return [t for t in self.keeping.tensors.values() if t.name in used]


def _laid(abstract: Abstract, keeping: Keeping, shared: bool) -> _Laid:
    programs = keeping.programs
    abstract = replace(abstract, programs=programs)
    named = _Laid(keeping, _Arena({}, 0, 0)).named
    pieces = {t.name: Piece(t.name, t.nbytes, t.dtype) for t in named if t.space == "arena"}
    entries = [e.name for e in abstract.entry_points]
    other = ordered(programs, entries, pieces, (abstract.logits, "verdict"))
    arena = _arena(abstract, pieces, shared)
    if other != programs:
        smaller = _arena(replace(abstract, programs=other), pieces, shared)
        if smaller.nbytes < arena.nbytes:
            return _Laid(replace(keeping, programs=other), smaller)
    return _Laid(keeping, arena)


def _placed(tensors: Sequence[PlanTensor], arena: _Arena) -> tuple[tuple[PlanTensor, ...], int]:
    """Constants, state and arena, each tensor in its place; and the bytes of the state."""
    consts = [t for t in tensors if t.space == "const"]
    # The widest elements first: then every tensor is aligned and no byte is lost between them.
    state = sorted((t for t in tensors if t.space == "state"), key=lambda t: -t.itemsize)
    placed_state, at = [], 0
    for t in state:
        placed_state.append(replace(t, offset=at))
        at += t.nbytes
    placed_arena = [replace(t, offset=arena.offsets[t.name]) for t in tensors if t.space == "arena"]
    return (*consts, *placed_state, *placed_arena), -(-at // ROW_ALIGN) * ROW_ALIGN
