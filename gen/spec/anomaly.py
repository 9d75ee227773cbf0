"""[anomaly]: how unlike is too unlike, what an alarm is, and when learning ends."""

from __future__ import annotations

from dataclasses import dataclass

from .table import Table

MOST_LEARNED = 2**32 - 1
MOST_OF = 32  # samples that vote: bits of a word
FASTEST, SLOWEST = 1, 12  # k of the threshold's step 2^-k
BLOCKS = 4, 16  # k of a block of 2^k samples
GAINS = 1, 15
KEYS = ("quantile", "step", "votes", "of", "least", "most", "block", "gain", "patience")


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A sample is unlike the others where its squared error is above a threshold, a quantile of these.

    quantile: the share of normal samples below the threshold
    step:     what the threshold moves by at most, in shares of itself, a power of two; larger at the start
    votes:    so many of the last `of` samples above it are an alarm; learning pauses meanwhile
    least:    samples that are learned before there is any alarm
    most:     samples after which learning ends; 0: it does not
    block:    samples, a power of two, whose mean error is held against that of the best block; 0: none is
    gain:     the share, a power of two, by which a mean must be smaller than the best one to take its place
    patience: blocks without such a one, after which learning ends with the weights of the best one
    """

    quantile: float = 0.98
    step: float = 2.0**-5
    votes: int = 3
    of: int = 5
    least: int = 64
    most: int = 0
    block: int = 0
    gain: float = 2.0**-6
    patience: int = 4


def read_anomaly(table: Table) -> Anomaly | None:
    """[anomaly], or None where the file has none."""
    if table.get("anomaly") is None:
        return None
    own, usual = table.subtable("anomaly", KEYS), Anomaly()
    quantile = own.number("quantile", 0.5, 0.9999, usual.quantile)
    step = own.power_of_two("step", -SLOWEST, -FASTEST, usual.step)
    of = own.integer("of", 1, MOST_OF, usual.of)
    votes = own.integer("votes", 1, MOST_OF, min(usual.votes, of))
    if votes > of:
        raise own.error("votes", f"is {votes}, of {of} samples", "give as many as there are samples, or less")
    least = own.integer("least", 0, MOST_LEARNED, usual.least)
    most = own.integer("most", 0, MOST_LEARNED, usual.most)
    if most and most < least:
        what = f"is {most}, and no alarm is given before {least} samples are learned: there would be none"
        raise own.error("most", what, "give `least` or more, or 0: learning does not end")
    block = own.integer("block", 0, 1 << BLOCKS[1], usual.block)
    if block and (block & (block - 1) or block < 1 << BLOCKS[0]):
        hint = f"give a power of two from {1 << BLOCKS[0]} to {1 << BLOCKS[1]}, or 0: no early stopping"
        raise own.error("block", f"is {block}", hint)
    for key in ("gain", "patience") if not block else ():
        if own.get(key) is not None:
            raise own.error(key, "belongs to early stopping, and block is 0", "drop it, or give a block")
    gain = own.power_of_two("gain", -GAINS[1], -GAINS[0], usual.gain)
    patience = own.integer("patience", 1, 255, usual.patience)
    return Anomaly(quantile, step, votes, of, least, most, block, gain, patience)
