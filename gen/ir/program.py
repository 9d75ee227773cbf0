"""Abstract programs: values without number formats, steps, and the builder that layers and rules use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from ..errors import CompileError
from .format import Format
from .roles import Role, Use

Space = Literal["const", "state", "arena"]
Number = int | float


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of a program. `tie` names the value whose number format it shares.

    `real` is the initial content in real numbers, `ints` in integers (counters; matrices made by the
    generator). `learned` marks weights and biases that a rule changes, `use` what a caller fills and samples
    that are kept. `rows_alike` asks for one frac for all rows of a frozen weight, `format` is declared where
    calibration sees nothing of it. `reach` is the largest magnitude that a learned weight will take, where a
    rule knows it; the places `lowest` of a bias start at its lower limit. `note` is a comment in what is
    emitted; nothing is decided by it.
    """

    name: str
    shape: tuple[int, ...]
    space: Space
    role: Role
    real: np.ndarray | None = None
    ints: np.ndarray | None = None
    tie: str = ""
    learned: bool = False
    use: Use = ""
    rows_alike: bool = False
    format: Format | None = None
    reach: float = 0.0
    lowest: tuple[int, ...] = ()
    note: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def ties(values: Mapping[str, Value], name: str) -> Iterator[str]:
    """`name` and the values whose number format it shares, one behind another; the last decides for all."""
    yield name
    while values[name].tie:
        name = values[name].tie
        yield name


def root(values: Mapping[str, Value], name: str) -> str:
    """The value whose number format `name` has: itself if it is tied to none."""
    *_, last = ties(values, name)
    return last


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel on named tensors (role -> name). Abstract attributes may be real, a Plan's are integers.

    said: before formats are chosen, the equation of the rule file that asked for it, as its number among
          RuleSpec.equations and a place in it
    """

    kernel: str
    node: str
    args: Mapping[str, str]
    attrs: Mapping[str, Number] = field(default_factory=dict)
    said: tuple[int, int] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    program: str


@dataclass(frozen=True, slots=True)
class Repeat:
    times: int
    program: str


@dataclass(frozen=True, slots=True)
class When:
    flag: str
    program: str


Item = Step | Call | Repeat | When


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    doc: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A program that a caller may start, and what the caller fills before: `inputs` in the arena, in the
    order of the C struct, and a label."""

    name: str
    inputs: tuple[str, ...] = ()
    label: bool = False

    @property
    def loaded(self) -> tuple[str, ...]:
        """The tensors of the arena that hold content when it starts."""
        return (*self.inputs, *(("label",) if self.label else ()))


@dataclass(frozen=True, slots=True)
class Abstract:
    """What a compilation decided before numbers: values, programs, and which of these a user may start.

    slower: programs that are another one at smaller rates, and which one
    """

    name: str
    values: Mapping[str, Value]
    programs: Mapping[str, Program]
    entry_points: tuple[Entry, ...]
    inputs: tuple[str, ...]
    logits: str
    classes: int
    slower: Mapping[str, str] = field(default_factory=dict)

    @property
    def entries(self) -> tuple[str, ...]:
        """The names of the entry programs."""
        return tuple(e.name for e in self.entry_points)

    def steps(self) -> Iterator[tuple[str, Step]]:
        """Every step once, with the name of its program, in the programs' order."""
        for program in self.programs.values():
            for item in program.items:
                if isinstance(item, Step):
                    yield program.name, item

    def in_order(self) -> list[tuple[str, Step]]:
        """As `steps`, producers before consumers."""
        return in_order(self.programs, self.entries)


def in_order(programs: Mapping[str, Program], entries: Iterable[str]) -> list[tuple[str, Step]]:
    """Every step once, with its program, in the order in which they first run, inference first."""
    found: list[tuple[str, Step]] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for item in programs[name].items:
            if isinstance(item, Step):
                found.append((name, item))
            else:
                visit(item.program)

    for name in ("infer", "adapt", *entries):
        if name in programs:
            visit(name)
    return found


def reached(programs: Mapping[str, Program], name: str) -> tuple[str, ...]:
    """Program `name` and those that it may run, each once."""
    found = {name: None}
    for item in programs[name].items:
        if not isinstance(item, Step):
            found |= dict.fromkeys(reached(programs, item.program))
    return tuple(found)


class Builder:
    """Collects values and programs. Names are unique.

    Names of values are made from names of the network, which may be anything: CompileError where two meet.
    """

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.programs: dict[str, Program] = {}
        self.slower: dict[str, str] = {}
        self._open: list[list[Item]] = []

    def add(self, value: Value) -> str:
        if value.name in self.values:
            raise self._taken(value.name)
        self.values[value.name] = value
        return value.name

    def once(self, value: Value) -> str:
        """As `add`, for values that several callers share (the step counter)."""
        return value.name if self.has(value.name, value.role) else self.add(value)

    def has(self, name: str, role: Role) -> bool:
        """Whether the value is there already. CompileError if something else has its name."""
        if name in self.values and self.values[name].role != role:
            raise self._taken(name)
        return name in self.values

    @staticmethod
    def _taken(name: str) -> CompileError:
        what = "two tensors would have this name: synapcc makes its own from those of inputs and layers"
        return CompileError(name, what, "rename the input or layer that is called so in the model file")

    def retie(self, name: str, tie: str) -> None:
        self.values[name] = replace(self.values[name], tie=tie)

    @contextmanager
    def program(self, name: str, doc: str) -> Iterator[None]:
        """Steps emitted inside belong to program `name`."""
        if name in self.programs:
            what = "there is a program of this name already"
            raise CompileError(name, what, "a rule's own programs need names of their own")
        self._open.append([])
        yield
        self.programs[name] = Program(name, doc, tuple(self._open.pop()))

    def again(self, program: str, name: str, by: int) -> None:
        """Program `name` is another one with its rates times 2^-by: `rate` of a step is k of its 2^-k, `fall`
        how far the rates have fallen that some of its numbers hold."""

        def slower(item: Item) -> Item:
            if not isinstance(item, Step):
                return item
            fallen = {key: item.attrs[key] + by for key in ("rate", "fall") if key in item.attrs}
            return replace(item, attrs={**item.attrs, **fallen}) if fallen else item

        items = tuple(slower(item) for item in self.programs[program].items)
        self.programs[name] = Program(name, f"as {program}, rates times 2^-{by}", items)
        self.slower[name] = program

    def written(self) -> list[Step]:
        """The steps of the finished programs."""
        return [i for p in self.programs.values() for i in p.items if isinstance(i, Step)]

    def step(self, kernel: str, node: str, args: Mapping[str, str], **attrs: Number) -> None:
        self._open[-1].append(Step(kernel, node, dict(args), dict(attrs)))

    def mark(self, said: tuple[int, int]) -> None:
        """Says which equation asked for the step that was emitted last."""
        last = self._open[-1][-1]
        assert isinstance(last, Step)
        self._open[-1][-1] = replace(last, said=said)

    def call(self, program: str) -> None:
        self._open[-1].append(Call(program))

    def repeat(self, times: int, program: str) -> None:
        self._open[-1].append(Repeat(times, program))

    def when(self, flag: str, program: str) -> None:
        self._open[-1].append(When(flag, program))
