"""What blocks beside filters promise, on the samples that sensors give: rails, steps, leads that are off."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from counts import counted
from fronts import HEAD, front_of, stream

from synapcc.gen.errors import CompileError
from synapcc.gen.frontends._sinc import integers, phases, taps_of
from synapcc.gen.ops.logarithm import log2
from synapcc.gen.ops.ratio import over
from synapcc.gen.ops.resample import Sums, halves
from synapcc.host.run.frontend import signals

WINDOW = '[[frontend.block]]\nname = "input"\nkind = "window"\nlength = 800\n'
Rng = np.random.Generator


def block(kind: str, *lines: str, name: str = "f") -> str:
    return f'[[frontend.block]]\nname = "{name}"\nkind = "{kind}"\n' + "\n".join(lines) + "\n"


def front(*blocks: str, rate: float = 250, channels: int = 1, push: int = 5) -> str:
    return HEAD.format(rate=rate, channels=channels, push=push) + "".join(blocks) + WINDOW


def made(text: str, x: np.ndarray) -> np.ndarray:
    """The last signal, [frames, channels], Q8."""
    return signals(front_of(text), x, "numpy")[1]["input"].astype(np.int64)


def spans(x: np.ndarray, n: int) -> np.ndarray:
    """[frames, channels]: how far the last n values lie apart; more than anything before n of them."""
    wide = np.full(x.shape, 2**20, np.int64)
    seen = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64), n, axis=0)
    wide[n - 1 :] = seen.max(axis=-1) - seen.min(axis=-1)
    return wide


def held(bad: np.ndarray, hold: int) -> np.ndarray:
    """True wherever one of the last hold + 1 is."""
    out = bad.copy()
    for k in range(1, hold + 1):
        out[k:] |= bad[:-k]
    return out


@counted(30, 1000)
def test_a_lead_that_is_off_is_told_and_nothing_else(count: int) -> None:
    """Told is what stood at a rail for its time, or moved by less than `flat` for its time, and `hold`
    behind. What moves so little for twice that time is told within it, and all along where
    `hold` is not shorter."""
    rng, told = np.random.default_rng(count), 0
    for _ in range(count):
        rate, channels = int(rng.choice([100, 250, 1000])), int(rng.integers(1, 4))
        stuck, still, hold = (int(n) for n in rng.integers((1, 2, 0), (9, 20, 15)))
        flat, low, high = (
            int(rng.integers(1, 40)),
            int(rng.choice([-32768, -900])),
            int(rng.choice([32767, 800])),
        )
        ms = [
            f"{name} = {n * 1000 / rate}" for name, n in (("stuck", stuck), ("still", still), ("hold", hold))
        ]
        text = front(
            block("lead_off", f"low = {low}", f"high = {high}", f"flat = {flat}", *ms),
            rate=rate, channels=channels,
        )  # fmt: skip
        x = stream(rng, 500, channels)
        y = made(text, x)[:, 0]
        assert set(np.unique(y)) <= {0, 256}
        out = (x <= low) | (x >= high)
        rail = np.array([out[: i + 1][-stuck:].all(axis=0).any() and i + 1 >= stuck for i in range(len(x))])
        calm = (spans(x, still) < flat).any(axis=1)
        surely = (spans(x, 2 * still) < flat).any(axis=1)
        # before the first sample there are zeros, which may count as standing still
        begins = np.array([abs(x[: i + 1].astype(int)).max(axis=0).min() < flat for i in range(len(x))])
        assert not np.any(held(rail, hold) & (y == 0)), text
        assert not np.any(surely & ~held(y == 256, 2 * still - 1)), text
        assert hold < still or not np.any(surely & (y == 0)), text
        assert not np.any(~held(rail | calm | begins, hold) & (y == 256)), text
        told += int(np.any(y == 256)) + int(np.any(y == 0))
    assert told > count


def test_a_lead_that_falls_off_an_ecg() -> None:
    """A beat a second with noise is trusted; the rail and the flat line are not, and a second behind."""
    rng, n = np.random.default_rng(0), 250
    t = np.arange(20 * n) / n
    x = 900 * np.exp(-((((t % 1) - 0.5) / 0.02) ** 2)) + rng.normal(0, 3, len(t))
    x[5 * n : 7 * n] = 32767
    x[12 * n : 15 * n] = -17 + rng.integers(0, 2, 3 * n)
    y = made(front(block("lead_off")), np.round(x).astype(np.int16))[:, 0] > 0
    seconds = np.flatnonzero(np.diff(y.astype(int))) / n
    assert np.allclose(seconds, [5.02, 8, 13, 16], atol=0.02), seconds


RATES = [(250, 360), (360, 250), (1000, 125), (1000, 360), (100, 250), (250, 125), (500, 333.33), (128, 125)]


def resampled(rate: float, to: float, share: float = 0.8) -> tuple[str, int, int]:
    """A front end from one rate to another, and the two rates' ratio."""
    ratio = Fraction(round(to * 3), round(rate * 3))
    text = front(
        block("resample", f"rate = {to}", f"pass = {share}"), rate=rate, push=ratio.denominator
    ).replace("length = 800", f"length = {8000 / to:.6f}")
    return text, ratio.numerator, ratio.denominator


