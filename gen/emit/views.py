"""Tensors, inputs and steps as templates see them."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..ir.plan import Plan, PlanTensor
from ..ir.program import Step, reached
from ..ir.quantiser import AffineQuantiser
from ..numeric import ERROR_FRAC
from ..stages.op_check import Held

UNION = {"int8": "i8", "uint8": "u8", "int16": "i16", "uint16": "u16", "int32": "i32", "uint32": "u32"}


class TensorView:
    """A tensor as templates see it: names, types, sizes, and the C expressions that reach it."""

    def __init__(self, t: PlanTensor, plan: Plan, arena: str = "m->arena.") -> None:
        """`arena`: what leads to the members of the union in which a tensor of the arena lies."""
        self.prefix = prefix = plan.model
        self.arena = arena
        self.name, self.dtype, self.space = t.name, t.dtype, t.space
        self.offset, self.nbytes, self.count = t.offset, t.nbytes, t.count
        self.ctype = f"{t.dtype}_t"
        self.row, self.cols = t.row, t.shape[-1]
        self.rows = t.shape[0] if len(t.shape) == 2 else 1
        self.itemsize, self.range = t.itemsize, t.hi - t.lo
        self.c_lo = "INT32_MIN" if t.lo == -(2**31) else str(t.lo)
        info = np.iinfo(t.dtype)
        self.type_lo, self.type_hi = int(info.min), int(info.max)
        self.symbol = f"{prefix}_{t.name}" if t.space == "const" else f"{prefix}_{t.name}_init"
        self.q, self._meaning = plan.q(t), t.meaning
        shape = dict(zip(plan.inputs, plan.input_shapes, strict=True)).get(t.name, t.shape)
        self.dims = "".join(f"[{n}]" for n in shape)
        pad = f" rows of {t.row}" if t.row != t.shape[-1] else ""
        dims = "".join(f"[{n}]" for n in t.shape)
        self.describe = f"{t.dtype} {dims}{pad}{self.q and ', '}{self.q}{f': {t.about}' if t.about else ''}"
        if t.space == "arena":
            self.at0 = f"{arena}{UNION[t.dtype]}[{t.offset // t.itemsize}]"
            self.pointer = f"(&{self.at0})"
        else:
            self.pointer = self.symbol if t.space == "const" else f"m->state.{t.name}"
            self.at0 = f"{self.pointer}[0]"
        self._data = t.data

    @property
    def frac(self) -> int:
        """The n of v / 2^n."""
        return self._meaning.frac

    def declare(self, name: str, write: bool = False, offset: int = 0) -> str:
        """A local pointer to the tensor, from element `offset` on."""
        if self.space == "arena":
            target = f"&{self.arena}{UNION[self.dtype]}[{self.offset // self.itemsize + offset}]"
        else:
            target = f"&{self.pointer}[{offset}]" if offset else self.pointer
        if write:
            pointer = (
                f"{self.ctype} *{name} = ({self.ctype} *){self.prefix}_opaque({target});"  # cast for C++
            )
        else:
            pointer = f"const {self.ctype} *{name} = {target};"
        return f"    {pointer} /* {self.name}: {self.describe} */"

    @property
    def lines(self) -> list[str]:
        """The content as rows of C initialisers."""
        assert self._data is not None
        values = np.frombuffer(self._data, np.dtype(self.dtype).newbyteorder("<")).tolist()
        return rows(map("{}u".format if self.dtype == "uint32" else str, values))


class InputView(TensorView):
    """An input as templates see it: how float values become its integers.

    affine:        whether it has a scale and a zero point: (`scales`, `zero`), else
    own:           whether the network normalises it; else (x - 0) * 2^frac
    offset, scale: C literals, `pairs` of them; element i has pair (i / inner) % pairs
    times:         how often the table repeats
    """

    def __init__(self, plan: Plan, name: str, arena: str = "m->arena.") -> None:
        super().__init__(plan[name], plan, arena)
        q = plan.quantiser(name)
        self.meaning, self.affine, self.own = self.q, isinstance(q, AffineQuantiser), name in plan.quantisers
        if isinstance(q, AffineQuantiser):
            self.scales, self.zero = [_literal(q.scale)], q.zero
            self.meaning += f": {plan.model}_quantise.h"
            return
        self.pairs, self.inner = len(q.scale), q.inner
        self.times = self.count // (self.pairs * self.inner)
        self.offsets, self.scales = [_literal(v) for v in q.offset], [_literal(v) for v in q.scale]
        if self.own:
            each = "" if self.pairs == 1 else f" for each of {self.pairs}"
            values = f" {self.offsets[0]}, {self.scales[0]}" if self.pairs == 1 else ""
            self.meaning = f"offset and scale{each}{values}: {plan.model}_quantise.h"

    @property
    def tables(self) -> dict[str, list[str]]:
        """Offsets and scales as rows of C initialisers."""
        return {"offset": rows(self.offsets), "scale": rows(self.scales)}


def formulas(inputs: Sequence[InputView]) -> dict[str, Any]:
    """What <model>_quantise.h must know to do, and how it says that."""
    multiplied = any(not i.affine for i in inputs)
    divided = any(i.affine for i in inputs)
    told = {
        "round((x - offset) * scale), ties to even": multiplied,
        "round(x / scale) + zero, halves away from zero": divided,
    }
    texts = [text for text, there in told.items() if there]
    return {"multiplied": multiplied, "divided": divided, "formulas": texts}


class StepView:
    """A step as templates see it: operands by role, attributes under `a`, its variant's numbers under `v`."""

    def __init__(self, step: Step, views: Mapping[str, TensorView], numbers: Mapping[str, int]) -> None:
        self.a = dict(step.attrs)
        self.v = dict(numbers)
        self.one = 1 << ERROR_FRAC
        for role, name in step.args.items():
            setattr(self, role, views[name])


class Views:
    """Every tensor as templates see it.

    Where `infer` has an arena of its own, its steps are told which one they work in: `arena`; all others work
    in the one that is m's.
    """

    def __init__(self, plan: Plan, constants: Iterable[PlanTensor]) -> None:
        every = {t.name: t for t in (*plan.tensors, *constants)}
        self.all = {name: TensorView(t, plan) for name, t in every.items()}
        self._told = () if plan.shared else reached(plan.programs, "infer")
        self._infer = {name: TensorView(t, plan, "arena->") for name, t in every.items()}

    def of(self, program: str) -> Mapping[str, TensorView]:
        """Those that the steps of `program` see."""
        return self._infer if program in self._told else self.all


class HeldView(TensorView):
    """What a step that runs alone wants of a tensor in the arena, as templates see it: as its limits."""

    def __init__(self, held: Held, plan: Plan) -> None:
        super().__init__(replace(held.tensor, lo=held.lo, hi=held.hi), plan)
        self.total = held.total


def _literal(value: float) -> str:
    """A float32 as C writes it; nine digits are all of it."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def rows(values: Iterable[str]) -> list[str]:
    """Values with commas behind them, as many a line as fit."""
    texts = list(values)
    ends = list(itertools.accumulate(len(text) + 2 for text in texts))
    out, at, before = [], 0, 0
    while at < len(texts):
        end = max(at + 1, bisect.bisect_right(ends, before + 116))
        out.append(", ".join(texts[at:end]) + ",")
        at, before = end, ends[end - 1]
    return out or [""]
