"""What an op is. Every other file of this folder is one op: found by looking, registered nowhere.

A file defines kernels (subclasses of Kernel) and, if it is a layer of a network, one subclass of Layer whose
name is the file's stem. The C text of kernel `dense.forward` is the macro `forward` of
templates/ops/dense.c.j2.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import discovery
from ..errors import CompileError
from ..ir.format import Format as Format
from ..ir.graph import Attr, Node
from ..ir.plan import Plan, PlanTensor
from ..ir.program import Step, Value
from ..ir.tape import Tape
from ._contract import Operand, Range, Tensors, aliased, attributes_fault, operands_fault
from ._contract import takes as takes
from ._contract import within as within
from ._folding import Folding
from ._loops import Loop
from ._parts import Applied, Part
from ._shifts import MAX_SHIFT, RESCALE, requantising

Arrays = Mapping[str, NDArray[Any]]
Attrs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """What bounds knows of an operand.

    lo, hi: the interval of every element
    l1:     the largest sum of magnitudes, at most size * mag
    data:   the integers of a constant
    """

    shape: tuple[int, ...]
    lo: int
    hi: int
    l1: int
    data: NDArray[Any] | None = None

    @property
    def mag(self) -> int:
        return max(-self.lo, self.hi)


@dataclass(frozen=True, slots=True)
class Accumulator:
    """A proven interval of an intermediate sum, to be held against the width of its register."""

    what: str
    lo: int
    hi: int
    bits: int = 32


Bounds = tuple[list[Accumulator], dict[str, tuple[int, int, int]]]
"""Proven accumulators, and (lo, hi, l1) of each written role."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Work of one run: multiply-accumulates, and weight bytes read and written."""

    macs: int = 0
    reads: int = 0
    writes: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """A random instance for the tests.

    arrays: operands by role, without fleet axis
    attrs:  integer attributes, as `lower` gives them
    limits: (lo, hi) of operands whose limits are narrower than their type
    flash:  roles of constants that lie nowhere else, whatever the model
    """

    arrays: Arrays
    attrs: Mapping[str, int]
    limits: Mapping[str, tuple[int, int]]
    flash: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """Less than a map, from which a step of learning makes the same bits (`Kernel.kept`).

    writer, reader: the step that makes the map, writing that too, and the step of learning, which reads it
    name:    what it is called; uint8
    of:      the tensor that it has a number for each value of
    bits:    of such a number
    """

    writer: Step
    reader: Step
    name: str
    of: str
    bits: int

    def nbytes(self, count: int) -> int:
        """Bytes of so many numbers."""
        return -(-count * self.bits // 8)


@dataclass(frozen=True, slots=True)
class Relaid:
    """A constant in another layout, as it is emitted.

    layout: its name, which ends the C name: the same constant in the same layout is emitted once
    note:   what the emitted file says of it
    """

    layout: str
    array: NDArray[Any]
    note: str


@dataclass(frozen=True, slots=True)
class Variant:
    """How one step is printed by a kernel set. Every choice is made here; templates only print.

    kernel_set: the set whose template holds the macro: templates/ops for "ref", else templates/<set>
    relaid:  by role, the constants that the macro reads in another layout
    numbers: what the macro needs beside the operands and the attributes
    unread:  roles of constants that it does not read: what it needs of them stands in others, or in numbers
    """

    macro: str
    kernel_set: str = "ref"
    relaid: Mapping[str, Relaid] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


class Kernel(ABC):
    """The smallest thing that runs. Operands are named by role; every array has the fleet axis first.

    reads:   roles that are only read
    writes:  roles that are written as a whole
    updates: roles that are read and changed, or written in part
    optional: roles that may be missing
    operands: types and shape of each role (`takes`)
    attributes: the integers of a step, as `lower` gives them, with their ranges (`within`)
    spare:   attributes that may be missing
    inplace: roles that it reads, each of which may be one piece of memory with the last, which it writes:
             it has read a place before it writes there
    trails:  (a role that it reads, the one that it writes): the second may begin `lead` bytes before the
             first in memory and go on in it; in numpy it has read the first before it writes
    function: how its C functions end, behind the node's name; as `name` ends, if empty
    ring:    (cursor, count) roles of a ring of `rows` places: while count < rows, cursor = count
    loop:    its form for the compiled engine, if it has one; a class never inherits one
    gathers: what it takes off w and b, and off a twin of w, at a rate, may add up first: w and b are int32
             sums then, and optimiser.step changes the others by them (gen.stages.gather)
    moves:   each value of y is one of x's, the largest of some, or a constant; or it is x held within limits
    """

    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[tuple[str, ...]] = ()
    updates: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()
    operands: ClassVar[Mapping[str, Operand]] = {}
    attributes: ClassVar[Mapping[str, Range]] = {}
    spare: ClassVar[tuple[str, ...]] = ()
    inplace: ClassVar[tuple[str, ...]] = ()
    trails: ClassVar[tuple[str, str] | None] = None
    ring: ClassVar[tuple[str, str] | None] = None
    function: ClassVar[str] = ""
    gathers: ClassVar[bool] = False
    moves: ClassVar[bool] = False
    loop: ClassVar[Loop | None] = None

    @property
    def roles(self) -> tuple[str, ...]:
        return self.reads + self.updates + self.writes

    @property
    def changing(self) -> tuple[str, ...]:
        """Roles that a step writes, as a whole or in part."""
        return self.updates + self.writes

    def sizes(self, a: Attrs) -> dict[str, int]:
        """Sizes of the operands' shapes that follow from the attributes, by their names in `operands`."""
        return {}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        """What operands and attributes, each fine by itself, do not fit together in; "" if nothing."""
        return ""

    def fault(self, t: Tensors, a: Attrs) -> str:
        """Why a step on operands `t` with attributes `a` is none of this kernel; "" if it is one."""
        missing = [r for r in self.roles if r not in t and r not in self.optional]
        strange = [r for r in t if r not in self.roles]
        if missing or strange:
            return f"it lacks operand {missing[0]}" if missing else f"it has no operand {strange[0]}"
        return (
            attributes_fault(self.attributes, self.spare, a)
            or operands_fault(self.operands, t, self.sizes(a))
            or aliased(self.roles, self.changing, t)
            or self.misfit(t, a)
        )

    @abstractmethod
    def integer(self, t: Arrays, a: Attrs) -> None:
        """The normative meaning, through gen.numeric only: fills the arrays of `writes` and `updates`."""

    @abstractmethod
    def real(self, t: Arrays, a: Attrs) -> None:
        """The same in real numbers (abstract attributes): calibration and float baselines."""

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        """Integer attributes from the operands' formats and the abstract attributes.

        Raises CompileError, naming `where`, if no shift can represent them.
        """
        return {k: int(v) for k, v in a.items()}

    def unmet(self, tops: Mapping[str, float], a: Attrs) -> str:
        """Why a step could only look as if it did something; else empty. tops: the largest magnitude that
        calibration saw of each operand, by role."""
        return ""

    def idle(self, f: Mapping[str, Format], a: Attrs) -> bool:
        """Whether a step (lowered) gives x as it is: what reads y may read x, and nobody writes y."""
        return False

    def fixed(self, a: Attrs) -> dict[str, Format]:
        """Formats that the kernel itself sets for what it writes."""
        return {}

    def implied(self, f: Mapping[str, Format], a: Attrs) -> dict[str, Format]:
        """Formats of what it changes that follow from those of what it reads, `f`, where these are known:
        of traces, of which calibration sees nothing."""
        return {}

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        """(lo, hi) of the counters that it keeps within limits, by role: cursors, phases, indices.

        It relies on them before it runs and keeps them. All other counters count modulo 2^32.
        """
        return {}

    def cap(self, f: Mapping[str, Format], a: Attrs) -> dict[str, int]:
        """For each written role that is requantised: the largest frac that a right shift can reach."""
        return {}

    def derived(
        self, role: str, f: Mapping[str, Format], a: Attrs, where: str
    ) -> tuple[Format, NDArray[np.int64]]:
        """Format and content of a constant that follows from the other operands' formats.

        Here `s`, the requantising shifts of a frozen layer's rows: what x, w and y have in common wherever
        they stand. Raises CompileError, naming `where`, if no such constant can do what it is for.
        """
        shifts = [f["x"].power + frac - f["y"].power for frac in f["w"].row_fracs]
        requantising(shifts, where, RESCALE)
        return Format("uint8", 0, 0, MAX_SHIFT), np.array(shifts, np.int64)

    def zeros(self, args: Mapping[str, Value], a: Attrs) -> tuple[str, ...]:
        """Roles whose integers may have a zero point beside a scale of 2^-n (abstract attributes)."""
        return ("x", "y") if self.moves else ()

    def least(self, least: Mapping[str, float], a: Attrs) -> float:
        """No value that it writes is smaller, `least` being that of what it reads, by role."""
        return least["x"] if self.moves else -math.inf

    def limit(
        self, role: str, f: Mapping[str, Format], shapes: Mapping[str, tuple[int, ...]], a: Attrs
    ) -> int:
        """The largest magnitude of operand `role` at which no sum can overflow, given the other formats."""
        return 2**31 - 1

    @abstractmethod
    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        """Proven accumulators, and per written role (lo, hi, l1)."""

    def joined(self, step: Step, second: Step) -> Step | None:
        """One step with the bits of `step`, which is this kernel's, and of `second`, which alone reads what
        it writes; None if there is none."""
        return None

    def kept(self, step: Step, made: Step, fresh: Callable[[str], str]) -> Kept | None:
        """What `step`, which is this kernel's, may read in place of a map that `made` wrote or read; None if
        nothing. fresh: makes a name one that no tensor has."""
        return None

    def behind(self, step: Step, second: Step, signal: str) -> tuple[Step, Step] | None:
        """Two steps with the bits of `step`, which is this kernel's, and of `second`, which alone reads what
        it writes: what `second` does comes first, and writes `signal`, which is as `step`'s is; None if there
        are none."""
        return None

    def absorbed(self, step: Step, second: Step, row: str) -> Step | None:
        """One step with the bits of `step`, which is this kernel's, and of `second`, which alone reads what
        it writes; None if there is none. row: the name of a place of that, which it may write to."""
        return None

    def sparse(self, step: Step, made: Step) -> Step | None:
        """The step with the bits of `step`, which is this kernel's, that reads what the signal written by
        `made` is made of in place of it; None if there is none."""
        return None

    def lead(self, read: int, written: int, a: Attrs) -> int:
        """By how many bytes what it writes must begin before what it reads (`trails`), so that it overwrites
        nothing that it has not read yet, in the order in which its C does both.

        read, written: bytes of an element
        """
        raise NotImplementedError(f"{self.name} does not trail")

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        return Cost()

    def variant(self, kernel_set: str, t: Mapping[str, PlanTensor], a: Attrs) -> Variant:
        """How `kernel_set` prints this kernel for the operands `t`: the same bits, only faster.

        A kernel that has nothing of that set, or not for these operands, answers with `ref`; the set that it
        falls back on is asked then (gen.sets).
        """
        return Variant(self.name.split(".")[1])

    @abstractmethod
    def case(self, rng: np.random.Generator) -> Case:
        """A random instance for the property tests, edges included."""


class Layer(Folding, ABC):
    """A layer of a network: what its node computes, what passes may do to it, how it learns."""

    op: ClassVar[str]
    weighted: ClassVar[bool] = False  # has a weight and a bias; a rule may replace the matrix of its feedback
    timed: ClassVar[bool] = (
        False  # it runs over time, and has weights that learn by signals of its own output
    )
    pointwise: ClassVar[bool] = False  # each output depends on one input of the same place
    follows: ClassVar[bool] = False  # its output has the number format of its input
    holds: ClassVar[bool] = False  # it holds what it computes within the limits of its output's format
    head: ClassVar[str] = ""  # as a Graph's head, if the largest of its inputs is the largest of its outputs
    constants: ClassVar[int] = 0  # how many of a node's inputs, the last ones, are constants

    def ends(self, node: Node) -> str:
        """What it is as a Graph's head, at the end of a network; "" where it is none."""
        return self.head

    @abstractmethod
    def shape(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        """Output shape from the input shapes; CompileError where they do not fit."""

    def fan_out(self, node: Node, shapes: Sequence[tuple[int, ...]]) -> int:
        """Of a layer with weights, into how many sums a value of its input goes. shapes: of its inputs."""
        return shapes[1][0]

    def deaf(self, constants: Sequence[np.ndarray]) -> bool:
        """Whether its output is the same whatever its input is."""
        return False

    def steps(self, node: Node) -> bool:
        """Whether its output only jumps and is flat elsewhere, so that no teaching signal passes it."""
        return False

    def applied(self, node: Node, constants: Sequence[np.ndarray]) -> Applied | None:
        """What it does with each value, all values alike, of one activation or of two of one size; None if
        it does something else."""
        return None

    def doing(self, parts: Sequence[Part]) -> Mapping[str, Attr] | None:
        """The attributes of a node that does what these parts do; None if it cannot, or another op is for
        that."""
        return None

    def limits(self, node: Node, held: Format | None) -> Format | None:
        """`held`, that of its input and output, with the limits that it holds values within, if that is all
        that it does; else None."""
        return None

    def rescaling(self) -> Mapping[str, Attr] | None:
        """The attributes of a node that only brings int8 numbers into another format; None if it cannot."""
        return None

    def reshaping(self, to: tuple[int, ...]) -> Mapping[str, Attr] | None:
        """The attributes of a node that gives the values of its input in shape `to`; None if it cannot."""
        return None

    def picking(self, axis: int, places: tuple[int, ...]) -> Mapping[str, Attr] | None:
        """The attributes of a node that gives these places of an axis, in this order; None if it cannot."""
        return None

    def levelling(self) -> Mapping[str, Attr] | None:
        """The attributes of a node that brings a vector to one length, a mean square of 1; None if it
        cannot."""
        return None

    @abstractmethod
    def forward(self, tape: Tape, node: Node) -> None:
        """Emits the forward steps and binds node.output."""

    @abstractmethod
    def feedback(self, tape: Tape, node: Node, teach: str, matrix: str | None) -> dict[str, str]:
        """Emits how the teaching signal of node.output passes on; returns it for each non-constant input.

        `matrix` ([outputs, inputs]) replaces the layer's own weights where it is given.
        """

    def update(self, tape: Tape, node: Node, teach: str, rate: int, twin: str | None) -> None:
        """Emits how the learned tensors change by `teach` (learning rate 2^-rate); `twin` changes as they do.

        Raises CompileError if the layer has nothing to learn.
        """
        raise CompileError(node.name, f"{self.op} has nothing to learn", "leave it out of `layers`")

    def through_time(self, tape: Tape, node: Node, teach: str, rate: int) -> None:
        """Emits how the learned tensors of a layer that runs over time change in each step, by the signal
        `teach` of what it gives in one step."""
        raise NotImplementedError(f"{self.op} does not run over time")

    def unrolled(self, tape: Tape, node: Node, teach: str, rate: int, steps: int) -> dict[str, str]:
        """Emits how a layer that runs over time hears the signal `teach` of its output in the last `steps`
        steps of its window, from its end, and how its learned tensors change, if it learns; returns the
        signal of its input where a learned layer below wants one."""
        raise NotImplementedError(f"{self.op} does not run over time")

    def statement(self, tape: Tape, node: Node, bias: bool = False) -> tuple[str, dict[str, int]]:
        """The kernel that changes weights, or biases, by an equation's sum of products, and its attributes
        beside those of terms and rounding.

        Raises CompileError if the layer has nothing to learn.
        """
        raise CompileError(node.name, f"{self.op} has nothing to learn", "leave it out of `layers`")

    @abstractmethod
    def sample(
        self, rng: np.random.Generator, shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Node, dict[str, np.ndarray]] | None:
        """A random node on inputs of these shapes, and its constants by name; None if it fits none.

        The inputs are called in0, in1, ..., the output "out".
        """


def kernels() -> dict[str, Kernel]:
    """Every kernel by name."""
    found: dict[str, Kernel] = discovery.instances(Kernel, "name", __name__, __path__, "synapcc.ops")
    return found


def layers() -> dict[str, Layer]:
    """Every layer by op name."""
    found: dict[str, Layer] = discovery.instances(Layer, "op", __name__, __path__, "synapcc.ops")
    return found


def scaling() -> str:
    """The op that computes scale * x + shift."""
    return next(op for op, found in layers().items() if found.scales)


def levelling() -> tuple[str, Mapping[str, Attr]]:
    """The op that brings a vector to one length, and its attributes then."""
    return next((op, attrs) for op, found in layers().items() if (attrs := found.levelling()) is not None)


def reshaping(to: tuple[int, ...]) -> tuple[str, Mapping[str, Attr]]:
    """The op that gives the same values in another shape, and its attributes then."""
    return next((op, attrs) for op, found in layers().items() if (attrs := found.reshaping(to)) is not None)


def picking(axis: int, places: tuple[int, ...]) -> tuple[str, Mapping[str, Attr]]:
    """The op that gives these places of an axis, in this order, and its attributes then."""
    every = ((op, found.picking(axis, places)) for op, found in layers().items())
    return next((op, attrs) for op, attrs in every if attrs is not None)


def joining() -> str:
    """The op that gives its inputs side by side along the last axis."""
    return next(op for op, found in layers().items() if found.joins)


def doing(parts: Sequence[Part]) -> tuple[str, Mapping[str, Attr]]:
    """The op that does what these parts do, and its attributes then."""
    return next((op, attrs) for op, found in layers().items() if (attrs := found.doing(parts)) is not None)


def rescaling() -> tuple[str, Mapping[str, Attr]]:
    """The op that brings numbers from one format to another, and its attributes then."""
    return next((op, attrs) for op, found in layers().items() if (attrs := found.rescaling()) is not None)


def kernel(name: str) -> Kernel:
    return kernels()[name]


def operands(step: Step, roles: tuple[str, ...]) -> dict[str, str]:
    """The step's tensors by role, of those `roles` that it has."""
    return {role: step.args[role] for role in roles if role in step.args}


def step_fault(tensors: Plan, step: Step) -> str:
    """Why a step of a Plan is none of its kernel: roles, attributes, types, shapes; "" if it is one."""
    k = kernel(step.kernel)
    wrong = k.fault({role: tensors[name] for role, name in step.args.items()}, step.attrs)
    if wrong:
        return wrong
    for role, (lo, hi) in k.ranges(step.attrs).items():
        t = tensors[step.args[role]]
        kept = (t.lo, t.hi) == (lo, hi) if role in k.changing else lo <= t.lo and t.hi <= hi
        if not kept:
            return f"operand {role}, {t.name}, has limits {t.lo} to {t.hi}, it keeps {lo} to {hi}"
    return ""


def changed(step: Step) -> dict[str, str]:
    """What the step writes, as a whole or in part: tensors by role."""
    return operands(step, kernel(step.kernel).changing)


def replaced(step: Step) -> dict[str, str]:
    """What the step writes as a whole: nothing of the old content is left."""
    return operands(step, kernel(step.kernel).writes)


def inplace(step: Step) -> list[tuple[str, str]]:
    """(operand, result) that may be one piece of memory, if nobody needs the operand afterwards."""
    roles = kernel(step.kernel).inplace
    *sources, target = operands(step, roles).values() or [""]
    return [(source, target) for source in dict.fromkeys(sources) if _only(step, source, roles)]


def trailing(step: Step) -> tuple[str, str] | None:
    """(operand, result) of which the second may overwrite the first (`Kernel.trails`), if nobody needs it
    afterwards."""
    roles = kernel(step.kernel).trails
    if roles is None:
        return None
    source, target = (step.args[role] for role in roles)
    return (source, target) if _only(step, source, roles) else None


def _only(step: Step, name: str, roles: tuple[str, ...]) -> bool:
    """Whether the step knows a tensor by these roles alone."""
    return all(role in roles for role, other in step.args.items() if other == name)


def layer(op: str) -> Layer:
    return layers()[op]
