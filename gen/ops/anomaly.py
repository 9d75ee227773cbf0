"""What is unlike what was learned: a threshold that tracks a quantile, votes, and when learning has ended.

All of it is counted in units of the loss, Q16 (loss.py). In real numbers it is the same integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..spec.anomaly import BLOCKS, FASTEST, GAINS, MOST_OF, SLOWEST
from . import Accumulator, Arrays, Attrs, Bounds, Case, Kernel, Known
from ._contract import WORD, Operand, Range, Tensors, takes, within
from ._loops import Cells, Loop, helper
from .loss import LOSS_FRAC, TOP

SHARE_FRAC = 16
ONE = 1 << SHARE_FRAC
SHARE: Range = (1, ONE - 1)
RATIO_FRAC, RATIO_TOP = 16, 1 << 24  # of the threshold to the mean: up to 256
OPENING = 4  # samples a unit of 1 / step of the opening: the step halves whenever twice as many are learned
VOTING = within(votes=(1, MOST_OF), of=(1, MOST_OF), least=WORD)
SCORED: Mapping[str, tuple[int, int]] = {"score": (0, TOP), "threshold": (0, TOP), "alarm": (0, 1)}


@helper
def votes_of(history: Any, above: Any, of: Any) -> Any:
    """The last `of` samples, a bit each, once another one has come: the newest is the lowest."""
    kept = np.uint64(history) << np.uint64(1) | np.uint64(above)
    return kept & ((np.uint64(1) << np.uint64(of)) - np.uint64(1))


@helper
def raised(bits: Any) -> Any:
    """How many bits are set."""
    n, rest = 0, bits
    while rest != 0:
        rest = rest & (rest - np.uint64(1))
        n += 1
    return n


def _vote(
    loss: Cells, threshold: Cells, learned: Cells, history: Cells, score: Cells, alarm: Cells,
    votes: int, of: int, least: int,
) -> None:  # fmt: skip
    above = np.int64(loss[0]) > np.int64(threshold[0])
    bits = votes_of(history[0], above, of)
    history[0] = bits
    score[0] = loss[0]
    alarm[0] = raised(bits) >= votes and np.int64(learned[0]) >= least


def _watch(
    loss: Cells, threshold: Cells, mean: Cells, ratio: Cells, history: Cells, learned: Cells, taught: Cells,
    score: Cells, alarm: Cells, awake: Cells, shift: int, up: int, votes: int, of: int, least: int, most: int,
) -> None:  # fmt: skip
    one: Any = np.int64(1)
    before, count = np.int64(threshold[0]), np.int64(learned[0])
    above = np.int64(loss[0]) > before
    bits = votes_of(history[0], above, of)
    alarmed = raised(bits) >= votes and count >= least
    lasts = alarmed and alarm[0] != 0
    history[0] = bits
    score[0] = loss[0]
    alarm[0] = alarmed
    if not lasts:
        s: Any = one
        while s < shift and count >= OPENING << s:
            s = s + one
        held, average, factor = min(np.int64(loss[0]), before), np.int64(mean[0]), np.int64(ratio[0])
        average = max(average + ((held - average + (one << (s - one))) >> s), one)
        share: Any = np.int64(up) if above else np.int64(ONE - up)
        far = max((factor * share) >> (s + SHARE_FRAC), one)
        factor = min(factor + far, np.int64(RATIO_TOP)) if above else max(factor - far, one)
        mean[0] = average
        ratio[0] = factor
        threshold[0] = min(max((average * factor) >> RATIO_FRAC, one), np.int64(TOP))
    learns = not alarmed and count < most
    if learns:
        learned[0] = count + one
    awake[0] = learns
    taught[0] = taught[0] != 0 and learns


def _improve(
    loss: Cells, awake: Cells, sum: Cells, phase: Cells, best: Cells, stale: Cells, learned: Cells,
    taught: Cells, keep: Cells, undo: Cells, block: int, gain: int, patience: int, most: int,
) -> None:  # fmt: skip
    keep[0] = 0
    undo[0] = 0
    if awake[0] != 0:
        total = min(np.int64(sum[0]) + (np.int64(loss[0]) >> block), np.int64(TOP))
        following, waited, had = np.int64(phase[0]) + 1, np.int64(stale[0]), np.int64(best[0])
        if following == (1 << block):
            better = had == 0 or total < had - (had >> gain)
            if better:
                best[0] = max(total, np.int64(1))
            keep[0] = better
            waited = np.int64(0) if better else waited + 1
            following = np.int64(0)
            total = np.int64(0)
        over = waited == patience or (waited > 0 and np.int64(learned[0]) == most)
        if over:
            learned[0] = most
            taught[0] = 0
            waited = np.int64(0)
        undo[0] = over
        sum[0] = total
        phase[0] = following
        stale[0] = waited


OF_WATCH = takes(mean="uint32 [1]", ratio="uint32 [1]", taught="uint8 [1]", awake="uint8 [1]")
TRACKED: Mapping[str, tuple[int, int]] = {"mean": (0, TOP), "ratio": (0, RATIO_TOP)}


class Vote(Kernel):
    """score = loss; history = the last `of` answers to loss > threshold, a bit each; alarm = 1 where `votes`
    of them are set, and learned >= least."""

    name = "anomaly.vote"
    loop = Loop(_vote)
    reads = ("loss", "threshold", "learned")
    updates = ("history",)
    writes = ("score", "alarm")
    operands = takes(
        loss="int32 [1]",
        threshold="uint32 [1]",
        learned="uint32 [1]",
        history="uint32 [1]",
        score="uint32 [1]",
        alarm="uint32 [1]",
    )
    attributes = VOTING

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return f"{a['votes']} votes of {a['of']}" if a["votes"] > a["of"] else ""

    @staticmethod
    def voted(t: Arrays, a: Attrs, score: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether the sample is above the threshold, and whether there is an alarm."""
        above = score > t["threshold"][:, 0].astype(np.int64)
        bits = (t["history"][:, 0].astype(np.int64) << 1 | above) & ((1 << int(a["of"])) - 1)
        raised = ((bits[:, None] >> np.arange(int(a["of"]))) & 1).sum(axis=1)
        alarm = (raised >= a["votes"]) & (t["learned"][:, 0].astype(np.int64) >= a["least"])
        t["history"][:, 0], t["score"][:, 0], t["alarm"][:, 0] = bits, score, alarm
        return above, alarm

    @staticmethod
    def units(t: Arrays) -> NDArray[np.int64]:
        """A real loss as the integer that it is."""
        return np.rint(np.clip(t["loss"][:, 0] * 2.0**LOSS_FRAC, 0, TOP)).astype(np.int64)

    def integer(self, t: Arrays, a: Attrs) -> None:
        self.voted(t, a, t["loss"][:, 0].astype(np.int64))

    def real(self, t: Arrays, a: Attrs) -> None:
        self.voted(t, a, self.units(t))

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {**SCORED, "history": (0, (1 << a["of"]) - 1)}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [], {}

    def case(self, rng: np.random.Generator) -> Case:
        of = int(rng.choice([1, 5, MOST_OF]))
        votes, least = int(rng.integers(1, of + 1)), int(rng.choice([0, 3, WORD[1]]))
        threshold = int(rng.choice([0, 1, int(rng.integers(1, 2**12)), int(rng.integers(1, TOP)), TOP]))
        near = int(np.clip(threshold + rng.integers(-1, 2), 0, TOP))
        arrays: dict[str, NDArray[Any]] = {
            "loss": rng.choice([0, near, TOP], 1).astype(np.int32),
            "threshold": np.array([threshold], np.uint32),
            "history": rng.integers(0, 1 << of, 1).astype(np.uint32),
            "learned": np.array([int(rng.choice([least, max(least, 1) - 1]))], np.uint32),
            "score": np.zeros(1, np.uint32),
            "alarm": np.zeros(1, np.uint32),
        }
        limits = {**SCORED, "loss": (0, TOP), "history": (0, (1 << of) - 1)}
        return Case(arrays, {"votes": votes, "of": of, "least": least}, limits)


