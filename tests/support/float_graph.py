"""A float evaluator of Graphs that shares no code with the ops: the oracle of the importer's tests.

Every window is cut out and worked on by itself, as the definition says; nothing here is fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from synapcc.gen.ir.graph import Graph, Node

FUNCTIONS: Mapping[str, Callable[[float, float, float], float]] = {
    "identity": lambda x, a, b: x,
    "sigmoid": lambda x, a, b: 1 / (1 + math.exp(-x)),
    "tanh": lambda x, a, b: math.tanh(x),
    "hardsigmoid": lambda x, a, b: min(max(a * x + b, 0), 1),
    "hardswish": lambda x, a, b: x * min(max(x / 6 + 0.5, 0), 1),
    "leaky_relu": lambda x, a, b: x if x >= 0 else a * x,
    "elu": lambda x, a, b: x if x >= 0 else a * (math.exp(x) - 1),
    "silu": lambda x, a, b: x / (1 + math.exp(-x)),
    "gelu": lambda x, a, b: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "softplus": lambda x, a, b: math.log1p(math.exp(x)),
    "abs": lambda x, a, b: abs(x),
    "neg": lambda x, a, b: -x,
    "exp": lambda x, a, b: math.exp(min(x, 40)),
    "log": lambda x, a, b: math.log(max(x, 2**-10)),
    "sqrt": lambda x, a, b: math.sqrt(max(x, 0)),
    "rsqrt": lambda x, a, b: max(x, 2**-10) ** -0.5,
    "erf": lambda x, a, b: math.erf(x),
    "softsign": lambda x, a, b: x / (1 + abs(x)),
    "celu": lambda x, a, b: max(x, 0) + min(a * (math.exp(x / a) - 1), 0),
    "mish": lambda x, a, b: x * math.tanh(math.log1p(math.exp(x))),
    "thresholded_relu": lambda x, a, b: x if x > a else 0,
    "shrink": lambda x, a, b: x - b if x > a else x + b if x < -a else 0,
    "reciprocal": lambda x, a, b: math.copysign(1 / max(abs(x), 2**-10), x),
    "power": lambda x, a, b: (x if a == int(a) else max(x, 0)) ** a,
    "sign": lambda x, a, b: (x > 0) - (x < 0),
    "floor": lambda x, a, b: math.floor(x),
    "ceil": lambda x, a, b: math.ceil(x),
    "round": lambda x, a, b: round(x),
    "sin": lambda x, a, b: math.sin(x),
    "cos": lambda x, a, b: math.cos(x),
    "atan": lambda x, a, b: math.atan(x),
    "gelu_tanh": lambda x, a, b: x / (1 + math.exp(-2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}


def run_graph(graph: Graph, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """The output of `graph` in float64 for one sample, without its head."""
    values = {k: np.asarray(t.value) for k, t in graph.tensors.items() if t.value is not None}
    for name in graph.inputs:
        values[name] = _normalised(graph, name, np.asarray(feeds[name], np.float64))
    for n in graph.nodes:
        result = run_node(n, [values[i] for i in n.inputs])
        assert result.shape == graph.tensors[n.output].shape, n
        values[n.output] = result
    return values[graph.output]


def _normalised(graph: Graph, name: str, x: np.ndarray) -> np.ndarray:
    shape = graph.tensors[name].shape
    if name not in graph.quantisers:
        return x.reshape(shape)
    q = graph.quantisers[name]
    at = [i // q.inner % len(q.scale) for i in range(x.size)]
    return np.array([(v - q.offset[k]) * q.scale[k] for v, k in zip(x.ravel(), at, strict=True)]).reshape(
        shape
    )


def run_cell(
    cell: str, every: bool, x: np.ndarray, w: np.ndarray, b: np.ndarray, u: np.ndarray, c: np.ndarray
) -> np.ndarray:
    """Hidden states of a window, as the ONNX operators define them."""
    h, memory, states = np.zeros(u.shape[1]), np.zeros(u.shape[1]), []
    for now in x:
        p, q = w @ now + b, u @ h + c
        gate = [1 / (1 + np.exp(-v)) for v in np.split(p + q, {"rnn": 1, "lstm": 4}.get(cell, 3))]
        parts = [np.split(v, len(gate)) for v in (p, q)]
        if cell == "rnn":
            h = np.tanh(p + q)
        elif cell == "gru_early":
            z, n = gate[0], len(h)
            h = (1 - z) * np.tanh(parts[0][2] + u[2 * n :] @ (gate[1] * h) + c[2 * n :]) + z * h
        elif cell == "gru":
            z, r = gate[:2]
            h = (1 - z) * np.tanh(parts[0][2] + r * parts[1][2]) + z * h
        else:
            memory = gate[2] * memory + gate[0] * np.tanh(parts[0][3] + parts[1][3])
            h = gate[1] * np.tanh(memory)
        states.append(h)
    return np.array(states) if every else h


def run_node(n: Node, args: list[np.ndarray]) -> np.ndarray:
    a: Mapping[str, Any] = n.attrs
    match n.op:
        case "dense":
            return np.asarray(args[1] @ args[0] + args[2])
        case "recurrent":
            return run_cell(a["cell"], bool(a["all"]), *args)
        case "affine":
            return (args[1] * args[0].reshape(-1) + args[2]).reshape(args[0].shape)
        case "clip":
            return np.clip(args[0], a["lo"], a["hi"])
        case "reshape":
            return args[0].reshape(a["shape"])
        case "transpose":
            return args[0].transpose(a["order"])
        case "concat":
            return np.concatenate(args, axis=-1)
        case "add":
            return np.asarray(args[0] - args[1] if a.get("subtract") else args[0] + args[1])
        case "mul" | "mul_constant":
            return np.asarray(args[0] * args[1])
        case "lookup":
            grid = a["first"] + a["step"] * np.arange(len(args[1]))
            return np.interp(args[0], grid, args[1])
        case "div":
            return np.asarray(args[0] / args[1])
        case "choice":
            given = iter(args[1:])
            right, yes, no = (
                a[f"{role}_real"] if f"{role}_is" in a else next(given) for role in ("right", "yes", "no")
            )
            return np.where(getattr(np, a["test"])(args[0], right), yes, no)
        case "masked":
            given = iter(args[:-1])
            yes, no = (a[f"{role}_real"] if f"{role}_is" in a else next(given) for role in ("yes", "no"))
            return np.where(args[-1] != 0, yes, no)
        case "unit_length":
            return np.asarray(args[0] / np.sqrt((args[0] ** 2).sum(axis=-1, keepdims=True)))
        case "squared_difference":
            return np.asarray((args[0] - args[1]) ** 2)
        case "add_constant":
            x, c = args[::-1] if a.get("first") else args
            return np.asarray(x - c if a.get("subtract") else x + c)
        case "gather":
            return args[0].take(a["indices"], axis=a["axis"])
        case "dilate":
            (down, across), (h, w, c) = a["stride"], args[0].shape
            out = np.zeros(((h - 1) * down + 1, (w - 1) * across + 1, c))
            for i, j in np.ndindex(h, w):
                out[i * down, j * across] = args[0][i, j]
            return out
        case "matmul":
            sides = [v.swapaxes(1, 2) if turned else v for v, turned in zip(args, a["turned"], strict=True)]
            return np.asarray(np.einsum("brk,bkc->brc", *sides) * a["scale"])
        case "normalise":
            x, axis = args[0], a["axis"]
            if a["kind"] == "variance":
                x = x - x.mean(axis, keepdims=True)
            squares = (x * x).sum(axis, keepdims=True)
            measure = {
                "variance": np.sqrt(squares / x.shape[axis] + a["epsilon"]),
                "mean_square": np.sqrt(squares / x.shape[axis] + a["epsilon"]),
                "squares": np.sqrt(squares),
                "magnitudes": np.abs(x).sum(axis, keepdims=True),
                "largest": np.abs(x).max(axis, keepdims=True),
            }[a["kind"]]
            return np.asarray(x / np.where(measure > 0, measure, 1))
        case "bilinear":
            lines = Node("interpolate", "", n.inputs, "", {"axis": 0, "places": [32 * p for p in a["rows"]]})
            columns = {"axis": 1, "places": [32 * p for p in a["columns"]]}
            return run_node(Node("interpolate", "", n.inputs, "", columns), [run_node(lines, args)])
        case "interpolate":
            at = np.array(a["places"]) / 2**15
            last = args[0].shape[a["axis"]] - 1
            sides = [args[0].take(np.minimum(np.floor(at).astype(int) + k, last), a["axis"]) for k in (0, 1)]
            share = (at % 1).reshape([-1 if i == a["axis"] else 1 for i in range(args[0].ndim)])
            return np.asarray(sides[0] * (1 - share) + sides[1] * share)
        case "pad":
            return _padded(args[0], a["padding"], a["value"])
        case "table":
            return np.vectorize(FUNCTIONS[a["fn"]], otypes=[float])(args[0], a["alpha"], a["beta"])
        case "prelu":
            return np.where(
                args[0] < 0,
                args[0] * args[1].reshape((-1,) if args[1].size == args[0].shape[-1] else args[0].shape),
                args[0],
            )
        case "softmax":
            shares = np.exp(a["beta"] * args[0])
            shares = shares / shares.sum(axis=-1, keepdims=True)
            return np.log(shares) if a["log"] else shares
        case "conv2d":
            return _conv(args[0], args[1], args[2], a)
        case "local2d":
            return _local(args[0], args[1], args[2], a)
        case "maxpool2d":
            return _pooled(args[0], a, lambda cells, present: cells[present].max())
        case "avgpool2d" if "total" in a:
            return _pooled(args[0], a, lambda cells, present: cells[present].sum())
        case "avgpool2d" if a["count_padding"]:
            return _pooled(args[0], a, lambda cells, present: cells.mean())
        case "avgpool2d":
            return _pooled(args[0], a, lambda cells, present: cells[present].mean())
    raise AssertionError(n.op)


def _padded(x: np.ndarray, padding: tuple[int, ...], value: float) -> np.ndarray:
    top, left, bottom, right = padding
    return np.pad(x, ((top, bottom), (left, right), (0, 0)), constant_values=value)


def _windows(
    x: np.ndarray, a: Mapping[str, Any], dilation: tuple[int, int]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Row, column and the cells [kh, kw, C] of each window of a padded map."""
    (kh, kw), (sh, sw), (dh, dw) = a["kernel"], a["stride"], dilation
    for i, top in enumerate(range(0, x.shape[0] - (kh - 1) * dh, sh)):
        for j, left in enumerate(range(0, x.shape[1] - (kw - 1) * dw, sw)):
            yield i, j, x[top : top + (kh - 1) * dh + 1 : dh, left : left + (kw - 1) * dw + 1 : dw]


