"""Steps and programs as C functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ..ir.plan import Plan
from ..ir.program import Call, Item, Repeat, Step, When
from ..ops import changed, kernel, operands
from ..sets import REF
from .flash import Stored
from .interface import step_names
from .layout import comment, parse, printed
from .once import without_single_loops
from .templates import environment
from .views import StepView, TensorView, Views


@dataclass(frozen=True)
class Function:
    """A step as C. `program`: to which it belongs."""

    fn: str
    comment: str
    body: str
    program: str


@dataclass(frozen=True)
class ProgramText:
    fn: str
    doc: str
    body: str


def step_functions(
    plan: Plan, printed: Stored, views: Views, prefix: str, sources: Mapping[str, str]
) -> list[Function]:
    out = []
    names = step_names(plan, printed.constants)
    for i, (program, _, step) in enumerate(plan.ops()):
        variant = printed.variants[i]
        room = "ops" if variant.kernel_set == REF else variant.kernel_set
        module: Any = environment().get_template(f"{room}/{step.kernel.split('.')[0]}.c.j2").module
        view = StepView(replace(step, args=printed.args[i]), views.of(program), variant.numbers)
        body = getattr(module, variant.macro)(view)
        source = sources.get(step.node, "")
        reads = operands(step, kernel(step.kernel).reads).values()
        changes = changed(step).values()
        flow = f"{', '.join(reads)} -> {', '.join(changes)}" if reads else ", ".join(changes)
        layer = f"{step.node} ({source})" if source else step.node
        what = f"{step.kernel} of {layer}, in program {program}: {flow}"
        out.append(Function(f"{prefix}_{names[i]}", "\n".join(comment(what)), body, program))
    return out


def program_texts(plan: Plan, functions: list[Function], views: Views, prefix: str) -> list[ProgramText]:
    by_place = {(program, i): f.fn for f, (program, i, _) in zip(functions, plan.ops(), strict=True)}
    with_m = "(m)" if plan.shared else "(m, arena)"
    return [
        ProgramText(
            f"{prefix}_program_{n}",
            f"Program {n}: {plan.programs[n].doc}",
            laid_out(
                "\n".join(
                    _call(item, by_place.get((n, i), f"{prefix}_program_"), views.of(n), with_m)
                    for i, item in enumerate(plan.programs[n].items)
                )
            ),
        )
        for n in in_order(plan)
    ]


def _call(item: Item, fn: str, views: Mapping[str, TensorView], with_m: str) -> str:
    """One item of a program as C. `fn`: the step's function; of others, what their names begin with."""
    if isinstance(item, Step):
        return f"{fn}{with_m};"
    call = f"{fn}{item.program}{with_m};"
    if isinstance(item, Call):
        return call
    if isinstance(item, Repeat):
        return f"for (uint32_t i = 0u; i < {item.times}u; i++) {call}"
    assert isinstance(item, When)
    return f"if ({views[item.flag].at0} != 0u) {call}"


def in_order(plan: Plan) -> list[str]:
    """The programs that entries reach, callees first."""
    ordered: list[str] = []

    def visit(name: str) -> None:  # callees first: C wants them declared before use
        for item in plan.programs[name].items:
            if not isinstance(item, Step):
                visit(item.program)
        if name not in ordered:
            ordered.append(name)

    for entry in plan.entries:
        visit(entry)
    return ordered


@lru_cache(1 << 10)  # steps of one shape print the same text
def laid_out(body: str) -> str:
    """The body of a step in the style of the emitted C, without loops that run once."""
    return "\n".join(printed(without_single_loops(parse(body)))) + "\n"


def unused(plan: Plan, body: str) -> str:
    """Statements for the parameters that a function with this body has and does not use."""
    code = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)
    parameters = ("m",) if plan.shared else ("m", "arena")
    return "".join(f"    (void){p};\n" for p in parameters if not re.search(rf"(?<!->)\b{p}\b", code))
