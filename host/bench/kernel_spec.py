"""One kernel alone, said in a line: `dense 256 128`, `conv1d 64x16 k5->32 s2 same`. See docs/BENCH.md.

The line becomes a small network with that layer in front of a small last one, which is then compiled. Which
lines there are the ops say themselves (gen/ops/_bench.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError, SynapccError
from synapcc.gen.ir.graph import Graph
from synapcc.gen.ir.program import Step
from synapcc.gen.ops._bench import MOST, NODE, Line, alone
from synapcc.gen.sets import AUTO
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec
from synapcc.gen.target.boards import Board

_DIGITS = len(str(MOST))  # of a number: Python refuses to read very long ones, and C strides beyond 32 bits
_SEED, _SAMPLES = 1, 32
_RATES = (6, 5, 7, 4, 8, 3, 9, 2, 10, 1, 11, 0, 12)
"""In the order in which they are tried: how far products are shifted does not change what they cost."""


@dataclass(frozen=True)
class KernelSpec:
    """A network to compile, and which of its steps were asked for. `whole`: all of them, as programs."""

    text: str
    graph: Graph
    whole: bool
    phases: tuple[str, ...]
    wanted: Callable[[Step], bool]

    def compile(
        self, board: Board, rule: str, weights: str, rounding: str, learns: bool, kernel_set: str = AUTO
    ) -> Compiled:
        """For `learns`, or for int16, the kernel's layer learns; else it is frozen. Raises CompileError."""
        rng = np.random.default_rng(_SEED)
        shapes = {n: self.graph.tensors[n].shape for n in self.graph.inputs}
        data = {n: rng.normal(0, 1, (_SAMPLES, *s)) for n, s in shapes.items()}
        if not learns and weights == "int8":
            return compile_model(self.graph, RuleSpec(INFERENCE_ONLY), data, board, kernel_set=kernel_set)
        plain = RuleSpec(rule, weights=weights, rounding=rounding)
        asked = plain if self.whole else replace(plain, layers=(NODE,))
        refusal: CompileError | None = None
        for rate in _RATES:
            try:
                found = compile_model(
                    self.graph, replace(asked, rate=rate), data, board, kernel_set=kernel_set
                )
            except CompileError as error:
                if "a rate of" not in error.what:
                    raise
                refusal = refusal or error
                continue
            if learns and not any(self.wanted(step) for _, _, step in found.plan.ops()):
                what = f"rule {rule} has no such step"
                raise CompileError(f"--kernel {self.text!r}", what, "name a rule that has: --rule bp")
            return found
        assert refusal is not None
        raise refusal


def parse(text: str) -> KernelSpec:
    """The kernel that `text` says. Raises SynapccError: no such kernel, or numbers that make no layer."""
    where = f"--kernel {text!r}"
    name, _, rest = " ".join(text.split()).partition(" ")
    known = alone()
    if name not in known:
        examples = "; ".join(k.example for k in known.values())
        raise SynapccError(where, f"there is no kernel {name!r}", f"write one like {examples}")
    kernel = known[name]
    found = re.fullmatch(kernel.grammar, rest)
    if not found:
        raise SynapccError(where, f"is not how {name} is written", f"write it like {kernel.example!r}")
    if any(len(digits) > _DIGITS for digits in re.findall(r"\d+", rest)):
        raise SynapccError(where, "a size is 0 or too large", f"tensors hold 1 to {MOST} values")
    words = {key: word for key, word in found.groupdict().items() if word}
    numbers = {key: int(word) for key, word in words.items() if word.strip().isdigit()}
    if any(v < 1 for v in numbers.values()) or _values(numbers) > MOST:
        raise SynapccError(where, "a size is 0 or too large", f"tensors hold 1 to {MOST} values")
    line = Line(where, kernel.rounds)
    kernel.write(line, words)
    return KernelSpec(text, line.graph(), kernel.whole, kernel.phases, kernel.counts)


def _values(numbers: Mapping[str, int]) -> int:
    """No tensor of the layer holds more."""
    taps = numbers.get("kh", 1) * numbers.get("kw", 1) * numbers.get("c", 1) * numbers.get("n", 1)
    field = numbers.get("h", 1) * numbers.get("w", 1) * max(numbers.get("c", 1), numbers.get("m", 1))
    return max(taps * numbers.get("m", 1), field)
