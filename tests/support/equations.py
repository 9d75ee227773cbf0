"""Equations drawn from the grammar of rule files, and what they say in real numbers, as Python reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from synapcc.gen.spec.own import Teach, Update

Rng = np.random.Generator
Real = np.ndarray

COEFFICIENTS = ("rate", "rate", "2^-2 * rate", "3 * 2^-5 * rate", "rate * 0.75", "2^-7", "rate * rate")
OUTPUTS = ("teach[o]", "post[o]", "z[o]", "sign(teach[o])", "clip(teach[o], -0.5, 0.25)", "step(post[o])")
OUTPUTS += ("abs(teach[o])", "sign(teach[o] - 2^-3 * post[o], 2^-6)", "teach[o]^2")
INPUTS = ("pre[i]", "pre[i]", "sign(pre[i])", "step(pre[i])", "abs(pre[i])", "clip(pre[i], -0.5, 1)")
INPUTS += ("pre[i] * abs(pre[i])", "sign(pre[i]) * pre[i]")
DOWN = ("(R.T @ next)", "(W.T @ next)", "(sign(W).T @ next)", "(R.T @ sign(next))", "(W.T @ (2^-1 * next))")
DIRECT = ("(B.T @ error)", "(B.T @ sign(error, 2^-4))", "(B.T @ -target)", "(B.T @ clip(error, -0.5, 0.5))")
SHAPES = (
    "{} * df(z)",
    "{} * df(z)",
    "clip({} * df(z), -1, 0.5)",
    "sign({}) * df(z)",
    "{}",
    "2^-2 * {} * df(z)",
)
SHAPES += ("({} + 2^-3 * post) * df(z)", "{} * df(z) * step(post)", "abs({} * df(z)) - 0.25 * z")
SCORES = ("error", "sign(error)", "clip(error, -0.25, 0.25)", "error - 2^-6 * z", "3 * error")
TRACES = {
    "seen": (
        "seen - 2^-3 * seen + pre",
        "0.5 * seen + 2^-1 * pre",
        "seen * 0.875 + abs(pre)",
        "seen - 2^-9 * seen + pre",
    ),
    "told": ("told - 2^-2 * told + teach", "told - 0.25 * told + 2^-1 * post - z"),
}
DIRECTLY = (
    "-rate * error[c] * post[o]",
    "-rate * sign(error[c]) * post[o] - 2^-8 * B[c,o]",
    "-2^-8 * B[c,o]",
)
DIRECTLY += (
    "-2^-2 * rate * error * teach",
    "-rate * clip(error, -0.5, 0.5) * step(post[o]) + 2^-7 * error * z",
    "rate * target[c] * post[o]",
    "-rate * (error - 2^-2 * target) * post - 2^-9 * B",
    "-2^-1 * rate * sign(target - 2^-1 * error) * teach",
)
PLAIN = "-rate * teach[o] * pre[i]"


def one(rng: Rng, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]


def drawn(rng: Rng, whole: bool = True) -> tuple[Update, Teach, tuple[tuple[str, str], ...]]:
    """A random rule. whole: it may say more than layers' own updates do"""
    names = [n for n in TRACES if whole and not rng.integers(3)]
    trace = {n: one(rng, TRACES[n]) for n in names}
    down = bool(rng.integers(2))
    projected = one(rng, DOWN if down else DIRECT)
    hidden = one(rng, SHAPES).format(projected)
    output = "" if rng.integers(2) else one(rng, SCORES)
    if not whole:
        signal = one(rng, ("teach[o]", "sign(teach[o])", "clip(teach[o], -0.5, 0.25)"))
        weight = f"-{one(rng, ('rate', '2^-2 * rate'))} * {signal} * pre[i]"
        same = weight if "R.T" in projected and rng.integers(2) else ""
        return Update(weight, "", same), Teach(output, hidden), ()
    own = " - 2^-9 * {}[o,i]" if rng.integers(2) else ""
    products = [_product(rng, names, first=i == 0) for i in range(int(rng.integers(1, 4)))]
    weight = PLAIN if not rng.integers(4) else "".join(products) + own.format("W")
    feedback = ""
    if "R.T" in projected and rng.integers(2):
        feedback = one(rng, (PLAIN, weight.replace("W", "R"), f"{PLAIN} - 2^-8 * R"))
    if "B.T" in projected and rng.integers(2):
        feedback = one(rng, DIRECTLY)
    biases = ("", "", "0", "-rate * teach[o]", "-rate * teach - 2^-6 * b", "2^-4 * rate * post[o]")
    used = {n for n in names if n in weight}
    made = tuple(sorted((n, t) for n, t in trace.items() if n in used))
    bias = one(rng, biases)
    taught = any("teach" in text for text in (weight, bias, feedback, *dict(made).values()))
    return (
        Update(weight, bias, feedback if taught else ""),
        Teach(output, hidden) if taught else Teach(),
        made,
    )


def _product(rng: Rng, traces: list[str], first: bool) -> str:
    rows = (*OUTPUTS, *["told[o]"] * (2 * ("told" in traces)))
    columns = (*INPUTS, *["seen[i]", "seen[i]", "seen[i]", "pre[i] * seen[i]"] * ("seen" in traces))
    sign = one(rng, ("-", "-", "") if first else (" - ", " + "))
    return f"{sign}{one(rng, COEFFICIENTS)} * {one(rng, rows)} * {one(rng, columns)}"


# ---- what it says ---------------------------------------------------------------------------------------


def value(text: str, named: Mapping[str, Any]) -> Any:
    """The value of an equation: Python reads it, once powers and axes are written as it has them."""
    text = re.sub(r"\[[oic, ]+\]", "", text).replace("^", "**")
    functions: dict[str, Callable[..., Any]] = {
        "sign": lambda x, least=0.0: np.sign(x) * (np.abs(x) >= least),
        "clip": np.clip,
        "step": lambda x: np.where(x > 0, 1.0, 0.0),
        "abs": np.abs,
    }
    return eval(text, {"__builtins__": {}}, {**functions, **named})


def change(text: str, down: Mapping[str, Real], across: Mapping[str, Real], named: Mapping[str, Any]) -> Real:
    """A statement of a matrix at every [o, i]: signals along o as columns, those along i as rows."""
    wide = {n: v[:, None] for n, v in down.items()} | {n: v[None, :] for n, v in across.items()}
    return np.asarray(value(text, {**named, **wide}))