def _conv(x: np.ndarray, w: np.ndarray, b: np.ndarray, a: Mapping[str, Any]) -> np.ndarray:
    padded = _padded(x, a["padding"], 0.0)
    each, outputs = x.shape[2] // a["groups"], len(w) // a["groups"]
    cells = {}
    for i, j, cut in _windows(padded, a, a["dilation"]):
        taken = [cut[:, :, (o // outputs) * each :][:, :, :each].reshape(-1) for o in range(len(w))]
        cells[i, j] = [w[o] @ t + b[o] for o, t in enumerate(taken)]
    return _as_map(cells)


def _local(x: np.ndarray, w: np.ndarray, b: np.ndarray, a: Mapping[str, Any]) -> np.ndarray:
    """As a convolution at each position, with the weights of that position."""
    places = [(i, j) for i, j, _ in _windows(_padded(x, a["padding"], 0.0), a, a["dilation"])]
    filters = len(w) // len(places)
    parts = [slice(k * filters, (k + 1) * filters) for k in range(len(places))]
    maps = [_conv(x, w[part], b[part], a) for part in parts]
    return _as_map({place: list(maps[k][place]) for k, place in enumerate(places)})


def _pooled(x: np.ndarray, a: Mapping[str, Any], function: Callable[..., float]) -> np.ndarray:
    padded, present = _padded(x, a["padding"], 0.0), _padded(np.ones_like(x), a["padding"], 0.0) > 0
    there = {(i, j): cut for i, j, cut in _windows(present, a, (1, 1))}
    cells = {
        (i, j): [function(cut[:, :, c], there[i, j][:, :, c]) for c in range(x.shape[2])]
        for i, j, cut in _windows(padded, a, (1, 1))
    }
    return _as_map(cells)


def _as_map(cells: Mapping[tuple[int, int], list[float]]) -> np.ndarray:
    height, width = (1 + max(key[k] for key in cells) for k in (0, 1))
    return np.array([[cells[i, j] for j in range(width)] for i in range(height)])
