"""Random front ends that look for beats, in front of small networks, and electrocardiograms for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from fronts import CLASSES, MOST_REFUSED, Made, spec_of
from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor

Rng = np.random.Generator


def table(name: str, kind: str, **options: object) -> str:
    """A table of a block."""
    rows = "".join(
        f"{k} = {f'{v!r}' if not isinstance(v, str) else chr(34) + v + chr(34)}\n" for k, v in options.items()
    )
    return f'[[frontend.block]]\nname = "{name}"\nkind = "{kind}"\n{rows}'


def network(sizes: dict[str, int], seed: int) -> Graph:
    """A perceptron on the inputs of these sizes, side by side."""
    rng, names = np.random.default_rng(seed), tuple(sizes)
    tensors = {n: Tensor(n, (size,)) for n, size in sizes.items()}
    nodes, x, n = [], names[0], sum(sizes.values())
    if len(names) > 1:
        nodes.append(Node("concat", "cat", names, "all", {"axis": 0}))
        x = "all"
        tensors[x] = Tensor(x, (n,))
    for i, m in enumerate((6, CLASSES), 1):
        w = Tensor(f"w{i}", (m, n), rng.normal(0, (2 / n) ** 0.5, (m, n)))
        b, y = Tensor(f"b{i}", (m,), rng.normal(0, 0.1, m)), Tensor(f"y{i}", (m,))
        tensors |= {w.name: w, b.name: b, y.name: y}
        nodes.append(Node("dense", f"fc{i}", (x, w.name, b.name), y.name))
        x, n = y.name, m
    return Graph("net", names, "y2", tensors, tuple(nodes))


def random_front(rng: Rng) -> tuple[str, dict[str, int], float]:
    """A rule file, the sizes of the inputs that are filled, and the rate in Hz."""
    rate, by = int(rng.choice([100, 125, 250, 360, 500, 1000])), int(rng.choice([1, 1, 2]))
    push = by * int(rng.integers(1, 12))
    rule = str(rng.choice(["none", "dfa", "hebbian"]))
    text = f'rule = "{rule}"\n'
    if rule != "none" and rng.integers(3):
        text += f"[mark]\npending = {rng.integers(1, 5)}\nwithin = {rng.integers(1, 2000)}\n"
        text += "[pseudo]\nmargin = 0.01\n" if rng.integers(2) else ""
    text += f"[frontend]\nrate = {rate}\npush = {push}\n"
    text += table("low", "moving_average", length=2.6 * 1000 / rate)
    text += table("high", "one_pole", shape="high", frequency=0.5)
    if by > 1:
        text += table("fewer", "decimate", by=by)
    own = {"gain": int(rng.choice([20, 200, 2000])), "latest": int(rng.choice([700, 2000]))}
    if rng.integers(2):
        own |= {
            "share": int(rng.integers(0, 60)),
            "noise": int(rng.integers(0, 127)),
            "due": int(rng.integers(64, 256)),
        }
        own |= {"sum": int(rng.integers(20, 150)), "apart": int(rng.integers(40, 250)), "around": 20}
        own |= {"loud": int(rng.integers(1, 20)), "refractory": int(rng.integers(50, 300))}
    source = str(rng.choice(["samples", "low", "high"]))
    text += table("r", "r_peak", **{"from": source}, **own)
    if rng.integers(2):
        text += table("off", "lead_off", **{"from": "samples"}, stuck=20.0, still=300.0, hold=200.0)
    length, step = int(rng.integers(4, 40)), 1000 * by / rate
    before, sizes = int(rng.integers(0, length)), {"beat": length}
    where = {
        "from": "fewer" if by > 1 else "high",
        "at": "r",
        "length": length * step,
        "before": before * step,
    }
    known = ["r", *(["off"] if '"off"' in text else [])]
    where |= {"unless": str(rng.choice(known))} if rng.integers(3) == 0 else {}
    if rng.integers(2):
        text += table("beat", "window", **where, scale=float(2.0 ** -rng.uniform(3, 12)))
    else:
        peak = {"peak_before": int(rng.integers(0, before + 1)) * step, "peak_after": 0.0}
        text += table("beat", "beat", **where, **peak, top=float(rng.choice([500, 2048, 32768])))
    if rng.integers(2):
        text += table("rr", "rhythm", at="r", usual=float(rng.integers(300, 1500)))
        sizes["rr"] = 4
    return text, sizes, rate


def fronts(first: int, count: int) -> Iterator[tuple[Made, float]]:
    """Compiled random front ends that look for beats, and their rates; AssertionError where too many are
    refused."""
    seed, made = first, 0
    while made < count:
        rng = np.random.default_rng(seed)
        text, sizes, rate = random_front(rng)
        if np.random.default_rng([1, seed]).integers(2):
            text = text.replace("[mark]\n", "[mark]\ndeny = true\n")
        seed += 1
        try:
            spec = spec_of(text)
            data: dict[str, NDArray[np.generic]] = {
                n: rng.normal(0, 1, (16, size)) for n, size in sizes.items()
            }
            data["label"] = rng.integers(0, CLASSES, 16)
            plan = compile_model(network(sizes, seed), spec, data).plan
        except CompileError as error:
            assert seed - first - made < 4 + MOST_REFUSED * (seed - first), error
            continue
        assert spec.frontend is not None
        yield Made(replace(plan, model=f"net{seed}"), spec.frontend, text, (sum(sizes.values()),)), rate
        made += 1


def heart(rng: Rng, seconds: float, rate: float, gain: float = 200.0, faults: int = 2) -> NDArray[np.int16]:
    """An electrocardiogram of one lead, int16 [n]: spikes with T waves, upon wander and noise, and so often a
    rail, or a lead that falls off."""
    t = np.arange(round(seconds * rate)) / rate
    x = 0.3 * np.sin(2 * np.pi * 0.3 * t) + rng.normal(0, 0.02, len(t)) + rng.uniform(-3, 3)
    for p in np.cumsum(rng.uniform(0.35, 1.2, int(3 * seconds))):
        size = rng.choice([0.3, 1.0, 1.5]) * rng.choice([1, 1, 1, -1])
        x += size * np.exp(-(((t - p) / 0.015) ** 2)) + 0.25 * np.exp(-(((t - p - 0.28) / 0.05) ** 2))
    x = np.round(x * gain)
    for _ in range(faults):
        at, n = int(rng.integers(0, len(x))), int(rate * rng.uniform(0.1, 1))
        x[at : at + n] = rng.choice([0, -(2**15), 2**15 - 1])
    return np.clip(x, -(2**15), 2**15 - 1).astype(np.int16)