@pytest.mark.parametrize(("rate", "to"), RATES)
def test_what_passes_a_resampler_and_what_does_not(rate: float, to: float) -> None:
    """A sine below `pass` comes out as it would have been sampled, half the filter's length later; one that
    would fold is damped by 60 dB."""
    text, up, down = resampled(rate, to)
    taps, n, lower = taps_of(up, down, 0.8), 4000, min(rate, to) / 2
    n = n // down * down
    for share in (0.01, 0.3, 0.75):
        f, amplitude = share * lower, 20_000
        x = np.round(amplitude * np.sin(2 * math.pi * f * np.arange(n) / rate)).astype(np.int16)
        y = made(text, x)[:, 0] / 256
        delay = (up * taps - 1) / 2
        at = ((np.arange(len(y)) + 1) * down - 1 - delay) / up  # in samples of what comes in
        want = amplitude * np.sin(2 * math.pi * f * at / rate)
        assert np.abs(y - want)[taps * up // down + 1 :].max() < 2e-3 * amplitude, share
    if 1.2 * lower < rate / 2:
        for f in np.linspace(1.2 * lower, rate / 2 * 0.99, 5):
            x = np.round(30_000 * np.sin(2 * math.pi * f * np.arange(n) / rate)).astype(np.int16)
            assert np.abs(made(text, x))[taps * up // down + 1 :].max() / 256 < 30_000 * 10 ** (-58 / 20), f


def test_a_resampler_is_a_decimator_where_it_makes_one_of_many() -> None:
    """The same instants: a constant that begins with a frame's last sample is seen in that frame."""
    text, _, down = resampled(1000, 125)
    x = np.zeros(400, np.int16)
    x[10 * down - 1 :] = 1000
    y = made(text, x)[:, 0]
    assert np.all(y[:9] == 0) and y[9] != 0 and y[-1] == 1000 * 256


@counted(30, 1000)
def test_coefficients_of_a_resampler_sum_up_to_one(count: int) -> None:
    """To the last bit, so that a constant comes out as it is; limits are those of the worst samples."""
    rng = np.random.default_rng(count)
    for _ in range(count):
        up, down = (int(n) for n in rng.integers(1, 40, 2))
        taps = taps_of(up, down, float(rng.uniform(0.5, 0.9)))
        rows = phases(up, down, taps)
        h, n = integers(rows)
        assert np.all(h.astype(np.int64).sum(axis=1) == 2**n)
        assert np.abs(h - rows * 2.0**n).max() < 1 and np.abs(h.astype(int)).max() > 2**13
        if up == down:
            continue
        sums = Sums.of(h.ravel(), taps, -(2**23), 2**23 - 1)
        worst = max(np.where(row > 0, 2**23 - 1, -(2**23)) @ row.astype(np.int64) for row in h)
        assert sums.ends[1] == worst and sums.magnitude == np.abs(h.astype(np.int64)).sum(axis=1).max()
        split = halves(sums.magnitude, 2**23)
        assert split > 0 and sums.magnitude * max(2**split - 1, (2**23 >> split) + 1) < 2**31


def test_the_worst_samples_are_what_the_limits_of_a_resampler_say() -> None:
    for rate, to in RATES[:3]:
        text, up, down = resampled(rate, to)
        taps = taps_of(up, down, 0.8)
        h, n = integers(phases(up, down, taps))
        at = 40 * up  # the first frame of a push, whose phase is that of (down - 1)
        wanted = int(np.argmax(np.abs(h.astype(int)).sum(axis=1)))
        k = next(k for k in range(up) if ((k + 1) * down - 1) % up == wanted)
        q = 40 * down + ((k + 1) * down - 1) // up
        x = np.zeros(80 * down, np.int64)
        x[q - taps + 1 : q + 1] = np.where(h[wanted] > 0, 2**15 - 1, -(2**15))
        y = int(made(text, x.astype(np.int16))[at + k, 0])
        most = Sums.of(h.ravel(), taps, -(2**23), 2**23 - 256).ends[1]
        assert y == (most + (1 << (n - 1))) >> n


def test_every_mantissa_has_a_logarithm_and_a_reciprocal_that_are_right_and_fall_nowhere() -> None:
    """All 2^15 of them, and what lies behind: so no value of any size can be worse."""
    x = np.arange(2**15, 2**17 + 1, dtype=np.int32)
    y = log2(x, 0)
    assert np.all(np.diff(y) >= 0)
    apart = y - np.log2(x) * 256
    assert apart.min() >= -0.54 and apart.max() <= 0.52
    one = np.full(x.shape, 2**29, np.int32)
    r = over(one, x, 1, 0, 2**31 - 1).astype(np.int64)
    assert np.all(np.diff(r) <= 0)
    exact = 2.0**29 / x * 2**14
    assert np.abs(r - exact).max() <= (exact * 2e-4 + 0.5).max() and np.all(np.abs(r / exact - 1) < 2e-4)


@counted(20, 1000)
def test_log2_and_ratio_of_signals_of_all_sizes(count: int) -> None:
    """Against real numbers: .54 of a unit; 2 * 10^-4 of a ratio and half a unit, held within the limit."""
    rng, text = np.random.default_rng(count), ""
    for _ in range(count):
        floor, limit = float(2.0 ** rng.uniform(-6, 6)), float(2.0 ** rng.uniform(-3, 12))
        x = stream(rng, 300, 2)
        text = front(block("magnitude"), block("log2", f"floor = {floor}", name="g"), channels=2)
        least = round(floor * 256) / 256
        want = np.log2(np.maximum(np.abs(x.astype(float)), least)) * 256
        assert np.abs(made(text, x) - want).max() <= 0.54, text
        text = front(
            block("magnitude"),
            block("one_pole", "frequency = 9", name="low"),
            block("one_pole", "frequency = 2", 'from = "samples"', name="g"),
            block("ratio", 'by = "low"', f"floor = {floor}", f"limit = {limit}", name="h"),
            channels=2,
        )
        a, b = (made(text.split(f'[[frontend.block]]\nname = "{n}"')[0] + WINDOW, x) for n in ("h", "g"))
        exact = a / np.maximum(b, least * 256)
        most = round(limit * 256) / 256
        apart = np.abs(made(text, x) / 256 - np.clip(exact, -most, most))
        assert np.all(apart <= np.abs(exact) * 2e-4 + 0.5 / 256 + 1e-9), text


def test_the_power_in_a_band_is_what_a_sine_has_there() -> None:
    """Band pass, square, low pass, log2: half the square of an amplitude in the band, much less beyond."""
    n, amplitude = 5000, 3000
    for f, loss in ((10.0, 0.0), (2.0, 4.0), (50.0, 4.0)):
        x = np.round(amplitude * np.sin(2 * math.pi * f * np.arange(n) / 250)).astype(np.int16)
        text = front(
            block("biquad", 'shape = "band"', "frequency = 10", "q = 1"),
            block("square", name="g"),
            block("one_pole", "frequency = 0.2", name="h"),
            block("log2", "floor = 0.01", name="i"),
        )
        y = made(text, x)[-500:, 0] / 256
        want = math.log2(amplitude**2 / 2 / 2**16)
        assert (np.abs(y - want).max() < 0.1) if not loss else y.max() < want - loss, f


@counted(20, 500)
def test_a_square_is_one_to_half_a_unit(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(count):
        unit = int(rng.integers(5, 16))
        x = stream(rng, 200, 1)
        y = made(front(block("square", f'unit = "2^{unit}"')), x)
        assert np.abs(y - (x / 2.0**unit) ** 2 * 256).max() <= 0.5


REFUSED = [
    (
        "resample", ("rate = 360",), 250, 10,
        "frontend block f: makes 36 samples of 25, and 10 come with a push; give a push of 50, or of a mult",
    ),
    (
        "resample", ("rate = 250",), 250, 5,
        "frontend block f: rate = 250 Hz is the rate that its signal has; leave the block out",
    ),
    ("resample", ("rate = 251.7",), 250, 5, "makes 148 samples of 147, and 5 come with a push; give a push"),
    (
        "resample", ("rate = 998.3",), 1000, 5,
        "1000 Hz to 998.3 Hz: its filter has 11740 coefficients, 8192 are the most; give a rate in a simpler",
    ),
    ("resample", ("rate = 1",), 1000, 5, "decimate before"),
    ("square", ('unit = "2^4"',), 250, 5, 'unit = 2^4, and its signal may reach 32768; give unit = "2^5"'),
    ("square", ("unit = 3",), 250, 5, "unit is 3"),
    ("ratio", (), 250, 5, "frontend block f: by is missing; those are samples"),
    ("ratio", ('by = "sampels"',), 250, 5, 'by = "sampels" is no signal before it; did you mean "samples"?'),
    ("ratio", ("by = 3",), 250, 5, "by is 3; give a name"),
    ("log2", ("floor = 40000",), 250, 5, "floor = 40000, and its signal never exceeds 32767; give a lower"),
    ("lead_off", ("low = 5", "high = 5"), 250, 5, "low = 5 and high = 5; give a low rail below the high one"),
    ("lead_off", ("still = 1",), 250, 5, "still = 1 ms is 0 samples at 250 Hz; give 8 to"),
    ("lead_off", ("low = -40000",), 250, 5, "low is -40000; give a number from -32768"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "lines", "rate", "push", "says"), REFUSED)
def test_what_a_block_cannot_do_is_one_line(
    kind: str, lines: tuple[str, ...], rate: int, push: int, says: str
) -> None:
    text = front(block(kind, *lines), rate=rate, push=push)
    with pytest.raises(CompileError) as caught:
        made(text, np.zeros(100, np.int16))
    assert says in str(caught.value) and "\n" not in str(caught.value)


TWO = [
    (
        block("magnitude", 'over = "frame"', name="g"),
        2,
        "g has 5 frames of 1 channels with a push, and its own",
    ),
    (
        block("resample", "rate = 50", name="g"),
        1,
        "g has 1 frames of 1 channels with a push, and its own signal",
    ),
    (block("lead_off", name="g"), 1, ""),
]


@pytest.mark.parametrize(("second", "channels", "says"), TWO)
def test_a_second_signal_has_the_rate_and_the_channels_of_the_first(
    second: str, channels: int, says: str
) -> None:
    text = front(second, block("ratio", 'from = "samples"', 'by = "g"'), channels=channels)
    x = np.full((100, channels), 7, np.int16)
    if says:
        with pytest.raises(CompileError) as caught:
            made(text, x)
        assert says in str(caught.value) and "\n" not in str(caught.value)
    else:
        assert np.all(made(text, x) == 7 * 256)


NOTHING = [
    (
        block("square", 'unit = "2^15"'),
        "its signal never exceeds 1: nothing would be left; give a smaller",
    ),
    (
        block("ratio", 'by = "samples"', "floor = 9999"),
        "never exceeds 1, and a ratio to 9999 or more is 0; give a",
    ),
    (block("log2"), "floor = 1, and its signal never exceeds 1"),
]


@pytest.mark.parametrize(("second", "says"), NOTHING)
def test_a_block_of_which_nothing_would_be_left_is_refused(second: str, says: str) -> None:
    with pytest.raises(CompileError) as caught:
        made(front(block("lead_off", name="g"), second), np.zeros(50, np.int16))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_what_begins_as_0_is_within_the_limits_of_a_logarithm() -> None:
    """Above a floor of 256 a logarithm is 8 at least, and what blocks have of it before is 0."""
    text = front(
        block("log2", "floor = 256", name="g"),
        block("difference"),
        block("moving_average", "length = 8", name="h"),
    )
    y = made(text, np.full(50, 1000, np.int16))[:, 0]
    first = round(math.log2(1000) * 256)
    assert y[:3].tolist() == [(first + 1) // 2] * 2 + [0] and not y[3:].any()
