"""A softmax at the end of an int8 .tflite: it stays where nothing learns, else its inputs are the scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lite import Author, answers, compiled, oracle

from synapcc.gen.errors import CompileError
from synapcc.gen.ir.program import Step
from synapcc.gen.spec import RuleSpec

RNG = np.random.default_rng(5)


def _net(end: str, inside: str = "") -> bytes:
    """x -> dense -> (inside) -> dense -> end; always with the same weights."""
    a, rng = Author(), np.random.default_rng(6)
    x = a.tensor("x", (1, 12), scale=0.05, zero=3)
    h = a.tensor("h", (1, 8), scale=0.1, zero=-5)

    def dense(name: str, of: int, n: int, m: int, to: int, scale: float) -> None:
        w = a.tensor(f"{name}_w", (m, n), scale=0.02, data=rng.integers(-30, 31, (m, n)))
        b = a.tensor(f"{name}_b", (m,), "INT32", scale=scale * 0.02, data=rng.integers(-300, 300, m))
        a.op("FULLY_CONNECTED", [of, w, b], [to], "FullyConnectedOptions", 4)

    dense("first", x, 12, 8, h, 0.05)
    z = a.tensor("z", (1, 4), scale=0.1, zero=7)
    if inside == "SOFTMAX":
        y = a.tensor("s", (1, 8), scale=1 / 256, zero=-128)
        a.op("SOFTMAX", [h], [y], "SoftmaxOptions", 2, beta=1.0)
        dense("second", y, 8, 4, z, 1 / 256)
    elif inside == "PRELU":
        y = a.tensor("p", (1, 8), scale=0.08, zero=-20)
        slope = a.tensor("slope", (8,), scale=0.01, zero=5, data=rng.integers(-128, 128, 8))
        a.op("PRELU", [h, slope], [y])
        dense("second", y, 8, 4, z, 0.08)
    else:
        dense("second", h, 8, 4, z, 0.1)
    if not end:
        return a.bytes([x], [z])
    scale, zero = {"SOFTMAX": (1 / 256, -128), "LOG_SOFTMAX": (1 / 16, 127)}[end]
    y = a.tensor("y", (1, 4), scale=scale, zero=zero)
    options, fields = ("SoftmaxOptions", {"beta": 1.0}) if end == "SOFTMAX" else ("LogSoftmaxOptions", {})
    a.op(end, [z], [y], options, 2, **fields)
    return a.bytes([x], [y])


@pytest.mark.parametrize("end", ["SOFTMAX", "LOG_SOFTMAX"])
@pytest.mark.parametrize("inside", ["", "SOFTMAX", "PRELU"])
def test_it_stays_where_nothing_learns(end: str, inside: str, tmp_path: Path) -> None:
    data = _net(end, inside)
    x = RNG.integers(-128, 128, (40, 12)).astype(np.int8)
    c = compiled(data, tmp_path)
    assert c.graph.head == "none" and [n.op for n in c.graph.nodes][-1] == "softmax"
    assert np.array_equal(answers(c, [x]), oracle(data, [x]))


@pytest.mark.parametrize("end", ["SOFTMAX", "LOG_SOFTMAX"])
def test_scores_are_its_inputs_where_a_layer_learns(end: str, tmp_path: Path) -> None:
    """As of a file that ends in front of it."""
    c, without = (compiled(_net(e), tmp_path, RuleSpec("last")) for e in (end, ""))
    assert (c.graph.head, without.graph.head) == ("softmax", "none")
    assert "softmax" not in [n.op for n in c.graph.nodes]
    x = RNG.integers(-128, 128, (200, 12)).astype(np.int8)
    assert np.array_equal(answers(c, [x]), answers(without, [x]))


@pytest.mark.parametrize("inside", ["SOFTMAX", "PRELU"])
def test_signals_pass_what_a_file_brought(inside: str, tmp_path: Path) -> None:
    c = compiled(_net("SOFTMAX", inside), tmp_path, RuleSpec("bp", layers=("h", "z")))
    steps = [i for p in c.plan.programs.values() for i in p.items if isinstance(i, Step)]
    assert f"{inside.lower()}.feedback" in {s.kernel for s in steps}


def test_no_signal_passes_a_log_softmax(tmp_path: Path) -> None:
    a = Author()
    x, y = a.tensor("x", (1, 4), scale=0.1), a.tensor("y", (1, 4), scale=1 / 16, zero=127)
    h, z = a.tensor("h", (1, 4), scale=0.1), a.tensor("z", (1, 4), scale=0.5)
    w = a.tensor("w", (4, 4), scale=0.02, data=RNG.integers(-127, 128, (4, 4)))
    v = a.tensor("v", (4, 4), scale=0.02, data=RNG.integers(-127, 128, (4, 4)))
    a.op("FULLY_CONNECTED", [x, w], [h], "FullyConnectedOptions", 4)
    a.op("LOG_SOFTMAX", [h], [y], "LogSoftmaxOptions", 2)
    a.op("FULLY_CONNECTED", [y, v], [z], "FullyConnectedOptions", 4)
    with pytest.raises(CompileError, match="no teaching signal passes through a log-softmax"):
        compiled(a.bytes([x], [z]), tmp_path, RuleSpec("bp"))
