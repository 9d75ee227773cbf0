"""What ops on maps and tables mean, against their definitions written out; what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Attr, Graph, Node, Tensor
from synapcc.gen.ops import Format, kernel, layer
from synapcc.gen.ops._pooling import random_window
from synapcc.gen.ops._window import Window
from synapcc.gen.ops.table import FUNCTIONS, NAMES
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec
from synapcc.gen.stages.graph_check import verify
from synapcc.host.run.emulator import Emulator

POSITIVE = ("log", "sqrt", "rsqrt", "reciprocal")
PARAMETERS = {
    "hardsigmoid": (0.2, 0.5),
    "leaky_relu": (0.01, 0.0),
    "elu": (1.5, 0.0),
    "celu": (0.5, 0.0),
    "thresholded_relu": (0.75, 0.0),
    "shrink": (1.5, 0.25),
    "power": (3.0, 0.0),
}
STEEP = ("exp", "power")
"""Whose values would span more than a table of 8 bits holds to a fifth of a unit."""


def network(op: str, shapes: list[tuple[int, ...]], attrs: dict[str, Attr] | None = None) -> Graph:
    """The op alone behind its inputs."""
    inputs = tuple(f"x{i}" for i in range(len(shapes)))
    node = Node(op, "n", inputs, "y", attrs or {})
    out = layer(op).shape(node, shapes)
    tensors = {n: Tensor(n, s) for n, s in zip(inputs, shapes, strict=True)} | {"y": Tensor("y", out)}
    return verify(Graph("m", inputs, "y", tensors, (node,)))


def behind_dense(op: str, shape: tuple[int, ...], attrs: dict[str, Attr], rng: np.random.Generator) -> Graph:
    """input -> op -> flat -> dense with the identity as its weights: what the op gives comes out."""
    node = Node(op, "n", ("x",), "h", attrs)
    out = layer(op).shape(node, [shape])
    n = int(np.prod(out))
    tensors = {
        "x": Tensor("x", shape),
        "h": Tensor("h", out),
        "flat": Tensor("flat", (n,)),
        "w": Tensor("w", (n, n), np.eye(n)),
        "b": Tensor("b", (n,), np.zeros(n)),
        "y": Tensor("y", (n,)),
    }
    nodes = (
        node,
        Node("reshape", "flatten", ("h",), "flat", {"shape": (n,)}),
        Node("dense", "fc", ("flat", "w", "b"), "y"),
    )
    return Graph("m", ("x",), "y", tensors, nodes)


def on_chip(graph: Graph, x: np.ndarray) -> np.ndarray:
    """What the emulator gives for x [n, *shape], in real numbers; calibrated on x."""
    plan = compile_model(graph, RuleSpec(INFERENCE_ONLY), {"x": x.astype(np.float32)}).plan
    machine = Emulator(plan, len(x))
    return machine.infer({"x": x.astype(np.float32)})[2] * 2.0 ** -plan[plan.logits].frac


def windows_of(window: Window, x: np.ndarray) -> dict[tuple[int, int, int], np.ndarray]:
    """The values [count] that each output (i, j, k) sees of a map."""
    out = {}
    for i in range(window.out_height):
        for j in range(window.out_width):
            top, left = i * window.stride_h - window.pad_top, j * window.stride_w - window.pad_left
            part = x[max(top, 0) : top + window.kernel_h, max(left, 0) : left + window.kernel_w]
            for k in range(window.channels):
                out[i, j, k] = part[:, :, k].ravel()
    return out


def test_pooling_is_what_its_definition_says() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        window = random_window(rng)
        x = rng.normal(size=(window.height, window.width, window.channels))
        size = window.kernel_h * window.kernel_w
        expected = {
            ("maxpool2d", 0): {at: v.max() for at, v in windows_of(window, x).items()},
            ("avgpool2d", 0): {at: v.mean() for at, v in windows_of(window, x).items()},
            ("avgpool2d", 1): {at: v.sum() / size for at, v in windows_of(window, x).items()},
        }
        for (op, count_padding), want in expected.items():
            y = np.zeros((1, int(np.prod(window.pooled))))
            attrs = window.attrs | {"count_padding": count_padding}
            kernel(f"{op}.forward").real({"x": x.reshape(1, -1), "y": y}, attrs)
            got = y.reshape(window.pooled)
            assert all(abs(got[at] - v) < 1e-12 for at, v in want.items()), (op, attrs)


def test_an_integer_mean_is_the_mean_to_half_a_unit() -> None:
    rng, factors = np.random.default_rng(2), 0
    for _ in range(300):
        window = random_window(rng)
        x = rng.integers(-128, 128, (window.height, window.width, window.channels)).astype(np.int8)
        attrs = window.attrs | {"count_padding": int(rng.integers(2))}
        formats = {"x": Format("int8", 4, -128, 127), "y": Format("int8", int(rng.integers(3, 7)), -128, 127)}
        operands = {"x": x.reshape(1, -1), "y": np.zeros((1, int(np.prod(window.pooled))), np.int8)}
        mean = kernel("avgpool2d.forward")
        if not attrs["count_padding"] and len(np.unique(window.counts())) > 1:
            formats["m"], m = mean.derived("m", formats, attrs, "n")
            operands["m"], factors = m[None].astype(np.int16), factors + 1
        mean.integer(operands, mean.lower(formats, attrs, "n"))
        size = window.kernel_h * window.kernel_w
        for (i, j, k), v in windows_of(window, x.astype(np.int64)).items():
            exact = v.sum() / (size if attrs["count_padding"] else v.size) * 2.0 ** (formats["y"].frac - 4)
            got = operands["y"].reshape(window.pooled)[i, j, k]
            assert abs(got - np.clip(exact, -128, 127)) < 0.505, attrs
    assert factors > 20


def test_the_first_of_equal_values_hears_the_signal() -> None:
    window = Window.of(
        Node("maxpool2d", "n", (), "", {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0, 0, 0)}),
        (2, 4, 1),
    )
    x = np.array([[1, 5, 2, 2], [5, 0, 2, 2]], np.int8).reshape(1, 8)
    y, d = np.array([[5, 2]], np.int8), np.array([[7, -9]], np.int16)
    g = np.zeros((1, 8), np.int16)
    attrs = window.attrs | {"before": 0, "shift": 0, "lo": -32768, "hi": 32767}
    kernel("maxpool2d.feedback").integer({"x": x, "y": y, "d": d, "g": g}, attrs)
    assert g.reshape(2, 4).tolist() == [[0, 7, -9, 0], [0, 0, 0, 0]]


def test_joining_maps_joins_their_channels() -> None:
    graph = network("concat", [(2, 3, 2), (2, 3, 1)])
    assert graph.tensors["y"].shape == (2, 3, 3)
    a, b, y = np.arange(12.0)[None], np.arange(6.0)[None] + 100, np.zeros((1, 18))
    copy = kernel("concat.copy")
    copy.real({"x": a, "y": y}, {"offset": 0, "rows": 6})
    copy.real({"x": b, "y": y}, {"offset": 2, "rows": 6})
    want = np.concatenate([a.reshape(2, 3, 2), b.reshape(2, 3, 1)], axis=2)
    assert np.array_equal(y.reshape(2, 3, 3), want)


def test_padding_and_transposition_move_values_and_change_none() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 3, 4, 2))
    got = on_chip(behind_dense("pad", (3, 4, 2), {"padding": (1, 0, 2, 1), "value": 0.5}, rng), x)
    want = np.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), constant_values=0.5).reshape(40, -1)
    unit = 2.0 ** -math.floor(math.log2(127 / np.abs(x).max()))
    assert np.abs(got - want).max() < unit
    for order in ((2, 0, 1), (1, 0, 2), (0, 2, 1), (0, 1, 2)):
        got = on_chip(behind_dense("transpose", (3, 4, 2), {"order": order}, rng), x)
        want = x.transpose(0, *(axis + 1 for axis in order)).reshape(40, -1)
        assert np.abs(got - want).max() < unit, order


def test_tables_hold_the_function_to_half_a_unit() -> None:
    rng = np.random.default_rng(4)
    anywhere = np.sort(rng.uniform(-8, 8, (64, 32)))
    for fn in FUNCTIONS:
        x = anywhere / 4 if fn.name in STEEP else np.abs(anywhere) + 1 if fn.name in POSITIVE else anywhere
        alpha, beta = PARAMETERS.get(fn.name, (0.0, 0.0))
        graph = behind_dense("table", (32,), {"fn": fn.name, "alpha": alpha, "beta": beta}, rng)
        compiled = compile_model(graph, RuleSpec(INFERENCE_ONLY), {"x": x.astype(np.float32)})
        table, frac = compiled.plan["n_table"].array(), compiled.plan["x"].frac
        exact = fn.value(np.arange(-128, 128) * 2.0**-frac, alpha, beta) * 2.0 ** compiled.plan["n"].frac
        inside = (exact > -128) & (exact < 127)
        assert np.abs(table - exact)[inside].max() <= 0.5, fn.name
        assert inside.sum() > (60 if fn.name in ("neg", *STEEP, *POSITIVE) else 100), fn.name
        around = [fn.value(x + side * 2.0**-frac, alpha, beta) for side in (-1, 1)]
        smooth = np.abs(around[1] - around[0]) < 0.5  # a step may be taken a unit of x too early
        far = np.abs(on_chip(graph, x) - fn.value(x, alpha, beta))
        assert smooth.mean() > 0.8 and far[smooth].max() < 0.2, fn.name


def test_slopes_are_derivatives() -> None:
    everywhere = np.linspace(-7.0, 7.0, 1001) + 0.0003  # beside the kinks
    for fn in FUNCTIONS:
        x = everywhere[(everywhere < 0) | (everywhere > 0.01)] if fn.name in POSITIVE else everywhere
        alpha, beta = PARAMETERS.get(fn.name, (0.0, 0.0))
        numeric = (fn.value(x + 1e-6, alpha, beta) - fn.value(x - 1e-6, alpha, beta)) / 2e-6
        slope = fn.slope(x, alpha, beta)
        assert np.abs(slope - numeric).max() < 1e-6 * max(1.0, np.abs(slope).max()), fn.name


def test_known_values() -> None:
    """ONNX's own definitions, by hand."""
    want = {
        ("sigmoid", 2.0): 1 / (1 + math.exp(-2.0)),
        ("tanh", 0.5): math.tanh(0.5),
        ("hardsigmoid", 1.0): 0.7,
        ("hardswish", 1.0): 4 / 6,
        ("leaky_relu", -3.0): -0.03,
        ("elu", -1.0): 1.5 * (math.exp(-1.0) - 1),
        ("silu", 2.0): 2 / (1 + math.exp(-2.0)),
        ("gelu", 1.0): 0.5 * (1 + math.erf(1 / math.sqrt(2))),
        ("softplus", 1.0): math.log(1 + math.e),
        ("identity", -1.5): -1.5,
        ("abs", -1.5): 1.5,
        ("neg", -1.5): 1.5,
        ("exp", -1.0): 1 / math.e,
        ("log", 2.0): math.log(2),
        ("sqrt", 2.0): math.sqrt(2),
        ("rsqrt", 2.0): math.sqrt(0.5),
        ("erf", 1.0): math.erf(1.0),
        ("softsign", -1.0): -0.5,
        ("celu", -1.0): 0.5 * (math.exp(-2.0) - 1),
        ("mish", 1.0): math.tanh(math.log(1 + math.e)),
        ("thresholded_relu", 0.75): 0.0,
        ("shrink", -2.0): -1.75,
        ("reciprocal", -4.0): -0.25,
        ("power", -2.0): -8.0,
        ("sign", -2.0): -1.0,
        ("floor", -1.5): -2.0,
        ("ceil", -1.5): -1.0,
        ("round", 2.5): 2.0,
        ("sin", 1.0): math.sin(1.0),
        ("cos", 1.0): math.cos(1.0),
        ("atan", 1.0): math.pi / 4,
        ("gelu_tanh", 1.0): 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * 1.044715)),
    }
    assert {name for name, _ in want} == set(NAMES)
    for (name, x), y in want.items():
        fn = FUNCTIONS[NAMES.index(name)]
        assert fn.value(np.array([x]), *PARAMETERS.get(name, (0.0, 0.0)))[0] == pytest.approx(y, abs=1e-12)


