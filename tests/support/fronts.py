"""Random front ends in front of small networks, and streams of samples for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.frontends import block_options
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import RuleSpec, parse_spec
from synapcc.gen.spec.frontend import ENDS, FrontEnd

Rng = np.random.Generator
HEAD = 'rule = "none"\n[frontend]\nrate = {rate}\nchannels = {channels}\npush = {push}\n'
CLASSES = 3
RATIOS = ((1, 1), (1, 1), (1, 2), (1, 3), (1, 8), (2, 1), (3, 2), (2, 3), (18, 25))
"""How many samples become how many, where a chain changes the rate."""
OTHERS = ("decimate", "resample", "r_peak", "mel", "bands")
"""Blocks that are drawn by themselves: they change the rate, or have events."""
MOST_REFUSED = 0.4


def spec_of(text: str) -> RuleSpec:
    """A rule file's text, with every kind of block known."""
    return parse_spec(text, "rule.toml", {"dfa": (), "hebbian": ()}, block_options())


def front_of(text: str) -> FrontEnd:
    """The front end of a rule file's text."""
    front = spec_of(text).frontend
    assert front is not None
    return front


def network(shape: tuple[int, ...], seed: int = 0) -> Graph:
    """A perceptron on an input of this shape."""
    rng, size = np.random.default_rng(seed), int(np.prod(shape))
    sizes, tensors, nodes, x = (size, 6, CLASSES), {"input": Tensor("input", shape)}, [], "input"
    if len(shape) > 1:
        nodes.append(Node("reshape", "flat", ("input",), "flat_out", {"shape": (size,)}))
        x = "flat_out"
        tensors[x] = Tensor(x, (size,))
    for i in (1, 2):
        n, m = sizes[i - 1], sizes[i]
        w = Tensor(f"w{i}", (m, n), rng.normal(0, (2 / n) ** 0.5, (m, n)))
        b = Tensor(f"b{i}", (m,), rng.normal(0, 0.1, m))
        y = Tensor(f"y{i}", (m,))
        tensors |= {w.name: w, b.name: b, y.name: y}
        nodes.append(Node("dense", f"fc{i}", (x, w.name, b.name), y.name))
        x = y.name
    return Graph("net", ("input",), "y2", tensors, tuple(nodes))


def _block(rng: Rng, name: str, rate: float, channels: int, beside: Sequence[str]) -> tuple[str, int]:
    """A table of a random kind, of frequencies and times that this rate can have, and its channels. beside:
    signals of this rate and as many channels"""
    kind = str(rng.choice([k for k in block_options() if k not in (*ENDS, *OTHERS)]))
    f = round(float(rate * 2.0 ** -rng.uniform(1.5, 9)), 4)
    ms = round(float(rng.uniform(2.1, 12) * 1000 / rate), 3)
    said = {
        "biquad": f'shape = "{rng.choice(["low", "high", "band", "notch"])}"\nfrequency = {f}\n'
        f"q = {round(float(rng.uniform(0.3, 6)), 3)}\n",
        "one_pole": f'shape = "{rng.choice(["low", "high"])}"\nfrequency = {f}\n',
        "envelope": f"frequency = {f}\n",
        "moving_average": f"length = {ms}\n",
        "moving_sum": f"length = {ms}\n",
        "difference": f"lag = {ms}\n" if rng.integers(2) else "",
        "median": f"size = {rng.choice([3, 5, 7, 9])}\n",
        "magnitude": f'over = "{rng.choice(["each", "frame"])}"\n',
        "amplitude": f"release = {ms}\n",
        "square": f'unit = "2^{rng.integers(4, 16)}"\n',
        "log2": f"floor = {2.0 ** rng.integers(-8, 5)}\n",
        "ratio": f'by = "{rng.choice(beside)}"\nfloor = {2.0 ** -rng.integers(0, 9)}\nlimit = {f}\n',
        "lead_off": f"low = {rng.integers(-32768, 0)}\nhigh = {rng.integers(1, 32768)}\n"
        f"flat = {rng.integers(0, 300)}\nstuck = {ms}\nstill = {ms}\nhold = {ms}\n",
    }.get(kind, "")
    left = 1 if '"frame"' in said or kind == "lead_off" else channels
    return f'[[frontend.block]]\nname = "{name}"\nkind = "{kind}"\n{said}', left


def _another_rate(rng: Rng, rate: float, up: int, down: int) -> str:
    """A table that makes `up` samples of `down`."""
    if up == 1 and rng.integers(2):
        return f'[[frontend.block]]\nname = "fewer"\nkind = "decimate"\nby = {down}\n'
    own = f"rate = {rate * up / down!r}\npass = {round(float(rng.uniform(0.5, 0.85)), 3)}\n"
    return f'[[frontend.block]]\nname = "fewer"\nkind = "resample"\n{own}'


