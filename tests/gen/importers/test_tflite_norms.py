"""Normalisations that converters write in several float operators are read as one; what only looks like one
is read as what it is made of, or refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from float_graph import run_graph
from lite import Author, oracle
from numpy.typing import NDArray

from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph

SAMPLES, EPSILON = 4, 1e-3
OPTIONS = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions"}
SUMS = ("shifted", "negative", "subtracted", "quotients")
FORMS = (*SUMS, "difference", "divided", "standard", "root mean square", "unit")
FAULTS = ("other axes", "other mean", "other root", "fused inside", "read elsewhere", "other way")


class Norm:
    """A file of one normalisation, drawn."""

    def __init__(self, rng: np.random.Generator, form: str, fault: str = "") -> None:
        self.rng, self.a, self.fault, self.count = rng, Author(), fault, 0
        rank = int(rng.integers(1, 4))
        self.shape = (1, *(int(n) for n in rng.integers(2, 6, rank)))
        chosen = rng.permutation(np.arange(1, rank + 1))[: int(rng.integers(1, rank + 1))]
        self.axes = sorted(int(i) for i in chosen)
        self.x = self.tensor(self.shape)
        self.data = self.a.bytes([self.x], [self.ended(getattr(self, form.replace(" ", "_"))())])

    def tensor(self, shape: tuple[int, ...], **given: Any) -> int:
        self.count += 1
        return self.a.tensor(f"t{self.count}", shape, "FLOAT32", **given)

    def number(self, value: float) -> int:
        return self.tensor((), data=value)

    def constant(self, least: float) -> int:
        """Any shape that the input has it stretched to."""
        shape = tuple(n if self.rng.integers(2) else 1 for n in self.shape[-int(self.rng.integers(1, 4)) :])
        return self.tensor(shape, data=self.rng.uniform(least, 1.5, shape))

    def made(self, op: str, *inputs: int, **options: Any) -> int:
        shapes = [tuple(self.a.graph.tensors[i].shape) for i in inputs]
        y = self.tensor(np.broadcast_shapes(*shapes))
        self.a.op(op, inputs, [y], OPTIONS.get(op, ""), 1, **options)
        return y

    def reduced(self, op: str, x: int, axes: list[int] | None = None) -> int:
        axes = self.axes if axes is None else axes
        written = [i - len(self.shape) if self.rng.integers(2) else i for i in axes]
        over = self.a.tensor(f"axes{self.count}", (len(axes),), "INT32", data=written)
        y = self.tensor(tuple(1 if i in axes else n for i, n in enumerate(self.shape)))
        self.a.op(op, [x, over], [y], "ReducerOptions", 1, keepDims=True)
        return y

    def mean(self) -> int:
        if self.fault == "other mean":
            return self.made("MUL", self.reduced("MEAN", self.x), self.number(0.5))
        return self.reduced("MEAN", self.x)

    def variance(self, mean: int) -> int:
        squares = (
            self.made("SQUARED_DIFFERENCE", *([self.x, mean] if self.rng.integers(2) else [mean, self.x]))
            if self.rng.integers(2)
            else self.made("SQUARE", self.made("SUB", self.x, mean))
        )
        other = self.fault == "other axes"
        found = self.reduced("MEAN", squares, [0] if other else None)
        fused = {"fusedActivationFunction": 3} if self.fault == "fused inside" else {}
        return self.made("ADD", found, self.number(EPSILON), **fused)

    def inverse(self, inner: int) -> int:
        r = self.made("EXP" if self.fault == "other root" else "RSQRT", inner)
        self.gamma = bool(self.rng.integers(2))
        return self.made("MUL", r, self.constant(0.5)) if self.gamma else r

    def shifted(self) -> int:
        mean = self.mean()
        r = self.inverse(self.variance(mean))
        shift = self.made("SUB", self.constant(-1.0), self.of_mean("MUL", mean, r))
        return self.made("ADD", *self.rng.permutation([self.made("MUL", self.x, r), shift]))

    def negative(self) -> int:
        mean = self.mean()
        r = self.inverse(self.variance(mean))
        if self.rng.integers(2):
            shift = self.made("NEG", self.of_mean("MUL", mean, r))
        else:
            shift = self.of_mean("MUL", self.made("NEG", mean), r)
        return self.made("ADD", *self.rng.permutation([self.made("MUL", r, self.x), shift]))

    def difference(self) -> int:
        mean = self.mean()
        r = self.inverse(self.variance(mean))
        return self.made("MUL", *self.rng.permutation([self.made("SUB", self.x, mean), r]))

    def subtracted(self) -> int:
        mean = self.mean()
        r = self.inverse(self.variance(mean))
        return self.made("SUB", self.made("MUL", self.x, r), self.of_mean("MUL", mean, r))

    def quotients(self) -> int:
        mean = self.mean()
        root = self.made("EXP" if self.fault == "other root" else "SQRT", self.variance(mean))
        x, less = self.made("DIV", self.x, root), self.of_mean("DIV", mean, root)
        how = int(self.rng.integers(3))
        if how == 0:
            return self.made("SUB", x, less)
        shift = self.made("NEG", less) if how == 1 else self.made("SUB", self.constant(-1.0), less)
        return self.made("ADD", *self.rng.permutation([x, shift]))

    def of_mean(self, way: str, mean: int, r: int) -> int:
        """The mean as x is taken, or the `other way`."""
        if self.fault == "other way":
            way = "DIV" if way == "MUL" else "MUL"
        return self.made(way, mean, r)

    def divided(self) -> int:
        mean = self.mean()
        return self.made("DIV", self.made("SUB", self.x, mean), self.made("SQRT", self.variance(mean)))

    def standard(self) -> int:
        """As zscores are written: by the standard deviation and a little."""
        mean = self.mean()
        squares = self.made("SQUARED_DIFFERENCE", self.x, mean)
        root = self.made("ADD", self.made("SQRT", self.reduced("MEAN", squares)), self.number(1e-7))
        return self.made("DIV", self.made("SUB", self.x, mean), root)

    def root_mean_square(self) -> int:
        squares = self.made("SQUARE", self.x) if self.rng.integers(2) else self.made("MUL", self.x, self.x)
        inner = self.made("ADD", self.reduced("MEAN", squares), self.number(EPSILON))
        return self.made("MUL", self.x, self.inverse(inner))

    def unit(self) -> int:
        inner = self.reduced("SUM", self.made("SQUARE", self.x))
        if self.rng.integers(2):
            inner = self.made("MAXIMUM", inner, self.number(1e-12))
        return self.made("MUL", self.x, self.made("RSQRT", inner))

    def ended(self, y: int) -> int:
        """A function fused into the last operator now and then; or something else that reads a part."""
        last = self.a.graph.operators[-1]
        if last.builtinOptions is not None and not self.rng.integers(3):
            last.builtinOptions.fusedActivationFunction = 1
        if self.fault == "read elsewhere":
            return self.made("ADD", y, last.inputs[0])
        return y


def answers(graph: Graph, x: NDArray[Any]) -> NDArray[Any]:
    name, shape = graph.inputs[0], graph.interface[0].shape
    return np.array([run_graph(graph, {name: v.reshape(shape)}).ravel() for v in x])


def read(norm: Norm, folder: Path) -> Graph:
    path = folder / "net.tflite"
    path.write_bytes(norm.data)
    return load_model(path)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_one_layer_and_the_same_function(form: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(len(form))
    for _ in range(12):
        norm = Norm(rng, form)
        graph = read(norm, tmp_path)
        x = rng.normal(0.5, 1, (SAMPLES, *norm.shape[1:])).astype(np.float32)
        assert [n.op for n in graph.nodes].count("normalise") == 1, graph.nodes
        assert not {"mul", "table"} & {n.op for n in graph.nodes}, graph.nodes
        near = 2e-3 if form == "standard" else 1e-4  # of rows that hardly vary a little is much
        assert np.allclose(answers(graph, x), oracle(norm.data, [x]), atol=near)


@pytest.mark.parametrize("form, fault", [*product(SUMS, FAULTS), *product(["difference"], FAULTS[:-1])])
def test_what_only_looks_like_one_stays_what_it_is(form: str, fault: str, tmp_path: Path) -> None:
    rng, taken = np.random.default_rng(len(form) + len(fault)), 0
    for _ in range(6):
        norm = Norm(rng, form, fault)
        x = rng.normal(0.5, 1, (SAMPLES, *norm.shape[1:])).astype(np.float32)
        try:
            graph = read(norm, tmp_path)
        except CompileError:
            assert fault != "read elsewhere"
            continue
        taken += 1
        assert ("normalise" in {n.op for n in graph.nodes}) == (fault == "read elsewhere")
        assert np.allclose(answers(graph, x), oracle(norm.data, [x]), atol=1e-3)
    assert taken


def test_unit_vectors_by_their_own_operator(tmp_path: Path) -> None:
    rng, a = np.random.default_rng(1), Author()
    x, y = a.tensor("x", (1, 5, 7), "FLOAT32"), a.tensor("y", (1, 5, 7), "FLOAT32")
    a.op("L2_NORMALIZATION", [x], [y], "L2NormOptions")
    path = tmp_path / "net.tflite"
    path.write_bytes(a.bytes([x], [y]))
    values = rng.normal(0, 1, (SAMPLES, 5, 7)).astype(np.float32)
    assert np.allclose(answers(load_model(path), values), oracle(path.read_bytes(), [values]), atol=1e-5)
