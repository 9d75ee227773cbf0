"""What layers answer to passes is true in real numbers, for every op and random nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from float_graph import run_node

from synapcc.gen.ir.graph import Node
from synapcc.gen.ops import Layer, layer, layers
from synapcc.gen.ops._folding import Pair

SHAPES: tuple[list[tuple[int, ...]], ...] = (
    [(6,)],
    [(4, 5, 4)],
    [(1, 7, 2)],
    [(6,), (5,)],
    [(3, 4, 2), (3, 4, 3)],
)
NODES = 12  # of each op and shape
TOLD = {
    "idle": {"affine", "clip", "reshape"},
    "merged": {"clip", "reshape"},
    "moved": {"concat", "dilate", "gather", "pad", "reshape", "transpose"},
    "least": {"clip"},
    "padded": {"avgpool2d", "conv2d", "local2d", "maxpool2d"},
    "commutes": {"avgpool2d", "maxpool2d"},
    "behind": {"conv2d", "dense", "local2d"},
    "before": {"conv2d", "dense"},
}
"""Which ops answer; each must come up."""

Rng = np.random.Generator
Run = Callable[..., np.ndarray]


def draw(rng: Rng, op: str, shapes: list[tuple[int, ...]]) -> tuple[Node, Pair, list[np.ndarray], Run] | None:
    """A node, its constants, its inputs, and what it computes of inputs and constants."""
    sample = layer(op).sample(rng, shapes)
    if sample is None:
        return None
    node, constants = replace(sample[0], name="n"), tuple(sample[1].values())
    xs = [rng.normal(0, 1, shapes[int(i[2:])]) for i in node.inputs if i not in sample[1]]

    def run(
        inputs: Sequence[np.ndarray], given: Sequence[np.ndarray] = constants, **attrs: object
    ) -> np.ndarray:
        changed = replace(node, attrs={**node.attrs, **attrs})  # type: ignore[arg-type]
        return run_node(changed, [*inputs, *given])

    return node, constants, xs, run  # type: ignore[return-value]


def pairs(rng: Rng, shape: tuple[int, ...]) -> list[Pair]:
    """Scales and shifts of a tensor: any, one a channel, positive ones, none but scales."""
    size, channels = int(np.prod(shape)), shape[-1]
    scale, shift = (np.tile(rng.normal(0, 1, channels), size // channels) for _ in range(2))
    anyhow = rng.normal(0, 1, size), rng.normal(0, 1, size)
    return [anyhow, (scale, shift), (np.abs(scale), shift), (scale, np.zeros(size)), (np.ones(size), shift)]


def after(pair: Pair, x: np.ndarray) -> np.ndarray:
    return (pair[0] * x.reshape(-1) + pair[1]).reshape(x.shape)


def alike(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def weights_hold(rng: Rng, node: Node, constants: Pair, xs: list[np.ndarray], run: Run) -> Counter[str]:
    """What goes into a weight and a bias."""
    asked, found, (x,), y = Counter[str](), layer(node.op), xs, run(xs)
    for pair in pairs(rng, y.shape):
        if (new := found.behind(node, constants, pair)) is not None:
            alike(run(xs, new), after(pair, y))
            asked["behind"] += 1
    for place, pair in enumerate(pairs(rng, x.shape)):
        new = found.before(node, constants, pair, x.shape)
        if new is not None:
            alike(run(xs, new), run([after(pair, x)]))
            asked["before"] += 1
        if place and found.takes_in(node, bool(np.any(pair[1]))):
            assert new is not None, "takes_in promised it"
    return asked


def one_input_holds(rng: Rng, node: Node, x: np.ndarray, run: Run) -> Counter[str]:
    """What concerns one activation."""
    asked, y = Counter[str](), run([x])
    found: Layer = layer(node.op)
    for pair in pairs(rng, x.shape)[1:]:
        if found.commutes(node, pair):
            channels, places = x.shape[-1], int(np.prod(y.shape[:-1]))
            tiled = np.tile(pair[0][:channels], places), np.tile(pair[1][:channels], places)
            alike(run([after(pair, x)]), after(tiled, y))
            asked["commutes"] += 1
    other = found.sample(rng, [y.shape])
    if other is not None and (attrs := found.merged(other[0], node)) is not None:
        alike(run_node(replace(other[0], attrs=attrs), [x]), run_node(other[0], [y]))
        asked["merged"] += 1
    if np.isfinite(found.least(node)):
        assert y.min() >= found.least(node)
        asked["least"] += 1
    if x.ndim == 3:
        for value in (0.0, -1.0, -np.inf):
            border = tuple(int(v) for v in rng.integers(0, 3, 4))
            least = float(rng.choice([-np.inf, -1.0, 0.0]))
            inner = np.maximum(x, least)
            ends = ((border[0], border[2]), (border[1], border[3]), (0, 0))
            whole = np.pad(inner, ends, constant_values=value)
            drawn = draw(rng, found.op, [whole.shape])  # on the padded map: weights may be a position's own
            if drawn is None:
                continue
            behind, constants = drawn[0], drawn[1]
            attrs = found.padded(behind, (border, value), least)  # type: ignore[arg-type]
            if attrs is not None:
                taken = replace(behind, attrs={**behind.attrs, **attrs})
                alike(run_node(taken, [inner, *constants]), run_node(behind, [whole, *constants]))
                asked["padded"] += 1
    return asked


@pytest.mark.parametrize("op", sorted(layers()))
def test_what_a_layer_answers_is_true(op: str) -> None:
    rng, asked, found = np.random.default_rng(sorted(layers()).index(op)), Counter[str](), layer(op)
    for shapes in SHAPES * NODES:
        drawn = draw(rng, op, shapes)
        if drawn is None:
            continue
        node, constants, xs, run = drawn
        y = run(xs)
        moved = found.moved(node, xs, y.shape, 0)
        if moved is not None:
            assert np.array_equal(moved, y)
            asked["moved"] += 1
        if len(xs) == 1:
            asked += one_input_holds(rng, node, xs[0], run)
        if found.weighted:
            asked += weights_hold(rng, node, constants, xs, run)
    told = {question for question, ops in TOLD.items() if op in ops} - {"idle"}
    assert set(asked) == told


@pytest.mark.parametrize("op", sorted(TOLD["idle"]))
def test_what_is_idle_hands_its_input_on(op: str) -> None:
    shape = (3, 4, 2)
    x = np.random.default_rng(0).normal(0, 1, shape)
    attrs = {"clip": {"lo": -np.inf, "hi": np.inf}, "reshape": {"shape": shape}}.get(op, {})
    constants = [np.ones(24), np.zeros(24)][: layer(op).constants]
    node = Node(op, "n", ("x",), "y", attrs)  # type: ignore[arg-type]
    assert layer(op).idle(node, shape, shape, constants)
    assert np.array_equal(run_node(node, [x, *constants]), x)
    other = {"clip": {"lo": -np.inf, "hi": 0.5}, "reshape": {"shape": (24,)}}.get(op, {})
    changed = [np.full(24, 1.5), np.zeros(24)][: layer(op).constants]
    to = run_node(replace(node, attrs=other), [x, *changed]).shape  # type: ignore[arg-type]
    assert not layer(op).idle(replace(node, attrs=other), shape, to, changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("op", sorted(layers()))
def test_a_factor_that_a_layer_takes_in_is_one_of_its_output_and_of_any_one_input(op: str) -> None:
    rng, asked = np.random.default_rng(7), 0
    for shapes in ([(3, 4, 2)], [(3, 4, 2), (3, 4, 2)]):
        sample = layer(op).sample(rng, shapes)
        attrs = layer(op).scaled(sample[0], 0.5) if sample is not None else None
        if sample is None or attrs is None:
            continue
        node, x = sample[0], [rng.normal(0, 1, s) for s in (shapes * 2)[:2]]
        halved = run_node(replace(node, attrs={**node.attrs, **attrs}), x)
        assert np.allclose(halved, 0.5 * run_node(node, x))
        assert np.allclose(halved, run_node(node, [0.5 * x[0], x[1]]))
        assert layer(op).scaled(node, -1.0) is None
        asked += 1
    assert asked == (2 if op == "matmul" else 0)
