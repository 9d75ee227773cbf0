"""Operators of an int8 .tflite file that are together a function of each value of one tensor: SELU,
thresholds, softsign, tf.where, functions in float32. They become one table, and its outputs LiteRT's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from exported import assert_close, computed, random_feeds
from float_graph import run_graph
from lite import Author, answers, compiled, oracle
from lite_composed import composition
from onnx.reference import ReferenceEvaluator

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.exporters.onnx import export
from synapcc.gen.importers import load_model
from synapcc.gen.spec import RuleSpec

EVERY = np.arange(-128, 128).astype(np.int8)[None]


def assert_all(count: int, first: int, folder: Path) -> None:
    taken, values = 0, 0
    for seed in range(first, first + count):
        data = composition(np.random.default_rng(seed))
        try:
            c = compiled(data, folder)
        except CompileError as e:
            assert "scale" in str(e) or "factor" in str(e), (seed, e)
            continue
        assert [s.kernel for _, _, s in c.plan.ops() if s.node][:1] == ["lookup.forward"], seed
        expected = oracle(data, [EVERY])
        assert np.array_equal(answers(c, [EVERY]), expected), seed
        taken, values = taken + 1, values + len(np.unique(expected))
    assert taken > 0.7 * count and values > 8 * taken


def test_every_entry_is_litert_s(tmp_path: Path) -> None:
    assert_all(25, 0, tmp_path)


def selu(scales: tuple[float, float] = (0.03, 0.02)) -> bytes:
    """Two layers with SELU between them, as Keras' converter writes it in int8."""
    rng, a = np.random.default_rng(3), Author()
    x, h = a.tensor("x", (1, 12), scale=0.05, zero=3), a.tensor("h", (1, 9), scale=scales[0], zero=6)
    first, last = (
        a.tensor(f"w{i}", s, scale=0.004, data=rng.integers(-127, 128, s))
        for i, s in enumerate([(9, 12), (4, 9)])
    )
    a.op("FULLY_CONNECTED", [x, first], [h], "FullyConnectedOptions", 4)

    def number(name: str, real: float) -> int:
        return a.tensor(name, (), scale=real / 127 or 0.01, zero=0, data=127 if real else 0)

    def then(op: str, inputs: list[int], name: str, kind: str, scale: float, zero: int) -> int:
        y = a.tensor(name, (1, 9), kind, *(() if kind == "BOOL" else (scale, zero)))
        options = "SelectV2Options" if op == "SELECT_V2" else f"{op.title()}Options"
        a.op(op, inputs, [y], options, 1 if op in ("EXP", "SELECT_V2") else 2)
        return y

    above = then("GREATER", [h, number("none", 0.0)], "above", "BOOL", 0.0, 0)
    linear = then("MUL", [h, number("scale", 1.0507)], "linear", "INT8", scales[1], -44)
    power = then("EXP", [h], "power", "INT8", 0.12, -120)
    less = then("SUB", [power, number("one", 1.0)], "less", "INT8", 0.2, -119)
    below = then("MUL", [less, number("alpha", 1.758)], "below", "INT8", scales[1], -44)
    held = then("SELECT_V2", [above, linear, below], "held", "INT8", scales[1], -44)
    y = a.tensor("y", (1, 4), scale=0.05, zero=0)
    a.op("FULLY_CONNECTED", [held, last], [y], "FullyConnectedOptions", 4)
    return a.bytes([x], [y])


def test_a_selu_is_one_table(tmp_path: Path) -> None:
    data = selu()
    c = compiled(data, tmp_path)
    x = np.random.default_rng(0).integers(-128, 128, (60, 12)).astype(np.int8)
    expected = oracle(data, [x])
    assert np.array_equal(answers(c, [x]), expected) and len(np.unique(expected)) > 60
    assert [n.op for n in c.graph.nodes] == ["dense", "lookup", "dense"]