def pooling(**change: tuple[int, ...]) -> dict[str, Attr]:
    return {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0, 0, 0), "count_padding": 0, **change}


REFUSED: list[tuple[str, list[tuple[int, ...]], dict[str, Attr], str]] = [
    ("add", [(3,), (4,)], {}, "alike or 1 along each axis"),
    ("concat", [(2, 3, 1), (3, 2, 1)], {}, "only the last axis may differ"),
    ("concat", [(6,), (2, 3)], {}, "only the last axis may differ"),
    ("maxpool2d", [(12,)], pooling(), "takes a map"),
    ("maxpool2d", [(3, 4, 1)], pooling(kernel=(4, 2)), "does not fit into"),
    ("maxpool2d", [(3, 4, 1)], pooling(padding=(2, 0, 0, 0)), "nothing but padding"),
    ("avgpool2d", [(3, 4, 1)], pooling(padding=(0, 0, 3, 0)), "nothing but padding"),
    ("avgpool2d", [(3, 4, 1)], pooling(stride=(0, 1)), "sizes are 1 or more"),
    ("maxpool2d", [(3, 4, 1)], pooling(dilation=(1, 2)), "neighbouring places"),
    ("pad", [(6,)], {"padding": (0, 1, 0, 1), "value": 0.0}, "can be padded"),
    ("pad", [(2, 3, 1)], {"padding": (0, -1, 0, 1), "value": 0.0}, "cuts something off"),
    ("pad", [(2, 3, 1)], {"padding": (0, 1, 0, 1), "value": -math.inf}, "padding of a pooling layer"),
    ("transpose", [(2, 3, 1)], {"order": (0, 1, 1)}, "give each axis once"),
    ("table", [(3,)], {"fn": "sine", "alpha": 0.0, "beta": 0.0}, "no function it knows"),
    ("table", [(3,)], {"fn": "elu", "alpha": math.nan, "beta": 0.0}, "not finite"),
]


@pytest.mark.parametrize("op, shapes, attrs, message", REFUSED)
def test_what_does_not_fit_is_refused_with_one_line(
    op: str, shapes: list[tuple[int, ...]], attrs: dict[str, Attr], message: str
) -> None:
    with pytest.raises(CompileError, match=message) as error:
        network(op, shapes, attrs)
    assert "\n" not in str(error.value)
