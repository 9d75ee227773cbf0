"""Power in bands: beside the same in float64, for streams and sines of all sizes, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from counts import counted
from fronts import HEAD, front_of, stream
from numpy.typing import NDArray

from synapcc.gen.errors import CompileError
from synapcc.gen.frontends._spectrum import hann
from synapcc.gen.ops.spectrum import turns
from synapcc.host.run.frontend import cut, signals

Rng = np.random.Generator
LEAST = 1e-6
BOUNDS = ((-30.0, 0.01), (-50.0, 0.1), (-60.0, 0.4))
"""A band within so many dB of its frame's whole power is right to so many octaves (docs/FRONTENDS.md)."""


def front(kind: str, *lines: str, rate: float = 1000, channels: int = 1, push: int = 64) -> str:
    text = HEAD.format(rate=rate, channels=channels, push=push)
    text += f'[[frontend.block]]\nname = "f"\nkind = "{kind}"\n' + "\n".join(lines) + "\n"
    return text + '[[frontend.block]]\nname = "input"\nkind = "window"\nlength = 2000\n'


def powers(x: NDArray[np.int16], length: int, hop: int, size: int, w: np.ndarray) -> np.ndarray:
    """[frames, bands], in float64: of x, [n], behind zeros."""
    h = hann(length) / 2.0**15
    whole = np.concatenate([np.zeros(length - hop), x])
    frames = np.stack([whole[k * hop : k * hop + length] for k in range(len(x) // hop)]) * h
    bins = np.fft.rfft(frames, size)[:, : size // 2]
    found: np.ndarray = (2 * np.abs(bins) ** 2) @ w.T / (size * np.sum(h**2))
    return found


def shares(edges: np.ndarray, size: int) -> np.ndarray:
    """[bands, size / 2]: how much of each bin lies in each band, edges in bins, as weights of Q14."""
    low = np.arange(size // 2) - 0.5
    rows = [np.clip(np.minimum(low + 1, b) - np.maximum(low, a), 0, None) for a, b in pairwise(edges)]
    return np.round(np.array(rows) * 2**14) / 2**14


def drawn(rng: Rng, n: int) -> NDArray[np.int16]:
    """Noise, a sine, both, or anything that samples may be, of any size."""
    t = np.arange(n)
    sine = 2.0 ** rng.uniform(2, 14.9) * np.sin(t * rng.uniform(0.01, 3.1))
    noise = rng.normal(0, 2.0 ** rng.uniform(0, 13), n)
    x = (sine, noise, sine + noise / 64, stream(rng, n, 1)[:, 0].astype(float))[int(rng.integers(4))]
    return np.clip(np.round(x), -(2**15), 2**15 - 1).astype(np.int16)


@counted(16, 400)
def test_powers_are_those_of_float64(count: int) -> None:
    rng, seen = np.random.default_rng(count), 0
    for _ in range(count):
        size = int(2 ** rng.integers(5, 11))
        length = 2 * int(rng.integers(max(2, size // 8), size // 2 + 1))
        hop = int(rng.integers(max(2, length // 3), length + 1))
        edges = np.sort(rng.choice(np.arange(size // 2 + 1), 6, replace=False))
        x = drawn(rng, 8 * hop)
        lines = [f"length = {length}", f"hop = {hop}", f"size = {size}", f"floor = {LEAST}"]
        text = front("bands", *lines, f"edges = {[float(e) * 1000 / size for e in edges]}", push=hop)
        y = signals(front_of(text), x, "numpy")[1]["input"] / 256
        want = powers(x, length, hop, size, shares(edges, size))
        whole = powers(x, length, hop, size, np.ones((1, size // 2)))
        above = 10 * np.log10(np.maximum(want, 1e-30) / np.maximum(whole, 1e-30))
        apart = np.abs(y - np.log2(np.maximum(want, LEAST)))
        for dB, most in BOUNDS:
            told = (above >= dB) & (want > 1e-5)
            assert not np.any(apart[told] > most), (dB, apart[told].max(), text)
            seen += int(told.sum())
    assert seen > 50 * count


def test_a_sine_has_half_the_square_of_its_amplitude_in_its_band() -> None:
    """Wherever in the band, whatever the channel: a channel's bands stand side by side."""
    t = np.arange(4000) / 1000
    x = np.stack([3000 * np.sin(2 * np.pi * 100 * t), 500 * np.sin(2 * np.pi * 223.4 * t)], axis=1)
    text = front("bands", "length = 128", "hop = 64", "edges = [0, 60, 150, 300]", channels=2)
    y = signals(front_of(text), np.round(x).astype(np.int16), "numpy")[1]["input"][4:] / 256
    assert y.shape[1] == 6
    assert np.allclose(y[:, 1], np.log2(3000**2 / 2), atol=0.02) and np.all(y[:, [0, 2]] < y[:, [1]] - 8)
    assert np.allclose(y[:, 5], np.log2(500**2 / 2), atol=0.02) and np.all(y[:, [3, 4]] < y[:, [5]] - 8)


def test_mel_bands_hear_a_tone_where_it_is() -> None:
    """In the band whose middle is the next one on the mel scale, by the triangle that it has there."""
    t = np.arange(16_000) / 16_000
    mel = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 8000 / 700), 42)
    for f in (300.0, 1000.0, 5000.0):
        x = np.round(8000 * np.sin(2 * np.pi * f * t)).astype(np.int16)
        text = front("mel", "length = 25", "hop = 20", rate=16_000, push=320)
        y = signals(front_of(text), x, "numpy")[1]["input"][4:]
        own = 2595 * np.log10(1 + f / 700)
        assert y.shape[1] == 40
        assert set(y.argmax(axis=1)) <= {int(np.abs(mel[1:-1] - own).argmin())}, f


def test_silence_and_rails_are_numbers() -> None:
    """Nothing is the floor; full scale, whatever its shape, is not more than its square."""
    text = front("bands", "length = 64", "hop = 64", "floor = 0.25", "edges = [0, 100, 500]")
    for x in (np.zeros(4096), np.full(4096, -(2**15)), np.tile([2**15 - 1, -(2**15)], 2048)):
        y = signals(front_of(text), x.astype(np.int16), "numpy")[1]["input"] / 256
        assert y.min() == -2 and (y.max() == -2 if not x.any() else 24 < y.max() <= 30.04), y.max()
    assert turns(32).tolist()[:9:8] == [2**15 - 1, 0]


@pytest.mark.parametrize("planar", [False, True])
def test_windows_of_spectra(planar: bool) -> None:
    """[frames, bands], or [bands, frames], every hop of the window; one frame's where it is that long."""
    rng = np.random.default_rng(3)
    x = drawn(rng, 640)
    text = front("bands", "length = 64", "hop = 32", "edges = [0, 50, 100, 500]", push=32)
    text = text.replace("length = 2000\n", "length = 128\nhop = 64\n")
    y = signals(front_of(text), x, "numpy")[1]["input"] / 256
    found = cut(front_of(text), x, planar).windows["input"]
    want = np.stack([y[i - 4 : i] for i in range(4, len(y) + 1, 2)])
    assert np.array_equal(found, want.transpose(0, 2, 1) if planar else want)
    one = cut(front_of(text.replace("length = 128", "length = 32")), x, planar).windows["input"]
    assert np.array_equal(one[:, :, 0] if planar else one[:, 0], y[::2])


LINES = ("length = 64", "edges = [0, 100]")
REFUSED = [
    (("length = 64", "hop = 65", *LINES[1:]), "f: hop = 65 ms, and a frame is 64 ms: some would be missed"),
    ((*LINES, "size = 100"), "size = 100, and a frame has 64 samples; give a power of two from 64 on"),
    ((*LINES, "size = 32"), "size = 32, and a frame has 64 samples; give a power of two from 64 on"),
    ((*LINES, "size = 2048"), "size is 2048"),
    (("length = 1100", "edges = [0, 9]"), "length = 1100 ms is 1100 samples at 1000 Hz; give 4 to 1024 ms"),
    ((*LINES, "hop = 48"), "makes a frame of 48 samples, and 64 come with a push; give a push of 192, or"),
    (("length = 64", "edges = [0, 501]"), "edge 501 Hz, and its signal has 1000 samples a second; give"),
    (("length = 64", "edges = [9, 9]"), "edges = [9, 9]; let them rise, from 0 on"),
    (("length = 64", "edges = [-1, 9]"), "edges = [-1, 9]; let them rise, from 0 on"),
    (("length = 64", "edges = [9]"), "edges has 1 numbers; give 2 to 129 numbers, as [1, 2.5, 4]"),
    (("length = 64", 'edges = ["x", 9]'), "edges holds what is no number"),
    (("length = 64", "edges = [1, nan]"), "edges holds what is no number"),
    (("length = 64", "edges = 9"), "edges is 9"),
    (("length = 64",), "edges is missing"),
    (("length = 64", "edges = [0, 2, 9]"), "band 0 to 2 Hz has less than a quarter of a bin, 15.62 Hz; give"),
]


@pytest.mark.parametrize(("lines", "says"), REFUSED)
def test_what_bands_cannot_be_is_one_line(lines: tuple[str, ...], says: str) -> None:
    with pytest.raises(CompileError) as caught:
        signals(front_of(front("bands", *lines)), np.zeros(640, np.int16), "numpy")
    assert says in str(caught.value) and "\n" not in str(caught.value)


MEL = [
    (("low = 400", "high = 300"), "bands from 400 to 300 Hz, and its signal has 1000 samples a second"),
    (("high = 501",), "bands from 20 to 501 Hz, and its signal has 1000 samples a second; give low below"),
    (
        ("bands = 128", "low = 0"),
        "has less than a quarter of a bin, 7.812 Hz; give fewer bands, a larger size",
    ),
    (("bands = 129",), "bands is 129"),
]


@pytest.mark.parametrize(("lines", "says"), MEL)
def test_what_mel_bands_cannot_be_is_one_line(lines: tuple[str, ...], says: str) -> None:
    with pytest.raises(CompileError) as caught:
        signals(front_of(front("mel", "length = 128", *lines)), np.zeros(640, np.int16), "numpy")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_filter_behind_more_bands_than_it_takes_is_one_line() -> None:
    text = front("mel", "length = 128", "bands = 20")
    low = (
        '[[frontend.block]]\nname = "g"\nkind = "one_pole"\nfrequency = 1\n[[frontend.block]]\nname = "input'
    )
    text = text.replace('[[frontend.block]]\nname = "input', low)
    with pytest.raises(CompileError) as caught:
        signals(front_of(text), np.zeros(640, np.int16), "numpy")
    says = "frontend block g: its signal has 20 channels, and 16 are the most for one_pole; take fewer bands"
    assert says in str(caught.value)


def test_a_floor_that_no_power_reaches_is_one_line() -> None:
    off = '[[frontend.block]]\nname = "off"\nkind = "lead_off"\n[[frontend.block]]\nname = "f"'
    text = front("bands", *LINES, "floor = 1").replace('[[frontend.block]]\nname = "f"', off)
    with pytest.raises(CompileError) as caught:
        signals(front_of(text.replace("floor = 1", "floor = 2")), np.zeros(640, np.int16), "numpy")
    assert "floor = 2, and its power never exceeds 1; give a lower floor" in str(caught.value)
