"""What the emitted library offers, and what its functions are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import CompileError
from ..ir.plan import DENY, MARK, PUSH, SCORE, Plan, PlanTensor
from ..numeric import PRIMITIVES
from ..ops import kernel
from .helpers import WORDS
from .views import TensorView

# What templates/model.c.j2 and model.h.j2 call <prefix>_...: `t` and what ends in it are types.
INTERFACE = (
    *("init", "infer", "learn", "run", "run_op", "load", "tensor", "status", "nothing", "t"),
    *("check", "check_part", "tensors", "above", "check_op", "held_t", "held", "wants", "holds"),
    *("learn_begin", "learn_step", "run_begin", "run_step", "run_abort", "run_t", "infer_arena_t"),
    *("ops", "item_t", "items", "starts", "claim", "release", "settle", "begin", "open", "put"),
    *("take", "taken", "pushed_t", "scored_t"),
    *(
        "state_t",
        "inputs_t",
        "outputs_t",
        "tensor_t",
        "shift_is_arithmetic",
        "state_is_packed",
        "model_is_packed",
    ),
    *("opaque", "word_t", "any_t", *WORDS, *PRIMITIVES),
)

KEEPING = ("save", "save_begin", "save_step", "save_abort", "restore", "pin", "unpin", "pinned", "keep")
"""And where the state is kept in flash: templates/keep.c.j2."""


@dataclass(frozen=True)
class EntryView:
    """An entry program that takes something, as templates see it.

    struct: the C type of its inputs, the model's own where these are what it takes; "" for a label alone
    fields: the members of a struct of its own; empty if it has none
    inputs: what is filled
    label:  the C type of its label; "" if it takes none
    answer: of the program that takes samples, the C type of what it says of them
    scored: of the program that scores a sample, the C type of what it says of it
    late:   of the program that labels a window late, the tensor that says whether it found one
    denies: whether that label is a class that the window was not
    """

    name: str
    doc: str
    struct: str
    fields: tuple[TensorView, ...]
    inputs: tuple[TensorView, ...]
    label: str
    answer: str = ""
    late: str = ""
    denies: bool = False
    scored: str = ""

    @property
    def parameters(self) -> str:
        if self.late:
            return f", {self.label} label, {self.inputs[0].ctype} ago, uint32_t *found"
        if self.answer:
            return f", const {self.inputs[0].ctype} *samples, {self.answer} *y"
        x = f", const {self.struct} *x" if self.struct else ""
        if self.scored:
            return f"{x}, {self.scored} *y"
        return f"{x}, {self.label} label" if self.label else x


def label_type(plan: Plan) -> str:
    """The C type of labels, also where nothing reads one."""
    return f"{plan['label'].dtype if 'label' in plan else 'uint8'}_t"


def entry_views(plan: Plan, views: Mapping[str, TensorView], more: Iterable[str] = ()) -> list[EntryView]:
    """The entry programs beside `infer` and `learn` that take anything: each is a function of the library.

    more: names of the library beside INTERFACE. CompileError where an entry is called like something else.
    """
    found = []
    taken = {*INTERFACE, *more}
    for e in plan.entry_points:
        if e.name in more:
            raise _taken(plan, e.name)
    for e in plan.entry_points:
        if e.name in ("infer", "learn") or not e.loaded:
            continue
        if e.name in taken or f"{e.name}_inputs_t" in taken:
            raise _taken(plan, e.name)
        inputs = tuple(views[n] for n in e.inputs)
        if e.name == PUSH and plan.streams:
            doc, answer = plan.programs[e.name].doc, f"{plan.model}_pushed_t"
            found.append(EntryView(e.name, doc, "", (), inputs, "", answer))
            continue
        if (e.name == MARK and plan.marks) or (e.name == DENY and plan.denies):
            doc = plan.programs[e.name].doc
            label, denies = label_type(plan), e.name == DENY
            found.append(EntryView(e.name, doc, "", (), inputs, label, late="mark_found", denies=denies))
            continue
        if e.name == SCORE and plan.watches:
            struct, said = f"{plan.model}_inputs_t", f"{plan.model}_scored_t"
            found.append(EntryView(e.name, plan.programs[e.name].doc, struct, (), inputs, "", scored=said))
            continue
        own = bool(inputs) and e.inputs != plan.inputs
        struct = f"{plan.model}_{f'{e.name}_' if own else ''}inputs_t" if inputs else ""
        doc = plan.programs[e.name].doc
        found.append(
            EntryView(e.name, doc, struct, inputs if own else (), inputs, label_type(plan) if e.label else "")
        )
    return found


def _taken(plan: Plan, entry: str) -> CompileError:
    what = f"{plan.model}_{entry} is something else in the emitted library"
    return CompileError(entry, what, "give the rule's entry program another name")


def step_names(plan: Plan, constants: Iterable[PlanTensor]) -> list[str]:
    """One C name a step: node and kernel, numbered where that is another's name."""
    taken = {*INTERFACE, *(f"program_{name}" for name in plan.programs), *(t.name for t in constants)}
    taken |= {text for e in plan.entries for text in (e, f"{e}_inputs_t")}
    taken |= {f"{t.name}_init" if t.space == "state" else t.name for t in plan.tensors}
    names = []
    for _, _, step in plan.ops():
        name = base = f"{step.node}_{kernel(step.kernel).function or step.kernel.split('.')[1]}"
        number = 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        names.append(name)
    return names
