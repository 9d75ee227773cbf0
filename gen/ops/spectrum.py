"""The power of a signal in bands of frequencies: a window, a Fourier transform of real values, and sums of
its bins, as octaves.

A row is the frame of one channel. Its values have a power of two of their own (block floating point), that of
the largest of them, so a whisper has as many bits as a shout and nothing ever overflows. The transform is of
radix 2, decimation in time, on size / 2 complex values, each two real ones; their own spectrum is made of its
at the end. (Oppenheim and Schafer, Discrete-time signal processing, 3rd edition, 2010, chapter 9.)

Signals are those of gen/ops/signal.py: integers of 2^-frac.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import numeric
from . import Accumulator, Arrays, Attrs, Bounds, Case, Cost, Format, Kernel, Known, Variant
from ._contract import BETWEEN, INT16, Range, Tensors, beyond, crossed, takes, within
from ._loops import Loop
from ._spectrum_loops import bands as _bands
from ._spectrum_loops import frame as _frame
from ._spectrum_loops import transform as _transform
from .logarithm import FRAC, NUMBERS, log2
from .signal import CHANNELS, random_signal, remember_all

SIZES: Range = (32, 1024)
LENGTHS: Range = (2, SIZES[1])
BANDS: Range = (1, 128)
Q15 = 15
WHOLE = 2**14
"""A weight of 1."""
TURN = 2**15 - 1
"""The largest magnitude of a factor of the transform, so that two products and a half fit 32 bits."""
LARGEST = 2**30
"""Of a windowed value: 2^15 * 2^15 at most."""
EXPONENT: Range = (-64, 64)
BASE: Range = (-(2**20), 2**20)
BIN = (2 * (2**15 * TURN + 2**13) >> Q15) + 2**15 + 1 >> 1
"""The largest magnitude of a bin's part, its row's values being at most 2^14."""
POWER = 2 * (BIN * BIN >> 1)
"""Half of the largest square of a bin."""


def rows_of(t: Tensors, role: str, size: int) -> int:
    """Rows in an operand of `size` values each; 0 where that is no whole number."""
    n = t[role].shape[0]
    return n // size if n % size == 0 else 0


def sized(a: Attrs) -> str:
    """Whether a size is no power of two: what to say of it."""
    return "" if a["size"] & (a["size"] - 1) == 0 else f"size is {a['size']}, which is no power of two"


def places(half: int) -> NDArray[np.intp]:
    """Where complex value i of `half` goes: its bits in reverse."""
    found = np.zeros(1, np.intp)
    while len(found) < half:
        found = np.concatenate([2 * found, 2 * found + 1])
    return found


def turns(size: int) -> NDArray[np.int16]:
    """cos(2 pi k / size) for k < size / 2, Q15: with those, sines are cosines of size / 4 - k."""
    angles = 2 * np.pi * np.arange(size // 2) / size
    return np.asarray(np.clip(np.round(np.cos(angles) * 2**Q15), -TURN, TURN), np.int16)


def excess(z: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """Bits of the largest magnitude of each row, [rows, 1], beyond `bits`; below 0 where it has fewer."""
    top = np.bitwise_or.reduce(np.abs(z), axis=-1, keepdims=True) | np.int32(1)
    return numeric.int32(32 - bits - numeric.leading_zeros(numeric.int32(top)))


def _turned(
    c: NDArray[Any], s: NDArray[Any], re: NDArray[Any], im: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(re + i im)(c - i s), rounded."""
    half, down = np.int32(2 ** (Q15 - 1)), np.int32(Q15)
    return (c * re + s * im + half) >> down, (c * im - s * re + half) >> down