def _spectra(rng: Rng, rate: float, frames: int) -> tuple[str, int, int]:
    """A table of spectra, a frame of them for each `hop` of a push; the hop, and how many bands."""
    hop = int(rng.choice([n for n in range(2, frames + 1) if frames % n == 0]))
    length = 2 * int(rng.integers(max(2, -(-hop // 2)), hop // 2 + 20))
    size = max(32, 1 << (length - 1).bit_length()) << int(rng.integers(2))
    own = f"length = {length * 1000 / rate!r}\nhop = {hop * 1000 / rate!r}\nsize = {size}\n"
    own += f"floor = {2.0 ** rng.integers(-12, 6)}\n"
    many = int(rng.integers(1, 8))
    if rng.integers(2):
        kind, own = "mel", own + f"bands = {many}\nlow = {rate / 20!r}\n"
    else:
        edges = sorted(rng.choice(np.arange(size // 2), many + 1, replace=False) * rate / size)
        kind, own = "bands", own + f"edges = {list(map(float, edges))}\n"
    return f'[[frontend.block]]\nname = "spectra"\nkind = "{kind}"\n{own}', hop, many


def random_front(rng: Rng) -> tuple[str, tuple[int, ...]]:
    """A rule file with a random front end, and the shape of the input that its window fills."""
    rate = int(rng.choice([100, 125, 250, 360, 500, 1000]))
    channels = int(rng.choice([1, 1, 2, 3]))
    up, down = RATIOS[int(rng.integers(len(RATIOS)))]
    turns = int(rng.integers(1, 8 if max(up, down) < 5 else 2))
    frames = turns * up
    text = HEAD.format(rate=rate, channels=channels, push=turns * down)
    beside = ["samples"]
    count, at = int(rng.integers(1, 6)), int(rng.integers(0, 5))
    for i in range(count):
        before = channels
        table, channels = _block(rng, f"b{i}", rate, channels, beside)
        text += table
        beside = [*(beside if channels == before else ()), f"b{i}"]
        if up != down and i == min(at, count - 1):
            text += _another_rate(rng, rate, up, down)
            rate = rate * up / down
            up, beside = down, ["fewer"]
    if frames > 1 and rng.integers(3) == 0:
        table, by, many = _spectra(rng, rate, frames)
        text, rate, frames, channels = text + table, rate / by, frames // by, channels * many
    length, hop = int(rng.integers(4, 14)), frames + int(rng.integers(0, 9))
    scale = float(2.0 ** -rng.uniform(3, 12))
    text += (
        f'[[frontend.block]]\nname = "input"\nkind = "window"\nlength = {length * 1000 / rate!r}\n'
        f"hop = {hop * 1000 / rate!r}\nscale = {scale!r}\noffset = {int(rng.integers(-50, 50))}\n"
    )
    if channels == 1:
        return text, ((length,), (1, length))[int(rng.integers(2))]
    if length == channels:
        return text, (length * channels,)
    shapes = (channels, length), (length, channels), (length * channels,)
    return text, shapes[int(rng.integers(3))]


@dataclass(frozen=True)
class Made:
    """A random front end in front of a network, compiled."""

    plan: Plan
    front: FrontEnd
    text: str
    shape: tuple[int, ...]


def fronts(first: int, count: int) -> Iterator[Made]:
    """Compiled random front ends; AssertionError where too many are refused."""
    seed, made = first, 0
    while made < count:
        rng = np.random.default_rng(seed)
        text, shape = random_front(rng)
        seed += 1
        try:
            spec = spec_of(text)
            data = {"input": rng.normal(0, rng.choice([0.1, 1, 20]), (16, *shape))}
            plan = compile_model(network(shape, seed), spec, data).plan
        except CompileError as error:
            assert seed - first - made < 8 + MOST_REFUSED * (seed - first), error
            continue
        assert spec.frontend is not None
        yield Made(replace(plan, model=f"net{seed}"), spec.frontend, text, shape)
        made += 1


def stream(rng: Rng, frames: int, channels: int) -> NDArray[np.int16]:
    """int16 [frames, channels]: noise of all sizes, steps, rails, silence and slow waves, in pieces."""
    parts: list[NDArray[np.float64]] = []
    while sum(map(len, parts)) < frames:
        n = int(rng.integers(1, 60))
        top = 2.0 ** rng.uniform(0, 15)
        t = np.arange(n)[:, None]
        parts.append(
            (
                rng.uniform(-top, top, (n, channels)),
                np.full((n, channels), rng.uniform(-top, top)),
                rng.choice([-(2.0**15), 2.0**15 - 1], (n, channels)),
                np.zeros((n, channels)),
                top * np.sin(t * rng.uniform(0.01, 3) + rng.uniform(0, 6, channels)),
            )[int(rng.integers(5))]
        )
    return np.clip(np.concatenate(parts)[:frames], -(2**15), 2**15 - 1).astype(np.int16)
