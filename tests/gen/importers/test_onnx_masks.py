"""Comparisons and choices by them, of every shape and behind every reader; CumSum of constants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models as om
import pytest
from exported import assert_close, computed, random_feeds
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnx_nets import Net, Rng, graph_of, pick

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.spec import RuleSpec

SHAPES = ((), (1,), (3,), (2, 1), (1, 3), (2, 3))
"""Of constants beside a [1, 2, 3]."""


def agrees(proto: ModelProto, folder: Path) -> None:
    """The float network that comes of a file gives what the file does."""
    graph = graph_of(proto, folder)
    feeds = random_feeds(om.rng(5), graph)
    model = ReferenceEvaluator(proto)
    rows = [model.run(None, {k: v[i : i + 1] for k, v in feeds.items()})[0] for i in range(len(feeds["x"]))]
    assert_close(computed(graph, feeds), np.stack([np.asarray(r, np.float64).ravel() for r in rows]))


def _branch(net: Net, narrow: str) -> str:
    """Zeros, numbers, the activation, or one that is narrower."""
    way = int(net.g.integers(6))
    if way > 3:
        return "x" if way == 5 else narrow
    shape = SHAPES[int(net.g.integers(len(SHAPES)))]
    return net.value(np.zeros(shape, np.float32)) if way < 3 else net.weight(*shape)


def chosen(g: Rng) -> ModelProto:
    """A Where by a mask, or by constants, that may be narrower than its branches; its values are summed."""
    net = Net(g, [1, 2, 3])
    narrow = net.join("ReduceMax", "x", net.value(np.array([pick(g, 1, 2)])), keepdims=1)
    if g.integers(4):
        op = str(g.choice(["Greater", "GreaterOrEqual", "Less", "LessOrEqual"]))
        mask = net.join(
            op, pick(g, narrow, narrow, "x"), net.value(np.full(pick(g, (), (1, 1)), 0.3, np.float32))
        )
    else:
        mask = net.value(g.random(SHAPES[int(g.integers(len(SHAPES)))]) < 0.5)
        branches = [narrow, _branch(net, narrow)]
        net.join("Where", mask, *branches[:: pick(g, 1, -1)])
        return _summed(net)
    net.join("Where", mask, _branch(net, narrow), _branch(net, narrow))
    return _summed(net)


def _summed(net: Net) -> ModelProto:
    """The sum, which tells how often a value stands there, beside the input."""
    net.put("ReduceSum", net.value(np.array([1, 2])), keepdims=1)
    net.join("Add", net.last, "x")
    return net.proto()


@pytest.mark.parametrize("seed", range(24))
def test_a_choice_has_the_shape_of_all_it_reads(seed: int, tmp_path: Path) -> None:
    agrees(chosen(om.rng(seed)), tmp_path)


READERS = ("Cast", "CastLike", "Concat", "Expand", "Not", "Slice", "Split", "Tile", "Transpose", "Where", "")
"""What reads a mask; none where it is the output."""


def read(g: Rng, op: str, reader: str) -> ModelProto:
    """A comparison with one number, and what reads it, perhaps through a view."""
    net = Net(g, [1, 2, 3], 19)
    mask = net.join(op, "x", net.value(np.full(pick(g, (), (1,), (1, 1, 1)), 0.3, np.float32)))
    mask = pick(
        g, mask, net.join("Identity", mask), net.join("Reshape", mask, net.value(np.array([1, 2, 3])))
    )
    end = [net.value(np.array([n])) for n in (1, 3, 2)]
    match reader:
        case "CastLike":
            net.join(reader, mask, "x")
        case "Concat":
            net.join(reader, mask, net.join(op, "x", net.value(np.float32(-0.3))), axis=1)
        case "Expand":
            net.join(reader, mask, net.value(np.array([1, 2, 3])))
        case "Slice":
            net.join(reader, mask, *end)
        case "Tile":
            net.join(reader, mask, net.value(np.array([1, 2, 1])))
        case "Split":
            net.nodes.append(om.node("Split", mask, "left right", axis=1, num_outputs=2))
            net.join("Concat", "right", "left", axis=1)
        case "Where":
            net.join(reader, mask, net.value(np.float32(2)), net.value(np.float32(-1)))
        case "":
            return net.proto()
        case _:
            net.join(reader, mask, **({"to": 1} if reader == "Cast" else {}))
    if reader not in ("Cast", "CastLike", "Where"):
        net.put("Cast", to=1)
    net.put("Mul", net.value(np.float32(2)))
    return net.proto()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("op", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_every_reader_of_a_mask(op: str, reader: str, tmp_path: Path) -> None:
    for seed in range(3):
        agrees(read(om.rng(seed), op, reader), tmp_path)


@pytest.mark.parametrize("op", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_below_a_comparison_nothing_learns_and_it_is_said_why(op: str, tmp_path: Path) -> None:
    g = om.rng(0)
    net = Net(g, [1, 6])
    here = net.put("Gemm", net.weight(6, 5), net.weight(5))
    net.join("Where", net.join(op, here, net.value(np.float32(0.3))), net.weight(5), net.weight(5))
    net.put("Gemm", net.weight(5, 3), net.weight(3))
    feeds = {"x": g.standard_normal((40, 6)).astype(np.float32), "label": g.integers(0, 3, 40)}
    graph = graph_of(net.proto(), tmp_path)
    with pytest.raises(CompileError, match="comparisons and steps pass no teaching signal"):
        compile_model(graph, RuleSpec("bp", layers="all"), feeds)


@pytest.mark.parametrize("seed", range(8))
def test_running_sums_of_constants(seed: int, tmp_path: Path) -> None:
    g = om.rng(seed)
    net, shape = Net(g, [1, 2, 3]), SHAPES[2 + seed % 4]
    kind = pick(g, np.float32, np.int64)
    given = net.value((g.standard_normal(shape) * 4).astype(kind))
    along = net.value(np.int64(g.integers(-len(shape), len(shape))))
    sums = net.join("CumSum", given, along, exclusive=seed % 2, reverse=seed // 2 % 2)
    net.join("Add", "x", net.join("Cast", sums, to=1))
    net.put("Tanh")
    agrees(net.proto(), tmp_path)
