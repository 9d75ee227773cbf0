"""What a library holds in flash: how a kernel set prints each step, and so what is stored in which layout.

One place decides it. The emitted C and its memory map, the check against the board, the report and `synapcc
inspect` all ask `stored`; tests/gen/emit/test_flash_bytes.py holds it against what the linker has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..ir.plan import Plan, PlanTensor
from ..ir.program import Step
from ..ir.roles import FIRST, GOOD
from ..ops import Relaid, Variant, kernel
from ..sets import REF, chain


@dataclass(frozen=True)
class Stored:
    """The contents of a Plan as the library of one kernel set holds them.

    variants:  how each step is printed, in the order of Plan.ops
    args:      by step, the constant or tensor of each role
    constants: constants as the Plan has them where a step reads them so, and those that a step reads in
               another layout
    starts:    the state tensors that do not start from zero: each has a copy in flash, `<name>_init`
    alike:     of the others, by name, those whose bytes are in flash under another one's name, and which
    origin:    by name of a constant in another layout, the Plan's tensor that it was made from
    """

    variants: tuple[Variant, ...]
    args: tuple[Mapping[str, str], ...]
    constants: tuple[PlanTensor, ...]
    starts: tuple[PlanTensor, ...]
    alike: Mapping[str, str]
    origin: Mapping[str, str]

    @property
    def tensors(self) -> tuple[PlanTensor, ...]:
        """Every array in flash."""
        return (*self.constants, *self.starts)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays in flash, without code and without the padding between arrays."""
        return sum(t.nbytes for t in self.tensors)


def _variant(kernel_set: str, step: Step, operands: Mapping[str, PlanTensor]) -> Variant:
    """How the set prints a step: what it does not print itself, the next set of its chain does, in the end
    `ref`."""
    for name in chain(kernel_set):
        variant = kernel(step.kernel).variant(name, operands, step.attrs)
        if variant.kernel_set == name:
            break
    return variant


def stored(plan: Plan, kernel_set: str = REF) -> Stored:
    """What the library of `kernel_set` holds in flash: each step's kernel says how the set prints it."""
    variants, args = [], []
    made: dict[str, PlanTensor] = {}
    origin: dict[str, str] = {}
    for _, _, step in plan.ops():
        operands = {role: plan[name] for role, name in step.args.items()}
        variant = _variant(kernel_set, step, operands)
        names = {role: name for role, name in step.args.items() if role not in variant.unread}
        for role, relaid in variant.relaid.items():
            t = _relaid(operands[role], relaid, plan)
            if made.setdefault(t.name, t) != t:
                raise AssertionError(f"{t.name} has two contents")
            names[role] = t.name
            origin[t.name] = operands[role].name
        variants.append(variant)
        args.append(names)
    read = {name for names in args for name in names.values()}
    natural = [t for t in plan.space("const") if t.name in read]
    starts = tuple(t for t in plan.space("state") if t.data is not None and any(t.data))
    alike = _alike(starts, natural)
    own = tuple(t for t in starts if t.name not in alike)
    return Stored(tuple(variants), tuple(args), (*natural, *made.values()), own, alike, origin)


def _alike(starts: Sequence[PlanTensor], constants: Sequence[PlanTensor]) -> dict[str, str]:
    """What a guard has copies of, each with a tensor of the same bytes: first state, or learned one."""
    first, found = [t for t in constants if t.use == FIRST], {}
    for t in starts:
        others = [*first, *(o for o in starts if t.use == GOOD != o.use)]
        if same := next((o for o in others if (o.dtype, o.data) == (t.dtype, t.data)), None):
            found[t.name] = same.name
    return found


def _relaid(t: PlanTensor, relaid: Relaid, plan: Plan) -> PlanTensor:
    """`relaid` as a tensor of its own: a flat array under a name that no other has."""
    name = f"{t.name}_{relaid.layout}"
    while name in plan:
        name += "_"
    flat = relaid.array.ravel()
    data = flat.astype(flat.dtype.newbyteorder("<")).tobytes()
    return replace(
        t,
        name=name,
        dtype=str(flat.dtype),
        shape=(len(flat),),
        row=len(flat),
        role="relaid",
        note=relaid.note,
        data=data,
    )