def _angles(table: NDArray[Any], at: NDArray[np.intp], size: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cosine and sine of 2 pi at / size."""
    return table[at].astype(np.int32), table[np.abs(at - size // 4)].astype(np.int32)


class Frame(Kernel):
    """z = the windowed frames of x, its values in the order that the transform wants: row r of channel c is
    that of frames r * hop to r * hop + length - 1 of `seen`, times h, and zeros up to `size`.

    seen:  the length - hop frames before x, and x behind them
    h:     the window, Q15
    scale: by row the n with which z stands for z * 2^n
    """

    name = "spectrum.frame"
    loop = Loop(_frame)
    reads = ("x", "h")
    updates = ("seen",)
    writes = ("z", "scale")
    operands = takes(x="int32 [n]", seen="int32 [p]", h="int16 [length]", z="int32 [m]", scale="int32 [rows]")
    attributes = within(size=SIZES, length=LENGTHS, hop=LENGTHS, channels=CHANNELS)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"length": a["length"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        n, rows, c = t["x"].shape[0], rows_of(t, "z", a["size"]), a["channels"]
        if sized(a) or a["length"] % 2 or not a["hop"] <= a["length"] <= a["size"]:
            told = f"frames of {a['length']} every {a['hop']} values go into no transform of {a['size']}"
            return sized(a) or told
        if rows != t["scale"].shape[0] or n != rows * a["hop"] or rows % c:
            return f"{n} values of {c} channels make no {rows} frames, one for each {a['hop']}"
        if t["seen"].shape[0] != n + (a["length"] - a["hop"]) * c:
            return f"{t['seen'].name} holds {t['seen'].shape[0]} values, not x and what frames share with it"
        if t["h"].space != "const":
            return f"{t['h'].name} is no constant"
        return beyond(t["seen"], t["x"].lo, t["x"].hi)

    def _frames(self, t: Arrays, a: Attrs) -> NDArray[Any]:
        """[devices, rows, length]"""
        remember_all(t["x"], t["seen"])
        channels, hop = int(a["channels"]), int(a["hop"])
        frames = t["seen"].reshape(len(t["seen"]), -1, channels)
        at = np.arange(t["scale"].shape[1] // channels)[:, None] * hop + np.arange(int(a["length"]))
        found = frames[:, at].transpose(0, 1, 3, 2)  # [devices, frames, channels, length]
        return np.asarray(found.reshape(len(frames), -1, int(a["length"])))

    @staticmethod
    def _placed(v: NDArray[Any], z: NDArray[Any], size: int) -> None:
        """v, [devices, rows, length], and zeros, as the transform wants them."""
        pairs = np.zeros((*v.shape[:2], size // 2, 2), v.dtype)
        at = places(size // 2)[: v.shape[2] // 2]
        pairs[:, :, at] = v.reshape(*v.shape[:2], -1, 2)
        z[...] = pairs.reshape(z.shape)

    def integer(self, t: Arrays, a: Attrs) -> None:
        v = self._frames(t, a)
        down = excess(v, Q15)
        right, left = np.maximum(down, 0), np.maximum(-down, 0)
        v = numeric.shift_round(v, numeric.int32(right)) * (np.int32(1) << left)
        self._placed(v * t["h"].astype(np.int32)[:, None, :], t["z"], int(a["size"]))
        t["scale"][...] = down[:, :, 0]

    def real(self, t: Arrays, a: Attrs) -> None:
        v = self._frames(t, a) * (t["h"][:, None, :] / 2.0**Q15)
        self._placed(v, t["z"], int(a["size"]))
        t["scale"][...] = 0

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        return {key: int(a[key]) for key in self.attributes}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        kept = min(k["x"].lo, k["seen"].lo), max(k["x"].hi, k["seen"].hi)
        top = max(-kept[0], kept[1], 1)
        rounded = top + (1 << max(top.bit_length() - Q15 - 1, 0))
        z, high = 2**15 * k["h"].mag, top.bit_length() - Q15
        n, size = k["z"].shape[0], k["seen"].shape[0]
        return [Accumulator("rounded", -rounded, rounded), Accumulator("windowed", -z, z)], {
            "z": (-z, z, n * z),
            "scale": (1 - Q15, high, k["scale"].shape[0] * max(Q15 - 1, high)),
            "seen": (*kept, size * top),
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        macs = shapes["scale"][0] * int(a["length"])
        return Cost(macs=macs, reads=2 * macs)

    def case(self, rng: np.random.Generator) -> Case:
        size, channels, turns_ = int(rng.choice([32, 64])), int(rng.integers(1, 4)), int(rng.integers(1, 4))
        length = 2 * int(rng.integers(1, size // 2 + 1))
        hop, top = int(rng.integers(2, length + 1)), 2 ** int(rng.integers(1, 31)) - 1
        n = turns_ * hop * channels
        arrays: dict[str, NDArray[Any]] = {
            "x": random_signal(rng, n, top),
            "seen": random_signal(rng, n + (length - hop) * channels, top),
            "h": rng.integers(*INT16, length, endpoint=True).astype(np.int16),
            "z": np.zeros(turns_ * channels * size, np.int32),
            "scale": np.zeros(turns_ * channels, np.int32),
        }
        numbers = {"size": size, "length": length, "hop": hop, "channels": channels}
        return Case(arrays, numbers, {"x": (-top, top), "seen": (-top, top)}, ("h",))


class Transform(Kernel):
    """z = the Fourier transform of each row of size / 2 complex values, a real part before its imaginary one,
    which stand in the reversed order of their bits; log2(size / 2) stages, before each of which values are
    brought to 15 bits, where they have more.

    turns: cos(2 pi k / size), Q15 (`turns`)
    grown: by row scale, and by how many bits values were shifted down
    """

    name = "spectrum.transform"
    loop = Loop(_transform)
    reads = ("scale", "turns")
    updates = ("z",)
    writes = ("grown",)
    operands = takes(z="int32 [m]", scale="int32 [rows]", turns="int16 [half]", grown="int32 [rows]")
    attributes = within(size=SIZES)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"half": a["size"] // 2}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if fault := sized(a) or transformed(t, "scale", a):
            return fault
        return beyond(t["grown"], t["scale"].lo, t["scale"].hi + shifted(a["size"]))

    def integer(self, t: Arrays, a: Attrs) -> None:
        size = int(a["size"])
        devices, rows = t["grown"].shape
        z = t["z"].reshape(devices * rows, -1, 2)
        table = np.broadcast_to(t["turns"], (devices, size // 2))[0]
        grown = t["scale"].reshape(-1, 1) + np.int32(0)
        grown = np.broadcast_to(grown, (devices * rows, 1)).copy()
        width = 1
        while width < size // 2:
            s = numeric.int32(np.maximum(excess(z.reshape(len(z), -1), Q15), 0))
            grown += s
            v = numeric.shift_round(z, s[:, :, None]).reshape(len(z), -1, 2, width, 2)
            c, sine = _angles(table, np.arange(width) * (size // 2 // width), size)
            re, im = v[:, :, 1, :, 0], v[:, :, 1, :, 1]
            tr, ti = _turned(c, sine, re, im)
            turned = np.stack([tr, ti], axis=-1)
            turned[:, :, 0] = v[:, :, 1, 0]  # by nothing
            z = np.stack([v[:, :, 0] + turned, v[:, :, 0] - turned], axis=2).reshape(len(z), -1, 2)
            width *= 2
        t["z"][...] = z.reshape(t["z"].shape)
        t["grown"][...] = grown.reshape(t["grown"].shape)

    def real(self, t: Arrays, a: Attrs) -> None:
        half = int(a["size"]) // 2
        v = t["z"].reshape(*t["grown"].shape, half, 2)
        found = np.fft.fft((v[..., 0] + 1j * v[..., 1])[..., places(half)])
        t["z"][...] = np.stack([found.real, found.imag], axis=-1).reshape(t["z"].shape)
        t["grown"][...] = t["scale"]

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        z, n = max(k["z"].mag, 3 * 2**15 + 1), k["z"].shape[0]
        product = 2 * 2**15 * k["turns"].mag + 2 ** (Q15 - 1)
        lo, hi = k["scale"].lo, k["scale"].hi + shifted(a["size"])
        proofs = [Accumulator("two products", -product, product), Accumulator("rounded", -z, z + 2**16)]
        return proofs, {
            "z": (-z, z, n * z),
            "grown": (lo, hi, k["grown"].shape[0] * max(-lo, hi)),
        }

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        macs = shapes["z"][0] * stages(int(a["size"]))
        return Cost(macs=macs, reads=8 * macs, writes=4 * macs)

    def case(self, rng: np.random.Generator) -> Case:
        size, rows = int(rng.choice([32, 64, 128])), int(rng.integers(1, 4))
        z = np.stack([random_signal(rng, size, 2 ** int(rng.integers(2, 31)) - 1) for _ in range(rows)])
        arrays: dict[str, NDArray[Any]] = {
            "z": z.ravel(),
            "scale": rng.integers(-14, 16, rows).astype(np.int32),
            "turns": turns(size),
            "grown": np.zeros(rows, np.int32),
        }
        limits = {"z": (-LARGEST, LARGEST), "scale": (-14, 15), "turns": (-TURN, TURN)}
        return Case(arrays, {"size": size}, limits, ("turns",))


def stages(size: int) -> int:
    """Of the transform."""
    return size.bit_length() - 2


def shifted(size: int) -> int:
    """Bits by which a transform shifts its values, at most: what they have beyond 15, and two a stage."""
    return 16 + 2 * (stages(size) - 1)


def transformed(t: Tensors, scale: str, a: Attrs) -> str:
    """What does not fit between the rows, their powers and the table of turns; "" if nothing."""
    z = t["z"]
    if rows_of(t, "z", a["size"]) != t[scale].shape[0]:
        return f"{z.shape[0]} values are no {t[scale].shape[0]} rows of {a['size']}"
    if t["turns"].space != "const" or -t["turns"].lo > TURN:
        return f"{t['turns'].name} is no constant of up to {TURN}"
    low, high = EXPONENT
    if not low <= t[scale].lo <= t[scale].hi <= high:
        return f"{t[scale].name} may be {t[scale].lo} to {t[scale].hi}, {low} to {high} are possible"
    return beyond(z, -LARGEST, LARGEST)


class Bands(Kernel):
    """y = the power of each row in each band as log2, Q8, held within lo .. hi: of real values, from the
    transform of these two by two, which becomes their own spectrum, bins 0 to size / 2 - 1, in place.

    w:     the weights of all bands, Q14
    spans: by band its first bin, and how many it has
    base:  what a sum of 1 in integers is, as log2
    y:     row by row, a band after another; lo where nothing is there
    """

    name = "spectrum.bands"
    loop = Loop(_bands)
    reads = ("grown", "turns", "w", "spans")
    updates = ("z",)
    writes = ("y",)
    operands = takes(
        z="int32 [m]",
        grown="int32 [rows]",
        turns="int16 [half]",
        w="int16 [k]",
        spans="int16 [edges]",
        y="int32 [n]",
    )
    attributes = within(BETWEEN, size=SIZES, bands=BANDS, base=BASE)

    def sizes(self, a: Attrs) -> dict[str, int]:
        return {"half": a["size"] // 2, "edges": 2 * a["bands"]}

    def misfit(self, t: Tensors, a: Attrs) -> str:
        if fault := crossed(a) or sized(a) or transformed(t, "grown", a):
            return fault
        if t["w"].space != "const" or t["spans"].space != "const" or t["w"].lo < 0:
            return f"{t['w'].name} or {t['spans'].name} is no constant from 0 on"
        if t["y"].shape[0] != t["grown"].shape[0] * a["bands"]:
            return f"{t['y'].name} has {t['y'].shape[0]} values, not {a['bands']} for each row"
        first, count = t["spans"].array().reshape(-1, 2).astype(int).T
        if first.min() < 0 or count.min() < 1 or (first + count).max() > a["size"] // 2:
            return f"{t['spans'].name} reaches beyond {a['size'] // 2} bins"
        if count.sum() != t["w"].shape[0]:
            return f"{t['w'].name} has {t['w'].shape[0]} weights, the bands {count.sum()} bins"
        return beyond(t["y"], a["lo"], a["hi"])

    def integer(self, t: Arrays, a: Attrs) -> None:
        size, devices = int(a["size"]), len(t["y"])
        z = t["z"].reshape(-1, size)
        s = numeric.int32(np.maximum(excess(z, Q15 - 1), 0))
        x = self._spectrum(numeric.shift_round(z, s), self._one(t["turns"], devices))
        t["z"][...] = x.reshape(t["z"].shape)
        wide = x.astype(np.int64).reshape(len(z), -1, 2)
        power = (wide[..., 0] * wide[..., 0] >> 1) + (wide[..., 1] * wide[..., 1] >> 1)
        total = self._sums(power, self._one(t["w"], devices), self._one(t["spans"], devices))
        high = total >> 31
        n = np.where(high > 0, 32 - numeric.leading_zeros(numeric.int32(np.maximum(high, 1))), 0)
        octaves = log2(numeric.int32(np.maximum(total >> n, 1)), 0).astype(np.int64)
        grown = np.broadcast_to(t["grown"], (devices, t["grown"].shape[1])).reshape(-1, 1)
        y = octaves + (n << FRAC) + (2 * (grown.astype(np.int64) + s) << FRAC) + a["base"]
        y = np.where(total > 0, np.clip(y, a["lo"], a["hi"]), a["lo"])
        t["y"][...] = y.reshape(t["y"].shape)

    @staticmethod
    def _one(x: NDArray[Any], devices: int) -> NDArray[Any]:
        """The constant, of a fleet of which each has the same."""
        return np.asarray(np.broadcast_to(x, (devices, x.shape[1]))[0])

    @staticmethod
    def _spectrum(z: NDArray[np.int32], table: NDArray[Any]) -> NDArray[np.int32]:
        """Spectra of real values, [rows, size], of those that the transform has made."""
        size = z.shape[1]
        v = z.reshape(len(z), -1, 2)
        low, x = np.arange(1, size // 4), v.copy()
        (ar, ai), (br, bi) = (np.moveaxis(v[:, at], -1, 0) for at in (low, size // 2 - low))
        er, ei = ar + br, ai - bi
        tr, ti = _turned(*_angles(table, low, size), ai + bi, br - ar)
        one = np.int32(1)
        x[:, low] = np.stack([(er + tr + one) >> one, (ei + ti + one) >> one], axis=-1)
        x[:, size // 2 - low] = np.stack([(er - tr + one) >> one, (ei - ti + one) >> one], axis=-1)
        x[:, 0, 0], x[:, 0, 1] = v[:, 0, 0] + v[:, 0, 1], 0
        return x

    @staticmethod
    def _sums(power: NDArray[np.int64], w: NDArray[Any], spans: NDArray[Any]) -> NDArray[np.int64]:
        """[rows, bands]"""
        pairs, at, found = spans.reshape(-1, 2).astype(int), 0, []
        for first, count in pairs:
            found.append(power[:, first : first + count] @ w[at : at + count].astype(np.int64))
            at += count
        return np.stack(found, axis=1)

    def real(self, t: Arrays, a: Attrs) -> None:
        size, shape = int(a["size"]), t["y"].shape
        v = t["z"].reshape(-1, size // 2, 2)
        z = v[..., 0] + 1j * v[..., 1]
        back = np.conj(np.roll(z[:, ::-1], 1, axis=1))
        x = (z + back) / 2 - 0.5j * np.exp(-2j * np.pi * np.arange(size // 2) / size) * (z - back)
        t["z"][...] = np.stack([x.real, x.imag], axis=-1).reshape(t["z"].shape)
        pairs, at = t["spans"].reshape(-1, 2).astype(int)[: int(a["bands"])], 0
        sums = []
        for first, count in pairs:
            w = t["w"].ravel()[at : at + count] / WHOLE
            sums.append((np.abs(x[:, first : first + count]) ** 2) @ w)
            at += count
        power = np.stack(sums, axis=1) * a["power"]
        t["y"][...] = np.log2(np.maximum(power, a["floor"])).reshape(shape)

    def lower(self, f: Mapping[str, Format], a: Attrs, where: str) -> dict[str, int]:
        octaves = np.log2(a["power"]) + 1 - np.log2(WHOLE) - 2 * f["z"].frac
        base, lo = round(octaves * 2**FRAC), round(np.log2(a["floor"]) * 2**FRAC)
        return {"size": int(a["size"]), "bands": int(a["bands"]), "base": base, "lo": lo, "hi": f["y"].hi}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        z, n = max(k["z"].mag, BIN), k["z"].shape[0]
        y = max(-a["lo"], a["hi"])
        octaves = (2 * (k["grown"].mag + 17) + 31 + 32 << FRAC) + abs(a["base"])
        proofs = [
            Accumulator("rounded", -z, z + 2**16),
            Accumulator("two products", -(2**16 * TURN), 2**16 * TURN + 2**14),
            Accumulator("power of a bin", 0, POWER, 33),
            Accumulator("power of a band", 0, POWER * k["w"].mag * k["w"].shape[0], 63),
            Accumulator("octaves", -octaves, octaves),
        ]
        return proofs, {"z": (-z, z, n * z), "y": (a["lo"], a["hi"], k["y"].shape[0] * y)}

    def cost(self, shapes: Mapping[str, tuple[int, ...]], a: Attrs) -> Cost:
        macs = 2 * shapes["z"][0] + 3 * shapes["w"][0] * shapes["grown"][0]
        return Cost(macs=macs, reads=8 * macs, writes=4 * shapes["z"][0])

    def variant(self, kernel_set: str, t: Mapping[str, Any], a: Attrs) -> Variant:
        return Variant("bands", numbers=NUMBERS)

    def case(self, rng: np.random.Generator) -> Case:
        size, rows, bands = int(rng.choice([32, 64])), int(rng.integers(1, 4)), int(rng.integers(1, 6))
        first = rng.integers(0, size // 2, bands)
        count = rng.integers(1, size // 2 - first + 1)
        w = rng.integers(0, WHOLE + 1, int(count.sum())) >> rng.integers(0, 15)
        z = np.stack([random_signal(rng, size, 2 ** int(rng.integers(2, 31)) - 1) for _ in range(rows)])
        z[rng.integers(rows)] *= int(rng.integers(2))
        arrays: dict[str, NDArray[Any]] = {
            "z": z.ravel(),
            "grown": rng.integers(-14, 46, rows).astype(np.int32),
            "turns": turns(size),
            "w": w.astype(np.int16),
            "spans": np.stack([first, count], axis=1).ravel().astype(np.int16),
            "y": np.zeros(rows * bands, np.int32),
        }
        numbers = {"size": size, "bands": bands, "base": int(rng.integers(-20_000, 2000))}
        numbers |= {"lo": int(rng.integers(-9000, 1000)), "hi": int(rng.integers(1000, 9000))}
        limits = {"z": (-LARGEST, LARGEST), "grown": (-14, 45), "turns": (-TURN, TURN), "w": (0, WHOLE)}
        return Case(arrays, numbers, limits, ("turns", "w", "spans"))
