"""Where everything lies, as text."""

from __future__ import annotations

from ..ir.plan import Plan, PlanTensor
from ..sets import REF
from .flash import stored


def memory_map(plan: Plan, kernel_set: str = REF) -> list[str]:
    """A table of where everything lies in the library of `kernel_set`, as lines of text."""
    flash = stored(plan, kernel_set)
    arena = sorted(plan.space("arena"), key=lambda t: (t.offset, t.name))
    own = "" if plan.shared else f", and {plan.infer_arena_bytes} of an arena that is infer's own"
    lines = [
        f"Memory: {flash.nbytes} bytes of constants in flash, "
        f"{plan.state_bytes} of state and {plan.arena_bytes} of arena in RAM{own}.",
        "",
    ]
    for part in (
        [_map_line(plan, "constant", t.name, t) for t in flash.constants]
        + [_map_line(plan, "constant", f"{t.name}_init", t) for t in flash.starts],
        [_map_line(plan, "state", t.name, t) for t in plan.space("state")],
        [_map_line(plan, "arena", t.name, t) for t in arena],
    ):
        lines += [*part, ""] if part else []
    return lines[:-1]


def _map_line(plan: Plan, title: str, name: str, t: PlanTensor) -> str:
    in_ram = title != "constant"
    place, limits = (f"{t.offset:>7}", f"{t.lo} .. {t.hi}") if in_ram else ("", "")
    dims = "x".join(map(str, t.shape))
    kind = f"{t.dtype:<7}{dims:>9}  {plan.q(t):<8}"
    return f"{title:<9}{place:>7} {t.nbytes:>7} B  {name:<28} {kind} {limits}".rstrip()