class Watch(Kernel):
    """As `anomaly.vote`; and the threshold moves, but where there was an alarm already and still is; and
    where there is none the sample is learned, while learned < most.

    With s the smallest of 1 .. shift for which learned < 4 * 2^s, or shift:
    mean = max(mean + shift_round(min(loss, threshold) - mean, s), 1); where loss > threshold ratio =
    min(ratio + max((ratio * up) >> (s + 16), 1), 2^24), else ratio = max(ratio - max((ratio * (2^16 - up)) >>
    (s + 16), 1), 1); threshold = min(max((mean * ratio) >> 16, 1), TOP).

    So log(ratio) is the sum of stochastic approximation for the quantile up / 2^16 of loss / mean (Robbins
    and Monro, A stochastic approximation method, Annals of Mathematical Statistics 22, 1951), with steps that
    fall as 1 / n down to 2^-shift and stay there to follow drift; the mean lets the threshold fall as fast as
    learning makes losses smaller.
    awake = 1 where the sample is learned, then learned += 1; taught = 0 where it is not.
    """

    name = "anomaly.watch"
    loop = Loop(_watch)
    reads = ("loss",)
    updates = ("threshold", "mean", "ratio", "history", "alarm", "learned", "taught")
    writes = ("score", "awake")
    operands: ClassVar[Mapping[str, Operand]] = {**Vote.operands, **OF_WATCH}
    attributes: ClassVar[Mapping[str, Range]] = within(
        VOTING, shift=(FASTEST, SLOWEST), up=SHARE, most=(1, WORD[1])
    )

    def misfit(self, t: Tensors, a: Attrs) -> str:
        return Vote().misfit(t, a)

    def _change(self, t: Arrays, a: Attrs, score: NDArray[np.int64]) -> None:
        was = t["alarm"][:, 0] != 0
        above, alarm = Vote.voted(t, a, score)
        names = ("learned", "threshold", "mean", "ratio")
        count, before, mean, ratio = (t[role][:, 0].astype(np.int64) for role in names)
        s = np.ones_like(count)
        for _ in range(FASTEST, int(a["shift"])):
            s += (s < a["shift"]) & (count >= OPENING << s)
        share = np.where(above, a["up"], ONE - a["up"])
        held = np.minimum(score, before) - mean
        average = np.maximum(mean + ((held + (1 << (s - 1))) >> s), 1)
        far = np.maximum((ratio * share) >> (s + SHARE_FRAC), 1)
        factor = np.clip(np.where(above, ratio + far, ratio - far), 1, RATIO_TOP)
        moved = np.clip((average * factor) >> RATIO_FRAC, 1, TOP)
        found = {"threshold": (before, moved), "mean": (mean, average), "ratio": (ratio, factor)}
        for role, (old, new) in found.items():
            t[role][:, 0] = np.where(alarm & was, old, new)
        learns = ~alarm & (count < a["most"])
        t["learned"][:, 0], t["awake"][:, 0] = count + learns, learns
        t["taught"][:, 0] = (t["taught"][:, 0] != 0) & learns

    def integer(self, t: Arrays, a: Attrs) -> None:
        self._change(t, a, t["loss"][:, 0].astype(np.int64))

    def real(self, t: Arrays, a: Attrs) -> None:
        self._change(t, a, Vote.units(t))

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {**Vote().ranges(a), **TRACKED, "learned": (0, a["most"])}

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        return [Accumulator("mean and its change", 1, 2 * TOP)], {"awake": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        voted = Vote().case(rng)
        shift = int(rng.choice([FASTEST, 3, SLOWEST]))
        most = int(rng.choice([1, 40, WORD[1]]))
        learned = int(rng.choice([0, 7, 8, 16, 2**14, most - 1, most]))
        arrays = {
            **voted.arrays,
            "mean": rng.choice([0, 1, int(rng.integers(1, TOP)), TOP], 1).astype(np.uint32),
            "ratio": rng.choice([0, 1, 2**16, int(rng.integers(1, RATIO_TOP)), RATIO_TOP], 1).astype(
                np.uint32
            ),
            "learned": np.array([min(learned, most)], np.uint32),
            "alarm": rng.integers(0, 2, 1).astype(np.uint32),
            "taught": rng.integers(0, 2, 1).astype(np.uint8),
            "awake": np.zeros(1, np.uint8),
        }
        own = {"shift": shift, "up": int(rng.integers(SHARE[0], SHARE[1] + 1)), "most": most}
        attrs = {**voted.attrs, **own, "least": int(rng.choice([0, learned, WORD[1]]))}
        return Case(arrays, attrs, {**voted.limits, **TRACKED, "learned": (0, most), "taught": (0, 1)})


class Improve(Kernel):
    """Early stopping. Of samples that are learned (awake), the losses before they are: sum = min(sum + (loss
    >> block), TOP), phase += 1, and where that is 2^block the sum is that of a block.

    keep = 1 where best = 0 or sum < best - (best >> gain): then best = max(sum, 1) and stale = 0, else
    stale += 1; sum = phase = 0. undo = 1 where stale = patience, or stale > 0 and learned = most: then
    learned = most, taught = 0 and stale = 0. A sample that is not learned changes nothing: keep = undo = 0.
    """

    name = "anomaly.improve"
    loop = Loop(_improve)
    reads = ("loss", "awake")
    updates = ("sum", "phase", "best", "stale", "learned", "taught")
    writes = ("keep", "undo")
    operands = takes(
        loss="int32 [1]",
        awake="uint8 [1]",
        sum="uint32 [1]",
        phase="uint32 [1]",
        best="uint32 [1]",
        stale="uint32 [1]",
        learned="uint32 [1]",
        taught="uint8 [1]",
        keep="uint8 [1]",
        undo="uint8 [1]",
    )
    attributes = within(block=BLOCKS, gain=GAINS, patience=(1, 255), most=(1, WORD[1]))

    def _change(self, t: Arrays, a: Attrs, loss: NDArray[np.int64]) -> None:
        names = ("sum", "phase", "best", "stale", "learned")
        total, phase, best, stale, learned = (t[n][:, 0].astype(np.int64) for n in names)
        awake = t["awake"][:, 0] != 0
        total, phase = np.minimum(total + (loss >> a["block"]), TOP), phase + 1
        ends = awake & (phase == 1 << int(a["block"]))
        keep = ends & ((best == 0) | (total < best - (best >> a["gain"])))
        stale = np.where(keep, 0, stale + ends)
        undo = awake & ((stale == a["patience"]) | ((stale > 0) & (learned == a["most"])))
        t["best"][:, 0] = np.where(keep, np.maximum(total, 1), best)
        t["sum"][:, 0] = np.where(awake, np.where(ends, 0, total), t["sum"][:, 0])
        t["phase"][:, 0] = np.where(awake, np.where(ends, 0, phase), t["phase"][:, 0])
        t["stale"][:, 0] = np.where(undo, 0, stale)
        t["learned"][:, 0] = np.where(undo, a["most"], learned)
        t["taught"][:, 0] = (t["taught"][:, 0] != 0) & ~undo
        t["keep"][:, 0], t["undo"][:, 0] = keep, undo

    def integer(self, t: Arrays, a: Attrs) -> None:
        self._change(t, a, t["loss"][:, 0].astype(np.int64))

    def real(self, t: Arrays, a: Attrs) -> None:
        self._change(t, a, Vote.units(t))

    def ranges(self, a: Attrs) -> dict[str, tuple[int, int]]:
        return {
            "sum": (0, TOP),
            "phase": (0, (1 << a["block"]) - 1),
            "best": (0, TOP),
            "stale": (0, a["patience"] - 1),
            "learned": (0, a["most"]),
        }

    def bounds(self, k: Mapping[str, Known], a: Attrs) -> Bounds:
        sums = [Accumulator("sum of a block", 0, TOP + (TOP >> a["block"]))]
        return sums, {"keep": (0, 1, 1), "undo": (0, 1, 1)}

    def case(self, rng: np.random.Generator) -> Case:
        block, patience = int(rng.integers(BLOCKS[0], BLOCKS[1] + 1)), int(rng.choice([1, 2, 255]))
        most, last = int(rng.choice([1, 40, WORD[1]])), (1 << block) - 1
        phase, loss = int(rng.choice([0, last - 1, last, last])), int(rng.choice([0, 2**14, TOP]))
        total = int(rng.choice([0, TOP // 3, TOP]))
        near = int(np.clip(total + (loss >> block) + rng.integers(-1, 2), 0, TOP))
        arrays: dict[str, NDArray[Any]] = {
            "loss": np.array([loss], np.int32),
            "awake": np.array([rng.choice([0, 1, 1, 1])], np.uint8),
            "sum": np.array([total], np.uint32),
            "phase": np.array([phase], np.uint32),
            "best": rng.choice([0, near, TOP], 1).astype(np.uint32),
            "stale": rng.choice([0, patience - 1], 1).astype(np.uint32),
            "learned": rng.choice([0, most], 1).astype(np.uint32),
            "taught": rng.integers(0, 2, 1).astype(np.uint8),
            "keep": np.zeros(1, np.uint8),
            "undo": np.zeros(1, np.uint8),
        }
        attrs = {"block": block, "gain": int(rng.integers(1, 16)), "patience": patience, "most": most}
        flags = dict.fromkeys(("awake", "taught"), (0, 1))
        return Case(arrays, attrs, {**self.ranges(attrs), **flags, "loss": (0, TOP)})
