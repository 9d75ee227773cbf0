"""Activations of 16 bits of .tflite files: each result is that of LiteRT's reference kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lite import Author, answers, compiled, oracle
from lite_wide import KINDS, activation, add, drawn

from synapcc.gen import numeric
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model

SAMPLES, QUICK, MANY = 4, 6, 200


def _check(kind: str, count: int, seed: int, folder: Path) -> None:
    rng, seen = np.random.default_rng([seed, *kind.encode()]), 0
    for _ in range(count):
        data, shapes = KINDS[kind](rng)
        x = drawn(rng, shapes, SAMPLES)
        expected = oracle(data, x)
        c = compiled(data, folder)
        got = answers(c, x)
        assert np.array_equal(got, expected), (c.graph.nodes, np.argwhere(got != expected)[:4])
        seen += len(np.unique(expected))
    assert seen > 4 * count  # outputs that say something


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_result_is_litert_s(kind: str, tmp_path: Path) -> None:
    _check(kind, QUICK, 0, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_many_results_are_litert_s(kind: str, tmp_path: Path) -> None:
    _check(kind, MANY, 1, tmp_path)


@pytest.mark.parametrize("op", ["LOGISTIC", "TANH"])
@pytest.mark.parametrize("scale", [2.0**-12, 2.0**-11, 3e-4, 1.2e-5])
def test_curves_of_every_input(op: str, scale: float, tmp_path: Path) -> None:
    rng, a, n = np.random.default_rng(0), Author(), 2**12
    (x, _), (y, _) = activation(rng, a, "x", (n,), scale), activation(rng, a, "y", (n,), 2.0**-15)
    add(a, op, [x], [y])
    data, every = a.bytes([x], [y]), np.arange(-(2**15), 2**15).astype(np.int16).reshape(-1, n)
    assert np.array_equal(answers(compiled(data, tmp_path), [every]), oracle(data, [every]))


def test_a_dense_layer_rounds_as_float64_does(tmp_path: Path) -> None:
    """Where a multiplier of 31 bits would be another number: results near halves, of many sums."""
    rng, a, n, m = np.random.default_rng(3), Author(), 16, 700
    x, scale = activation(rng, a, "x", (n,), 1.2345 * 2.0**-13)
    w = a.tensor("w", (m, n), scale=[0.0123], data=rng.integers(-127, 128, (m, n)))
    b = a.tensor("b", (m,), "INT64", scale=[0.0123 * scale], data=rng.integers(-1000, 1000, m))
    y, _ = activation(rng, a, "y", (m,), scale * 0.0123 * 127 * 4 * 1.37)
    add(a, "FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions", quantizedBiasType=4)
    data, many = a.bytes([x], [y]), rng.integers(-(2**15), 2**15, (400, n)).astype(np.int16)
    assert np.array_equal(answers(compiled(data, tmp_path), [many]), oracle(data, [many]))


def test_a_prelu_s_factors_are_of_float32(tmp_path: Path) -> None:
    """Where factors of float64 would give other results: many values, each near a half."""
    rng, n = np.random.default_rng(4), 2**12
    for scale, slope, to in ((1.37e-4, 0.0113, 9.1e-5), (2.9e-4, 0.0077, 1.3e-4), (7.3e-5, 0.0031, 2.1e-5)):
        a, slopes = Author(), rng.integers(-128, 128, n)
        (x, _), (y, _) = activation(rng, a, "x", (n,), scale), activation(rng, a, "y", (n,), to)
        w = a.tensor("w", (n,), scale=slope, zero=3, data=slopes)
        add(a, "PRELU", [x, w], [y])
        data, given = a.bytes([x], [y]), rng.integers(-(2**15), 0, (16, n)).astype(np.int16)
        assert np.array_equal(answers(compiled(data, tmp_path), [given]), oracle(data, [given]))


def test_scale_fine_is_a_rounded_product_of_float64() -> None:
    """Also where the product lies one of its last bits beside a half, or on one."""
    rng, n = np.random.default_rng(5), 200_000
    x = rng.integers(1, 2**41, n) >> rng.integers(0, 30, n)
    halves = rng.integers(0, 2**20, n) + 0.5
    x = np.maximum(x, 1)
    near = np.nextafter(halves / x, rng.choice([0.0, 1.0], n))
    factors = np.choose(rng.integers(0, 3, n), [2.0 ** rng.uniform(-40, -12, n), halves / x, near])
    x *= rng.choice([-1, 1], n)
    fits = (factors < 8) & (factors > 2.0**-43) & (np.abs(x * factors) < 2**30)
    x, factors = x[fits], factors[fits]
    top, bottom, shift = np.array([numeric.fine_multiplier(float(f)) for f in factors]).T
    words = (x >> 32).astype(np.int32), (x & (2**32 - 1)).astype(np.uint32)
    got = numeric.scale_fine(*words, top.astype(np.int32), bottom.astype(np.uint32), shift)
    product = x * factors
    whole = np.trunc(product)
    want = whole + np.copysign(np.abs(product - whole) >= 0.5, product)
    assert np.array_equal(got, want) and len(x) > n // 2 and len(np.unique(got)) > 1000


def _one(
    op: str, kind: str = "INT16", zero: int = 0, scale: float = 3e-4, options: str = "", **says: object
) -> bytes:
    a = Author()
    x = a.tensor("x", (1, 8), "INT16", scale=scale, zero=zero)
    y = a.tensor("y", (1, 8), kind, scale=scale)
    inputs = [x, x] if options in ("AddOptions", "SubOptions") else [x]
    add(a, op, inputs, [y], options, **says)
    return a.bytes([x], [y])


def _biased(bias: int) -> bytes:
    a = Author()
    x, y = (a.tensor(name, (1, 8), "INT16", scale=1e-3) for name in "xy")
    w = a.tensor("w", (8, 8), scale=[0.1], data=np.ones((8, 8)))
    b = a.tensor("b", (8,), "INT64", scale=[1e-4], data=[bias] * 8)
    add(a, "FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions", quantizedBiasType=4)
    return a.bytes([x], [y])


def _mixed() -> bytes:
    a = Author()
    x, z = a.tensor("x", (1, 8), "INT16", scale=1e-3), a.tensor("z", (1, 8), scale=0.1)
    m, y = (a.tensor(name, (1, 8), "INT16", scale=1e-3) for name in "my")
    add(a, "QUANTIZE", [z], [m], "QuantizeOptions")
    add(a, "ADD", [x, m], [y], "AddOptions", potScaleInt16=False)
    return a.bytes([x, z], [y])


def _chosen(op: str, kind: str, parts: int = 1, table: bool = False, by: str = "SELECT_V2") -> bytes:
    """A SELECT of two activations by a comparison of them, `parts` times by LOGICAL_AND; of a constant table
    perhaps; by rows where `by` is SELECT."""
    a, held = Author(), {} if kind == "FLOAT32" else {"scale": 1e-3}
    shape = (8, 2) if by == "SELECT" else (8,)
    x, z = (a.tensor(name, (1, 8), kind, **held) for name in "xz")
    c = a.tensor("c", (1, 8), "BOOL")
    a.op(op, [x, z], [c], version=2)
    for _ in range(parts - 1):
        both = a.tensor("both", (1, 8), "BOOL")
        a.op("LOGICAL_AND", [a.tensor("mask", (1, 8), "BOOL", data=[True, False] * 4), c], [both])
        c = both
    other = a.tensor("table", (1, 8), kind, data=np.arange(8), **held) if table else z
    y = a.tensor("y", (1, *shape), kind, **held)
    a.op(by, [c, x, other], [y])
    return a.bytes([x, z], [y])


UNCHOSEN = {
    "float": (lambda: _chosen("LESS", "FLOAT32"), 'LESS "c".*it compares two tensors.*MAXIMUM and MINIMUM'),
    "many": (
        lambda: _chosen("LESS", "INT8", 65),
        r'^SELECT_V2 "y" \(operator 65\): its condition reads more than 64 comparisons and masks; choose in',
    ),
    "table": (lambda: _chosen("LESS", "INT16", table=True), r"operand no is a constant of shape \(1, 8\)"),
    "rows": (
        lambda: _chosen("LESS", "INT16", by="SELECT"),
        r'SELECT "y".*: makes shape \(1, 8, 2\) of \(1, 8\) and \(1, 8\) by a condition.*write SELECT_V2',
    ),
}


@pytest.mark.parametrize("case", UNCHOSEN)
def test_which_choices_are_refused(case: str, tmp_path: Path) -> None:
    make, text = UNCHOSEN[case]
    path = tmp_path / "net.tflite"
    path.write_bytes(make())
    with pytest.raises(CompileError, match=text):
        load_model(path)


def test_a_choice_by_as_many_tests_as_may_be(tmp_path: Path) -> None:
    """And one of more that no output needs is no hindrance."""
    path = tmp_path / "net.tflite"
    path.write_bytes(_chosen("LESS", "INT8", 64))
    assert {"choice", "masked"} <= {node.op for node in load_model(path).nodes}
    a = Author()
    x, y = a.tensor("x", (1, 8), scale=1e-3), a.tensor("y", (1, 8), scale=1 / 128)
    c = a.tensor("c", (1, 8), "BOOL")
    a.op("LESS", [x, x], [c], version=2)
    for _ in range(65):
        c, old = a.tensor("both", (1, 8), "BOOL"), c
        a.op("LOGICAL_AND", [a.tensor("mask", (1, 8), "BOOL", data=[True] * 8), old], [c])
    a.op("SELECT_V2", [c, x, x], [a.tensor("unread", (1, 8), scale=1e-3)])
    a.op("TANH", [x], [y], "", 2)
    path.write_bytes(a.bytes([x], [y]))
    assert "choice" not in {node.op for node in load_model(path).nodes}


@pytest.mark.parametrize("op, near", [("TOPK_V2", "REDUCE_MAX"), ("CAST", "QUANTIZE"), ("RANK", "")])
def test_what_is_named_as_nearest_does_something_like_it(op: str, near: str, tmp_path: Path) -> None:
    a = Author()
    x, y = (a.tensor(name, (1, 8), scale=0.1) for name in "xy")
    a.op(op, [x], [y])
    (tmp_path / "net.tflite").write_bytes(a.bytes([x], [y]))
    with pytest.raises(CompileError, match=f"nearest is {near};" if near else "in int8; supported are"):
        load_model(tmp_path / "net.tflite")


REFUSED = {
    "operator": (lambda: _one("HARD_SWISH"), "is not supported in int16; convert the model to int8"),
    "zero": (lambda: _one("RELU", zero=5), "is int16 with the zero point 5, LiteRT demands 0"),
    "types": (lambda: _one("RELU", "INT8"), "takes together int8 and int16; only QUANTIZE"),
    "power": (
        lambda: _one("ADD", scale=2.0**-9, options="AddOptions", potScaleInt16=True),
        r"has scales that are powers of two, .* \(pot_scale_int16\)",
    ),
    "bias": (lambda: _biased(2**40), "its bias needs more than 32 bits"),
    "bias above": (lambda: _biased(2**31), "its bias needs more than 32 bits"),
    "bias below": (lambda: _biased(-(2**31) - 1), "its bias needs more than 32 bits"),
    "inputs": (_mixed, "has inputs of several types, int16 and int8"),
    "curve": (
        lambda: _one("TANH"),
        "its output has scale 0.0003, zero point 0, LiteRT demands scale 3.05176e-05",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str, tmp_path: Path) -> None:
    make, text = REFUSED[case]
    path = tmp_path / "net.tflite"
    path.write_bytes(make())
    with pytest.raises(CompileError, match=text):
        load_model(path)


@pytest.mark.parametrize("bias", [-(2**31), 1 - 2**31, 2**31 - 1])
def test_every_bias_of_32_bits_is_taken(bias: int, tmp_path: Path) -> None:
    data = _biased(bias)
    c = compiled(data, tmp_path)
    assert bias in [int(v) for t in c.plan.space("const") if t.role == "bias" for v in t.array().ravel()]
    x = np.random.default_rng(7).integers(-(2**15), 2**15, (SAMPLES, 8)).astype(np.int16)
    assert np.array_equal(answers(c, [x]), oracle(data, [x]))
