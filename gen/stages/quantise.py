"""Chooses the number format of every value: Q formats from calibration, limits from what no sum may exceed.

Power-of-two scales throughout; symmetric, but for activations that are never or barely negative
(gen/stages/halves.py), where the best formats are asked for. For activations and teaching signals the frac
is the one with the least squared error over the calibration data among the one that clips nothing and the
two above it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError, TermError
from ..ir.format import Meaning, PowerOfTwo, Scaled, shifts
from ..ir.program import Abstract, Step, Value, root
from ..ir.roles import ROLES, label_dtype
from ..ops import Format, Kernel, kernel
from ..ops._recurrent_loops import GATE_FRAC
from ..ops._requantise import zero
from ..spec import RuleSpec
from .calibrate import widest
from .halves import zero_point
from .looks import Choice, Looks
from .observe import INT16, LOGIT_ROOM, SILENT_FRAC, Observed, Sampled, Seen
from .stride import Stride

BIAS_ROOM = {True: 2**28, False: 2**30}  # learned biases leave room for their products, see dense.forward
MAX_SHIFT = 24
LOWEST_SHIFT = 13  # at which the lower limit of a learned bias, alone in a sum, is the lowest score, -2^15
START = 4  # units that the largest activation of a network that has not learned should have,
LENS = 2  # for which so many bits of room are given: a quarter of the range still learns, an eighth does not
SILENT = 7  # frac of an activation that is zero throughout: what it is joined with keeps its bits
UNBOUNDED = 60  # the cap of a frac that nothing caps
FINEST = 24  # frac of an activation
LOGITS = 12, 30  # the finest frac of logits: usually, and where that leaves them few units and nothing learns
FEW = 2**8  # units
WIDE = 2**15 - 1  # the largest frozen weight in int16
WIDE_SUMS = 2**30 - 2**26  # of a row's magnitudes times 255: beside a bias of 2^30 and the rounding half

Reals = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Quantised:
    """Formats by value name, the initial integers of every const and state value, and what calibration saw of
    every activation, logit and teaching signal; `sampled` says in how many samples. `stride`: the layer that
    one learning step changes too much, if there is any. `untrained`: formats leave room for what the network
    will learn, because it does not fit its calibration data."""

    formats: Mapping[str, Format]
    data: Mapping[str, NDArray[np.generic]]
    seen: Mapping[str, Seen]
    sampled: Sampled
    stride: Stride | None
    untrained: bool

    @property
    def tops(self) -> dict[str, float]:
        """The largest magnitude that calibration saw of each value."""
        return {name: max(-s.lo, s.hi) for name, s in self.seen.items()}

    def refuse_unmet(self, abstract: Abstract) -> None:
        """Raises CompileError for a step that nothing which calibration saw has an effect in."""
        tops = self.tops
        for _, step in abstract.steps():
            near = {role: tops[name] for role, name in step.args.items() if name in tops}
            if why := kernel(step.kernel).unmet(near, step.attrs):
                told = step.node, why, "take a smaller one"
                raise TermError(*told, *step.said) if step.said else CompileError(*told)

    def warnings(self, inputs: Sequence[str]) -> list[str]:
        """What was set aside, a line for each input; without any, for the value that it was largest in. And
        the rate that is too large, if it is."""
        far = [n for n, seen in self.seen.items() if seen.aside]
        first = [n for n in inputs if n in far] or sorted(far, key=lambda n: -self.seen[n].factor)[:1]
        aside = [self.seen[n].warning(n, len(self.sampled.chosen)) for n in first]
        return [*aside, *([self.stride.warning()] if self.stride else [])]


def quantise(abstract: Abstract, spec: RuleSpec, looks: Looks, choice: Choice) -> Quantised:
    """Formats for all values of `abstract`, and its initial integers.

    Raises CompileError where a tensor cannot be represented.
    """
    chooser = _Chooser(abstract, spec, looks, choice)
    for _, step in abstract.in_order():
        with shifts(step.node, step.kernel, step.said):
            chooser.visit(step)
    chooser.rest()
    data = {n: chooser.integers(v) for n, v in abstract.values.items() if v.space != "arena"}
    seen, sampled = looks.observed.seen(chooser.formats), looks.observed.sampled
    return Quantised(chooser.formats, data, seen, sampled, looks.stride, looks.later is not None)


def _largest(x: NDArray[np.float64] | None) -> float:
    """The largest magnitude in x, 0.0 if there is none."""
    return float(np.max(np.abs(x), initial=0.0)) if x is not None else 0.0


def fitting(hi: float, top: float, most: int = UNBOUNDED) -> int:
    """The largest frac up to `most` at which magnitudes up to top > 0 fit into hi."""
    return int(np.floor(min(np.log2(hi / top), most)))


def _widest(top: float) -> int:
    """The largest frac at which magnitudes up to `top` fit int8."""
    return fitting(127, top) if top > 0 else UNBOUNDED


class _Chooser:
    """Gives formats step by step. A group is a value and all that are tied to it: they share one format."""

    def __init__(self, abstract: Abstract, spec: RuleSpec, looks: Looks, choice: Choice) -> None:
        self.abstract, self.spec, self.choice = abstract, spec, choice
        self.observed, self.expected = looks.observed, looks.expected
        self.later = looks.later.values if looks.later else {}
        self.values = abstract.values
        self.learns = any(v.learned for v in self.values.values())
        self.formats: dict[str, Format] = {}
        self.derived: dict[str, NDArray[np.int64]] = {}
        self.readers: dict[str, list[tuple[Step, str]]] = {}
        for _, step in abstract.steps():
            for role, name in step.args.items():
                self.readers.setdefault(name, []).append((step, role))
        self.groups: dict[str, list[str]] = {}
        for name in self.values:
            self.groups.setdefault(self.root(name), []).append(name)
        for name, value in self.values.items():
            if ROLES[value.role].dtype or value.role == "label":
                self.formats[name] = self._whole(name)
            elif value.format:
                self._assign(name, value.format)
            elif name in abstract.inputs:
                self._assign(name, self._activation(name, FINEST))
            elif value.role == "matrix":  # now: limits of the signals that pass through it depend on it
                self.formats[name] = self._matrix(self.values[self.root(name)])
            elif value.role == "constant":
                top = _largest(value.real)
                self.formats[name] = Format("int8", min(_widest(top), 30) if top else 0, -127, 127)
        for _, step in abstract.steps():  # now: the first teaching signal that is looked at needs them all
            for role, fmt in kernel(step.kernel).fixed(step.attrs).items():
                self._assign(step.args[role], fmt)

    def _whole(self, name: str) -> Format:
        """The format of what is no real number: a flag, a label, a counter within what its kernels keep."""
        facts, classes = ROLES[self.values[name].role], self.abstract.classes
        label = self.values[name].role == "label"
        dtype = label_dtype(classes) if label else facts.dtype
        info = np.iinfo(dtype)
        lo, hi = int(info.min), int(info.max) if facts.top is None else facts.top
        if label:
            hi = classes - 1
        group = self.groups[self.root(name)] if self.values[name].role == "counter" else [name]
        for step, operand in (r for member in group for r in self.readers.get(member, ())):
            kept = kernel(step.kernel).ranges(step.attrs).get(operand, (lo, hi))
            lo, hi = max(lo, kept[0]), min(hi, kept[1])
        return Format(dtype, 0, lo, hi)

    def _given(self, name: str) -> bool:
        """Whether a model file, or a rule, brought the format."""
        return self.values[self.root(name)].format is not None

    def root(self, name: str) -> str:
        return root(self.values, name)

    def visit(self, step: Step) -> None:
        """Formats of what a step needs and of what it writes."""
        k = kernel(step.kernel)
        for role, name in step.args.items():
            value = self.values[name]
            if name not in self.formats and value.role in ("gain", "weight"):
                self._weight(k, step, role, value)
        if (
            {"x", "b"} <= step.args.keys()
            and self.values[step.args["b"]].role == "bias"
            and not self._given(step.args["b"])
        ):
            self._bias(step)
        known = {r: self.formats[n] for r, n in step.args.items() if n in self.formats}
        for role, fmt in k.implied(known, step.attrs).items():
            if step.args[role] not in self.formats:
                self._assign(step.args[role], fmt)
                known[role] = fmt
        changed = k.changing
        derived = [r for r, n in step.args.items() if ROLES[self.values[n].role].derived]
        complete = all(r in known or r in changed or r in derived for r in step.args)
        caps = k.cap(known, step.attrs) if complete else {}
        for role in changed:
            if role in step.args:
                self._written(step.args[role], caps.get(role, UNBOUNDED))
        for role in derived:
            self.formats[step.args[role]] = self._derived(step, role)[0]

    def rest(self) -> None:
        """What follows from the formats, which are final now. Refuses values that nothing gave a format."""
        for name, value in self.values.items():
            if ROLES[value.role].derived:
                self.formats[name], self.derived[name] = self._derived(*self.readers[name][0])
        if not self.observed.taught and self.observed.runs.turns:
            self._teaching()
        missing = [n for n in self.values if n not in self.formats]
        if missing:
            raise CompileError(
                missing[0], "no step gives this value a number format", "report this model and rule file"
            )

    def _written(self, name: str, cap: int) -> None:
        value = self.values[name]
        if value.role not in ("activation", "logits", "gate", "teach") or self._given(name):
            return
        if name in self.formats:
            fmt = self.formats[name]
            if fmt.power > cap:
                meaning = PowerOfTwo(cap, zero=self._zero(name, cap))
                self._assign(name, Format(fmt.dtype, meaning, fmt.lo, fmt.hi))
            return
        makers = {
            "activation": self._activation,
            "logits": self._logits,
            "gate": self._gate,
            "teach": self._teach,
        }
        make = makers[self.values[self.root(name)].role]
        self._assign(name, make(name, cap))

    def _assign(self, name: str, fmt: Format) -> None:
        for member in self.groups[self.root(name)]:
            self.formats[member] = fmt

    def _looks(self, of: str) -> list[Observed]:
        """What decides the range of a group: the network as it is, and as learning will make it where it has
        not learned yet; only where values are not all zero."""
        return [look for look in (self.observed, self.expected) if look and look.top(of)]

    def _activation(self, name: str, cap: int) -> Format:
        of = self.root(name)
        frac = min((look.activation(of) for look in self._looks(of)), default=SILENT)
        frac = min(self.choice.fracs.get(of, frac + self._lens(of, frac)), cap, FINEST)
        return Format("int8", PowerOfTwo(frac, zero=self._zero(name, frac)), -128, 127)

    def _zero(self, name: str, frac: int) -> int:
        """The zero point of an activation at this frac."""
        of = self.root(name)
        if of not in self.observed.floors:
            return 0
        top = max((look.top(of) for look in self._looks(of)), default=0.0)
        return zero_point(self.observed.floors[of], top, frac)

    def _lens(self, of: str, frac: int) -> int:
        """Bits by which a frac is finer than learning will need it: int8 must see where it starts from."""
        top = self.observed.top(of)
        if self.expected is None or top == 0.0:
            return 0
        bits = int(np.clip(np.ceil(np.log2(START / (top * 2.0**frac))), 0, LENS))
        if top * 2.0 ** (frac + bits) < 0.5:
            what = f"starts at {top:.2g} at most, and int8 holds nothing so small beside what it will learn"
            raise CompileError(
                of,
                what,
                "let other layers learn, or start an untrained network from He's or Glorot's uniform weights",
            )
        return bits

    def _logits(self, name: str, cap: int) -> Format:
        """Four times the range seen, because learning moves logits, and no finer than 2^-12 unless they have
        few units then and nothing learns."""
        of = self.root(name)
        frac = min(look.logits(of) for look in (self.observed, self.expected) if look)
        top, finest = self.observed.top(of), LOGITS[0]
        if not self.learns and (self.choice.fine or 0 < top * 2.0**finest < FEW):
            frac, finest = widest(INT16, (2 if self.choice.fine else LOGIT_ROOM) * top), LOGITS[1]
        if of in self.choice.fracs:
            frac, finest = self.choice.fracs[of], LOGITS[1]
        return Format("int16", min(frac, cap, finest), -32768, 32767)

    def _gate(self, name: str, cap: int) -> Format:
        """Four times the range seen, as of logits, and no finer than the argument that they add up to."""
        frac = min(look.logits(self.root(name)) for look in (self.observed, self.expected) if look)
        return Format("int16", min(frac, cap, GATE_FRAC), -32768, 32767)

    def _teach(self, name: str, cap: int) -> Format:
        if not self.observed.taught:
            self._teaching()
        of = self.root(name)
        hi = self._limit(of)
        frac = min((look.signal(of) for look in self._looks(of)), default=SILENT_FRAC)
        return Format("int16", min(frac, cap, 30), -hi - 1, hi)

    def _teaching(self) -> None:
        """Every matrix has its format now, and with them every signal has its limit."""
        teach = [n for n in self.groups if self.values[n].role == "teach"]
        limits = {n: self._limit(n) for n in teach}
        for look in (self.observed, self.expected):
            if look:
                look.teach(limits, self.formats)

    def _limit(self, name: str) -> int:
        """The largest integer of a teaching signal at which no sum that reads it can overflow."""
        limit = 32768
        for member in self.groups[name]:
            for step, role in self.readers.get(member, []):
                k = kernel(step.kernel)
                known = {r: self.formats[n] for r, n in step.args.items() if n in self.formats}
                shapes = {r: self.values[n].shape for r, n in step.args.items()}
                limit = min(limit, k.limit(role, known, shapes, step.attrs))
        bits = min(16, int(limit).bit_length())
        if bits < 6:
            raise CompileError(
                name,
                f"only {bits} bits are left for the teaching signal",
                'use weights = "int8", or freeze the widest layers',
            )
        return (1 << (bits - 1)) - 1

    def _weight(self, k: Kernel, step: Step, role: str, value: Value) -> None:
        if not value.learned:
            self.formats[value.name] = self._frozen(step, value)
        elif self.root(value.name) == value.name:  # else a twin: assigned with its weight
            self._assign(value.name, self._learned(k, step, role, value))

    def _matrix(self, value: Value) -> Format:
        """A fixed feedback matrix: a random one brings its frac. One that learns has headroom, as weights."""
        assert value.real is not None
        if value.learned:
            bits = 8 if self.spec.weights == "int8" else 16
            hi = (1 << (bits - 1)) - 1
            top = max(_largest(value.real), _largest(self.later[value.name].real) if self.later else 0.0)
            top = self.spec.headroom * (top or 1.0 / np.sqrt(value.shape[1]))
            return Format(f"int{bits}", min(fitting(hi, top), 30), -hi - 1, hi)
        frac = min(_widest(_largest(value.real)), 30)
        if value.ints is not None and np.any(value.ints):
            at = np.argmax(np.abs(value.ints))
            frac = int(np.round(np.log2(value.ints.flat[at] / value.real.flat[at])))
        return Format("int8", frac, -127, 127)

    def _frozen(self, step: Step, value: Value) -> Format:
        """One frac a row, or one for all where signals pass through."""
        real = value.real if value.real is not None else np.zeros(value.shape)
        if value.name in self.choice.wide:
            return self._wide(step, value, real)
        by_row = value.role == "weight" and not value.rows_alike
        tops = np.max(np.abs(real), axis=1) if by_row else np.array([_largest(real)])
        fracs = self._fit_frozen(step, value, [_widest(float(r)) for r in tops])
        if value.role != "weight":
            return Format("int8", fracs[0], -127, 127)
        fracs = fracs * (len(real) if len(fracs) == 1 else 1)
        return Format("int8", min(fracs), -127, 127, tuple(fracs))

    def _wide(self, step: Step, value: Value, real: NDArray[np.float64]) -> Format:
        """A frac a row in int16, as fine as the row's sums allow."""
        tops, sums = np.max(np.abs(real), axis=1), 255 * np.sum(np.abs(real), axis=1)
        fracs = [
            min(fitting(WIDE, top), fitting(WIDE_SUMS, total)) if top > 0 else UNBOUNDED
            for top, total in zip(tops, sums, strict=True)
        ]
        fracs = self._fit_frozen(step, value, fracs)
        return Format("int16", min(fracs), -WIDE, WIDE, tuple(fracs))

    def _learned(self, k: Kernel, step: Step, role: str, value: Value) -> Format:
        """One frac, with headroom above the largest initial value of the weight and its twin."""
        shapes = {r: self.values[n].shape for r, n in step.args.items()}
        known = {r: self.formats[n] for r, n in step.args.items() if n in self.formats}
        full = 8 if self.spec.weights == "int8" else 16
        bits = min(full, int(k.limit(role, known, shapes, step.attrs)).bit_length())
        if bits < 4:
            raise CompileError(
                value.name,
                f"a sum over {value.shape[1]} inputs could overflow 32 bits even with {bits}-bit weights",
                "freeze this layer or make it narrower",
            )
        hi = (1 << (bits - 1)) - 1
        group = self.groups[value.name]
        reach = max(self.values[m].reach for m in group)
        start = max(_largest(self.values[m].real) for m in group) or 1.0 / np.sqrt(value.shape[1])
        end = max((_largest(self.later[m].real) for m in group if self.later), default=0.0)
        cap = min(self._bias_cap(step, learned=True), self._shift_cap(step))
        tops = (max(self.spec.headroom * top, reach) for top in (start, max(start, end)))
        fracs = [min(fitting(hi, top), cap) for top in tops]
        self._check_resolution(step, value, fracs[0])
        return Format(f"int{full}", fracs[1], -hi - 1, hi)

    def _fit_frozen(self, step: Step, value: Value, fracs: list[int]) -> list[int]:
        shift_cap = self._shift_cap(step)  # the output has its format now, which the bias makes room for
        cap = min(self._bias_cap(step, learned=False), shift_cap)
        self._check_resolution(step, value, max(min(f, cap) for f in fracs))
        return [min(f, cap) for f in fracs]

    def _check_resolution(self, step: Step, value: Value, frac: int) -> None:
        """Refuses weights that fell below 3 bits beside a bias that must share their accumulator."""
        top = _largest(value.real)
        if 0 < top * 2.0**frac < 4:
            bias = _largest(self.values[step.args["b"]].real)
            raise CompileError(
                value.name,
                f"the accumulator could overflow: a bias of {bias:.3g} beside weights of at most {top:.3g}",
                "rescale the layer so that both are of similar size",
            )

    def _bias_cap(self, step: Step, learned: bool) -> int:
        """The largest weight frac at which the biases fit (twice over where they are learned)."""
        top = _largest(self.values[step.args["b"]].real)
        if top == 0.0:
            return UNBOUNDED
        room = BIAS_ROOM[learned] / (2 if learned or self._zeroed(step) else 1)
        return fitting(room, top, 2 * UNBOUNDED) - math.ceil(
            -math.log2(self.formats[step.args["x"]].meaning.step)
        )

    def _shift_cap(self, step: Step) -> int:
        """The largest weight frac that keeps the requantising shift within MAX_SHIFT."""
        y = step.args["y"]
        if y not in self.formats:
            self._written(y, UNBOUNDED)
        if self.values[step.args["b"]].lowest:
            scale = self.formats[step.args["x"]].meaning.step
            return LOWEST_SHIFT + self.formats[y].power + math.floor(math.log2(scale))
        if "rounds" in step.attrs:  # a multiplier stands beside the shift
            return UNBOUNDED
        most = MAX_SHIFT - 2 if zero(self.formats[y]) else MAX_SHIFT  # which moves the zero point to the left
        return most + self.formats[y].power - self.formats[step.args["x"]].power

    def _zeroed(self, step: Step) -> bool:
        """Whether an input or output has a zero point that its bias takes in."""
        return any(
            isinstance(f.meaning, PowerOfTwo) and zero(f) for f in (self.formats[step.args[r]] for r in "xy")
        )

    def _bias(self, step: Step) -> None:
        w, x, name = self.formats[step.args["w"]], self.formats[step.args["x"]], step.args["b"]
        learned = self.values[name].learned
        room = BIAS_ROOM[learned]
        meaning: Meaning
        if isinstance(x.meaning, Scaled):
            if name in self.formats:  # from the step that computes: an update reads the same formats
                return
            meaning = Scaled((x.meaning.step * w.meaning.step,))
            if y := self.formats.get(step.args["y"]):  # coarser than the output: sums grow to the left
                room >>= max(0, math.ceil(math.log2(meaning.step / y.meaning.step)))
        else:
            meaning = PowerOfTwo(x.power + w.frac, tuple(x.power + f for f in w.row_fracs))
        self._assign(name, Format("int32", meaning, -room, room - 1 if learned else room))

    def integers(self, value: Value) -> NDArray[np.generic]:
        """Initial content in integers: rounded by the format's meaning, held within the limits."""
        fmt = self.formats[value.name]
        dtype = np.dtype(fmt.dtype)
        if ROLES[value.role].derived:
            return self.derived[value.name].astype(dtype)
        if value.ints is not None:
            return np.asarray(value.ints, dtype)
        if value.real is None:
            return np.zeros(value.shape, dtype)
        held = np.clip(fmt.meaning.units(value.real), fmt.lo, fmt.hi).astype(dtype)
        held[list(value.lowest)] = fmt.lo
        return held

    def _derived(self, step: Step, role: str) -> tuple[Format, NDArray[np.int64]]:
        known = {r: self.formats[n] for r, n in step.args.items() if n in self.formats}
        return kernel(step.kernel).derived(role, known, step.attrs, step.node)
