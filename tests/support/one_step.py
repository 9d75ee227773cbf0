"""Plans that hold many kernel cases, one step each, with every operand in a place chosen at random."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ctools import GET_ARENA, GET_STATE, INIT, RUN_OP, SET_ARENA, ChipBatch, HostBatch

from synapcc.gen import ops
from synapcc.gen.ir.format import PowerOfTwo
from synapcc.gen.ir.plan import ROW_ALIGN, Plan, PlanTensor, padded
from synapcc.gen.ir.program import Entry, Program, Space, Step
from synapcc.gen.ops import Case, Kernel, Layer, kernel
from synapcc.host.run.emulator import Emulator

CONSTANT = (
    "w",
    "b",
    "s",
    "r",
    "m",
    "table",
    "count",
)  # roles that programs fill from flash; all others have a fleet axis


def unfinished() -> list[str]:
    """Kernels and layers that gen.ops left out because something of them is missing."""
    out = []
    for found in pkgutil.iter_modules(ops.__path__):
        module = importlib.import_module(f"{ops.__name__}.{found.name}")
        for c in vars(module).values():
            named = (
                isinstance(c, type)
                and c.__module__ == module.__name__
                and (
                    (issubclass(c, Kernel) and "name" in vars(c))
                    or (issubclass(c, Layer) and "op" in vars(c))
                )
            )
            if named and inspect.isabstract(c):
                out.append(f"{module.__name__}.{c.__name__} lacks {', '.join(sorted(c.__abstractmethods__))}")
    return out


ON_OPERAND = -2  # the offset of an in-place result until all is laid out; its note names the operand
BEFORE = 1 << 30  # of one that trails: so many and its lead


@dataclass(frozen=True)
class Placed:
    """A kernel's case and the tensors that hold it."""

    kernel: str
    case: Case
    tensors: dict[str, str]


def cases(rng: np.random.Generator, each: int, names: Iterable[str] | None = None) -> list[tuple[str, Case]]:
    return [(name, ops.kernels()[name].case(rng)) for name in (names or ops.kernels()) for _ in range(each)]


def batch_plan(
    model: str, chosen: list[tuple[str, Case]], rng: np.random.Generator, as_models: float = 0.5
) -> tuple[Plan, list[Placed]]:
    """One Plan whose program `infer` is all cases in turn. Results start as rubbish.

    as_models: how many cases have constants in flash and what steps pass on in the arena, as models do; the
    others have both anywhere
    """
    tensors = [
        _tensor("x", np.zeros(1, np.int8), "arena"),
        _tensor("scores", np.zeros(2, np.int16), "arena"),
        _tensor("verdict", np.zeros(2, np.int32), "arena"),
    ]
    steps, placed = [], []
    for i, (name, case) in enumerate(chosen):
        operands = _operands(name, case, f"c{i}", rng, usual=rng.random() < as_models)
        tensors += operands.values()
        args = {role: t.name for role, t in operands.items()}
        steps.append(Step(name, f"c{i}", args, dict(sorted(case.attrs.items()))))
        placed.append(Placed(name, case, args))
    laid, state_bytes, arena_bytes = _lay_out(tensors)
    programs = {"infer": Program("infer", "every case", tuple(steps))}
    entries = (Entry("infer", ("x",)),)
    inputs = ("x",)
    plan = Plan(
        model, laid, programs, entries, inputs, ((1,),), inputs, "scores", 2, state_bytes, arena_bytes
    )
    return plan, placed


