"""What blocks beside filters promise, on the samples that sensors give: rails, steps, leads that are off."""

from __future__ import annotations

import numpy as np
from counts import counted
from fronts import HEAD, front_of, stream

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