def test_a_signal_passes_by_slopes_of_the_table(tmp_path: Path) -> None:
    c = compiled(selu(), tmp_path, RuleSpec("bp"))
    (step,) = (s for _, _, s in c.plan.ops() if s.kernel == "lookup.feedback")
    table = c.plan[step.args["table"]]
    slope = table.array() * 2.0**-table.frac
    x = (np.arange(-128, 128) - 6) * 0.03
    exact = np.where(x > 0, 1.0507, 1.758 * np.exp(np.minimum(x, 0)))
    inside = (np.abs(x) > 0.3) & (x < 2.4)  # not at the kink, nor where the table ends
    assert np.all(np.abs(slope - exact)[inside] < 0.9)  # exp has steps of 0.35
    assert np.mean(np.abs(slope - exact)[inside]) < 0.3


def test_it_goes_out_as_a_float_network(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(selu())
    graph, rng = load_model(tmp_path / "net.tflite"), np.random.default_rng(5)
    feeds = random_feeds(rng, graph)
    model = onnx.load_from_string(export(graph))
    onnx.checker.check_model(model, full_check=True)
    (got,) = ReferenceEvaluator(model).run(None, dict(feeds))
    assert_close(got, computed(graph, feeds))


def chosen(function: Callable[[Author, int, Callable[..., int]], int]) -> bytes:
    """A SELECT_V2 in float32 of what `function` writes behind an input [1, 64]."""
    a, count = Author(), iter(range(99))
    x = a.tensor("x", (1, 64), "FLOAT32")

    def then(op: str, inputs: list[int], kind: str = "FLOAT32") -> int:
        y = a.tensor(f"t{next(count)}", (1, 64), kind)
        options = f"{op.title().replace('_', '')}Options"
        a.op(op, inputs, [y], options, 1)
        return y

    return a.bytes([x], [function(a, x, then)])


def number(a: Author, value: float) -> int:
    return a.tensor(f"c{len(a.graph.tensors)}", (), "FLOAT32", data=[value])


def real_selu(a: Author, x: int, then: Callable[..., int]) -> int:
    above = then("GREATER", [x, number(a, 0.0)], "BOOL")
    less = then("SUB", [then("EXP", [x]), number(a, 1.0)])
    sides = [then("MUL", [x, number(a, 1.0507)]), then("MUL", [less, number(a, 1.758)])]
    return then("SELECT_V2", [above, *sides])


def threshold(a: Author, x: int, then: Callable[..., int]) -> int:
    return then("SELECT_V2", [then("GREATER", [x, number(a, 0.7)], "BOOL"), x, number(a, 0.0)])


def leaky(a: Author, x: int, then: Callable[..., int]) -> int:
    return then("SELECT_V2", [then("LESS", [x, number(a, 0.0)], "BOOL"), then("MUL", [x, number(a, 0.3)]), x])


def by_constant(a: Author, x: int, then: Callable[..., int]) -> int:
    mask = a.tensor("mask", (1, 64), "BOOL", data=np.arange(64) % 3 == 0)
    return then("SELECT_V2", [mask, number(a, -2.5), x])


@pytest.mark.parametrize("function", [real_selu, threshold, leaky, by_constant])
def test_a_choice_in_float(function: Callable[..., int], tmp_path: Path) -> None:
    """The network that is read computes what LiteRT does, to a float32's precision."""
    (tmp_path / "net.tflite").write_bytes(data := chosen(function))
    graph = load_model(tmp_path / "net.tflite")
    x = np.random.default_rng(1).normal(0, 2, (4, 64)).astype(np.float32)
    got = computed(graph, {graph.inputs[0]: x})
    assert np.allclose(got, oracle(data, [x]), rtol=1e-5, atol=1e-5)


def test_a_choice_of_no_function_is_refused(tmp_path: Path) -> None:
    def strange(a: Author, x: int, then: Callable[..., int]) -> int:
        return then("SELECT_V2", [then("GREATER", [x, number(a, 0.5)], "BOOL"), then("EXP", [x]), x])

    with pytest.raises(
        CompileError, match=r"SELECT_V2.*a function that is none.*are elu, leaky_relu, limits"
    ):
        compiled(chosen(strange), tmp_path)


def test_scales_that_litert_refuses_are_told(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"GREATER.*compares int8 of scale 2, LiteRT demands less than 1"):
        compiled(selu((2.0, 2.0)), tmp_path)


@pytest.mark.long
def test_every_entry_of_many(tmp_path: Path) -> None:
    assert_all(600, 1000, tmp_path)


def of_a_choice(rng: np.random.Generator) -> tuple[str, bytes, float]:
    """A kind of tf.where, a file with it, and its threshold."""
    at = float(np.float32(10.0 ** rng.uniform(-4, 5)))
    kind = str(rng.choice(["clip", "band", "step", "least", "bent", "doubled"]))
    compared = str(rng.choice(["GREATER", "GREATER_EQUAL"]))

    def write(a: Author, x: int, then: Callable[..., int]) -> int:
        seen, sides = x, [x, number(a, 0.0)]
        if kind in ("band", "least"):
            seen = then("ABS", [x])
        if kind == "clip":
            sides = [number(a, at), x]
        if kind == "band":
            sides = sides[::-1]
        if kind == "bent":
            sides = [then("MUL", [x, number(a, 0.1)]), x]
        if kind == "doubled":
            seen = then("MUL", [x, number(a, 2.0)])
        return then("SELECT_V2", [then(compared, [seen, number(a, at)], "BOOL"), *sides])

    return kind, chosen(write), at / 2 if kind == "doubled" else at


def test_a_choice_at_any_threshold(tmp_path: Path) -> None:
    """What is read is right near the threshold and beyond it, however small or large; all else is refused."""
    rng, read = np.random.default_rng(8), set[str]()
    for _ in range(60):
        kind, data, at = of_a_choice(rng)
        (tmp_path / "net.tflite").write_bytes(data)
        if kind in ("band", "bent"):
            with pytest.raises(CompileError, match="a function that is none of those"):
                load_model(tmp_path / "net.tflite")
            continue
        graph = load_model(tmp_path / "net.tflite")
        near = np.float32([np.nextafter(np.float32(at), np.float32(to)) for to in (-np.inf, np.inf)])
        x = rng.normal(0, at, (4, 64)).astype(np.float32)
        x[:, :8] = [*near, *-near, at, -at, 0.0, 9 * at]
        got = [run_graph(graph, {graph.inputs[0]: v}).ravel() for v in x]
        assert np.allclose(got, oracle(data, [x]), rtol=1e-5, atol=1e-6 * at), (kind, at)
        read.add(kind)
    assert read == {"clip", "step", "least", "doubled"}


def test_a_choice_beyond_float32_is_refused(tmp_path: Path) -> None:
    """Whose numbers would be infinite, and their difference none."""

    def vast(a: Author, x: int, then: Callable[..., int]) -> int:
        y = x
        for _ in range(12):
            y = then("MUL", [y, number(a, 3e38)])
        y = then("SUB", [y, y])
        return then("SELECT_V2", [then("GREATER", [y, number(a, 0.0)], "BOOL"), y, x])

    with pytest.raises(CompileError, match="a function that is none of those"):
        compiled(chosen(vast), tmp_path)


def test_a_line_that_is_folded_often_is_refused_soon(tmp_path: Path) -> None:
    def folded(a: Author, x: int, then: Callable[..., int]) -> int:
        y = x
        for i in range(20):
            y = then("SUB", [then("ABS", [y]), number(a, 2.0**-i)])
        return then("SELECT_V2", [then("GREATER", [y, number(a, 0.0)], "BOOL"), y, number(a, 0.0)])

    with pytest.raises(CompileError, match="a function that is none of those"):
        compiled(chosen(folded), tmp_path)


def scores(value: float, softens: bool, added: bool) -> bytes:
    """Scores in a map, of which a mask hides some; behind a softmax, or not, their product with others."""
    a, shape = Author(), (1, 4, 4)
    x, y = a.tensor("x", shape, "FLOAT32"), a.tensor("y", shape, "FLOAT32")
    seen, hidden = a.tensor("seen", shape, "FLOAT32"), np.tri(4, dtype=bool)[None] ^ True
    if added:
        mask = a.tensor("mask", shape, "FLOAT32", data=np.where(hidden, value, 0.0))
        a.op("ADD", [x, mask], [seen], "AddOptions")
    else:
        mask = a.tensor("mask", shape, "BOOL", data=~hidden)
        a.op("SELECT_V2", [mask, x, number(a, value)], [seen], "SelectV2Options")
    if softens:
        seen, held = a.tensor("shares", shape, "FLOAT32"), seen
        a.op("SOFTMAX", [held], [seen], "SoftmaxOptions", beta=1.0)
    a.op("BATCH_MATMUL", [seen, x], [y], "BatchMatMulOptions", 1, adjX=False, adjY=False)
    return a.bytes([x], [y])


@pytest.mark.parametrize("value", [-1e9, -20_000.0, -1e4, -9999.0, -1000.0, -200.0])
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("softens", [False, True])
def test_a_mask_is_moved_only_before_a_softmax(
    value: float, added: bool, softens: bool, tmp_path: Path
) -> None:
    data = scores(value, softens, added)
    (tmp_path / "net.tflite").write_bytes(data)
    graph = load_model(tmp_path / "net.tflite")
    x = np.random.default_rng(2).normal(0, 3, (4, 4, 4)).astype(np.float32)
    got, want = computed(graph, {graph.inputs[0]: x}), oracle(data, [x]).reshape(4, -1)
    assert np.allclose(got, want, rtol=1e-5, atol=1e-6 * np.abs(want).max())
    smallest = min(float(t.value.min()) for t in graph.tensors.values() if t.value is not None)
    assert smallest == (-128.0 if softens else value)
    assert sum("what it hides" in n for n in graph.notes) == softens


@pytest.mark.parametrize("alpha", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["INT8", "FLOAT32"])
def test_a_slope_that_is_no_number_is_refused(kind: str, alpha: float, tmp_path: Path) -> None:
    """Within a function of several operators, too."""
    a, held = Author(), {"scale": 0.1, "zero": 3} if kind == "INT8" else {}
    x, h, y = (a.tensor(name, (1, 8), kind, **held) for name in "xhy")
    two, less = a.tensor("two", (), kind, data=20, **held), a.tensor("less", (1, 8), "BOOL")
    a.op("LEAKY_RELU", [x], [h], "LeakyReluOptions", 2, alpha=alpha)
    a.op("LESS", [h, two], [less], version=2)
    a.op("SELECT_V2", [less, h, two] if kind == "INT8" else [less, h, x], [y])
    (tmp_path / "net.tflite").write_bytes(a.bytes([x], [y]))
    with pytest.raises(CompileError, match=r'LEAKY_RELU "h".*has alpha = -?(nan|inf); repair the file'):
        load_model(tmp_path / "net.tflite")


def test_scales_whose_ratio_is_no_float32_are_refused(tmp_path: Path) -> None:
    """Alone, and within a function of several operators."""
    for alone in (True, False):
        a = Author()
        x, y = a.tensor("x", (1, 8), "INT8", scale=1e30), a.tensor("y", (1, 8), "INT8", scale=1e-30)
        h, two = a.tensor("h", (1, 8), "INT8", scale=1e-30), a.tensor("two", (), "INT8", data=20, scale=1e-30)
        less = a.tensor("less", (1, 8), "BOOL")
        a.op("LEAKY_RELU", [x], [y if alone else h], "LeakyReluOptions", 2, alpha=0.5)
        if not alone:
            a.op("LESS", [h, two], [less], version=2)
            a.op("SELECT_V2", [less, h, two], [y])
        (tmp_path / "net.tflite").write_bytes(a.bytes([x], [y]))
        with pytest.raises(CompileError, match=r"needs a requantising shift of -.*scales"):
            compile_model(load_model(tmp_path / "net.tflite"), RuleSpec("none"))