def _operands(
    name: str, case: Case, prefix: str, rng: np.random.Generator, usual: bool
) -> dict[str, PlanTensor]:
    """A tensor for each role of a case, in a space chosen at random; `usual`: where models have it."""
    k = kernel(name)
    *sources, target = k.inplace or ("",)
    given = [r for r in sources if r in case.arrays]
    alike = [r for r in given if _kind(case.arrays[r]) == _kind(case.arrays[target])]
    source = str(rng.choice(alike)) if alike and rng.integers(2) else ""
    lead = ON_OPERAND
    if k.trails and not source and rng.integers(3):
        source, target = k.trails
        lead = -BEFORE - -(-k.lead(*(case.arrays[r].itemsize for r in k.trails), case.attrs) // 4) * 4
    out = {}
    for role in sorted(case.arrays, key=k.roles.index):
        array = _rubbish(case.arrays[role], rng) if role in k.writes else case.arrays[role]
        constant = (role in CONSTANT or role in case.flash) and role not in k.writes + k.updates
        spaces: tuple[Space, ...] = ("arena", "state", "const") if constant else ("arena", "state")
        space = "arena" if source and role in (source, target) else spaces[int(rng.integers(len(spaces)))]
        if (usual and role not in k.updates) or role in case.flash:
            space = "const" if constant else "arena"
        made = _tensor(f"{prefix}_{role}", array, space)
        if role in case.limits and role not in k.writes:  # how a set prints a step may depend on them
            made = replace(made, lo=case.limits[role][0], hi=case.limits[role][1])
        lies_on = source and role == target and out[source].space == "arena"
        out[role] = replace(made, offset=lead, note=out[source].name) if lies_on else made
    return out


def _kind(array: np.ndarray) -> tuple[np.dtype[Any], int]:
    return array.dtype, array.nbytes


def _rubbish(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Any values of the array's type, in its shape."""
    info = np.iinfo(array.dtype)
    return rng.integers(info.min, info.max + 1, array.shape, np.int64).astype(array.dtype)


def _tensor(name: str, array: np.ndarray, space: Space) -> PlanTensor:
    row = -(-array.shape[-1] // ROW_ALIGN) * ROW_ALIGN if array.ndim == 2 else array.shape[-1]
    info = np.iinfo(array.dtype)
    return PlanTensor(
        name,
        str(array.dtype),
        array.shape,
        row,
        space,
        -1,
        PowerOfTwo(0),
        int(info.min),
        int(info.max),
        "activation",
        "input" if name == "x" else "",
        "",
        padded(array, row),
    )


def _lay_out(tensors: list[PlanTensor]) -> tuple[tuple[PlanTensor, ...], int, int]:
    """Every tensor has bytes of its own, but for results in place, which lie on their operand, and those that
    trail, which begin as little before it as they may."""
    consts = [t for t in tensors if t.space == "const"]
    state = sorted((t for t in tensors if t.space == "state"), key=lambda t: -t.itemsize)
    out, at = [replace(t, offset=0) for t in consts], 0
    for t in state:
        out.append(replace(t, offset=at))
        at += t.nbytes
    top = 0
    places: dict[str, int] = {}
    trailing = {t.note: (-BEFORE - t.offset, t.nbytes) for t in tensors if t.offset <= -BEFORE}
    for t in (t for t in tensors if t.space == "arena"):
        lead, room = trailing.get(t.name, (0, 0))
        if t.offset == ON_OPERAND or t.offset <= -BEFORE:
            place = places[t.note] - trailing.get(t.note, (0, 0))[0]
        else:
            place = top + lead
        places[t.name] = place
        out.append(replace(t, offset=place))
        top = max(top, -(-max(place + t.nbytes, place - lead + room) // 4) * 4)
    return tuple(out), -(-at // 4) * 4, top


def emulator(plan: Plan, devices: int = 1, engine: str = "numpy") -> Emulator:
    """A machine whose arena tensors hold what the cases gave them; padding and gaps hold rubbish."""
    machine = Emulator(plan, devices, engine=engine)
    machine.arena[...] = 0xA5
    for t in sorted(plan.space("arena"), key=lambda t: not t.note):  # results before what they lie on
        raw = machine.arena[:, t.offset : t.offset + t.nbytes]
        assert t.data is not None
        raw[...] = np.frombuffer(t.data, np.uint8)
    return machine


def first_difference(plan: Plan, placed: list[Placed], space: str, want: bytes, got: bytes) -> str:
    at = int(np.flatnonzero(np.frombuffer(want, np.uint8) != np.frombuffer(got, np.uint8))[0])
    for p in placed:
        for role, tensor in p.tensors.items():
            t = plan[tensor]
            if t.space == space and t.offset <= at < t.offset + t.nbytes:
                what = f"operand {role} ({t.dtype} {t.shape}), byte {at - t.offset}"
                return f"{p.kernel}, {what}, attributes {dict(p.case.attrs)}"
    return f"byte {at} of {space}, which belongs to no operand"


def compare(batch: HostBatch | ChipBatch, plan: Plan, placed: list[Placed]) -> None:
    machine = emulator(plan)
    batch.ask(0, INIT)
    batch.ask(0, SET_ARENA, payload=machine.arena[0].tobytes())
    assert batch.ask(0, GET_STATE)[1] == machine.state[0].tobytes()
    for op in range(len(placed)):
        assert batch.ask(0, RUN_OP, op)[0] == 0
    machine.run("infer")
    for space, request, want in (
        ("state", GET_STATE, machine.state[0].tobytes()),
        ("arena", GET_ARENA, machine.arena[0].tobytes()),
    ):
        got = batch.ask(0, request)[1]
        assert got == want, first_difference(plan, placed, space, want, got)
