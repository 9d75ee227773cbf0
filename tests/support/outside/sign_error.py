"""An op and a rule from outside: direct feedback of the error's sign (SDFA), with a threshold to choose."""

from collections.abc import Mapping

import numpy as np

from synapcc.gen.ops import Arrays, Attrs, Bounds, Case, Format, Kernel, Known, takes, within
from synapcc.gen.rules import Rule, RuleTape
from synapcc.gen.spec.options import PowerOfTwo

ONE = 1 << 14


class Ternary(Kernel):
    """s = +-1 where |e| reaches 2^-threshold, else 0. e and s are Q14."""

    name = "sign_error.ternary"
    reads = ("e",)
    writes = ("s",)
    operands = takes(e="int16 [n]", s="int16 [n]")
    attributes = within(threshold=(0, 14))

    def integer(self, t: Arrays, a: Attrs) -> None:
        e = t["e"].astype(np.int32)
        t["s"][...] = np.where(np.abs(e) >= ONE >> a["threshold"], np.sign(e) * ONE, 0)

    def real(self, t: Arrays, a: Attrs) -> None:
        t["s"][...] = np.where(np.abs(t["e"]) >= 2.0 ** -a["threshold"], np.sign(t["e"]), 0.0)

    def fixed(self, a: Attrs) -> dict[str, Format]:
        return {"s": Format("int16", 14, -ONE, ONE)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {"s": (-ONE, ONE, k["s"].shape[0] * ONE)}

    def case(self, rng: np.random.Generator) -> Case:
        n = int(rng.integers(2, 20))
        e = rng.integers(-ONE, ONE + 1, n).astype(np.int16)
        return Case({"e": e, "s": np.zeros(n, np.int16)}, {"threshold": int(rng.integers(0, 8))}, {})


class SignError(Rule):
    """Direct feedback alignment with a ternary error: the feedback needs additions only."""

    name = "sign_error"
    doc = "direct feedback of the error's sign"
    source = "Frenkel, Lefebvre, Bol 2021"
    storages = ("flash", "generated")
    inits = ("random", "ternary", "aligned")
    options = (PowerOfTwo("threshold", "the least error that is passed on", -7, 0, 0.25),)

    def correct(self, tape: RuleTape) -> None:
        threshold = -int(np.log2(float(self.option(tape.spec, "threshold"))))
        sign = tape.teach("sign", (tape.classes,))
        tape.step("sign_error.ternary", "loss", {"e": tape.error, "s": sign}, threshold=threshold)
        for node in reversed(tape.learned_nodes):
            tape.direct(node, sign)
