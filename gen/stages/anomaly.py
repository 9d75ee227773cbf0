"""Anomalies without labels: an autoencoder's own error is a score, held against a threshold that follows it.

learn_input (entry) the error of the sample as a score, votes, threshold, which stands still while an alarm
                    lasts; and learned, unless there is an alarm or learning has ended
score       (entry) the same score and vote of a sample that is not learned; the threshold stays where it is
relearn     (entry) learning begins again from what there is, as if no sample had been learned yet
reset       (entry) an alarm is over: votes begin again

What they say lies in the state: `anomaly_score`, `anomaly_threshold`, `anomaly_alarm`. With early stopping
the weights of the best block of samples are kept beside those that learn, and taken back at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..errors import CompileError
from ..ir.plan import SCORE
from ..ir.program import Call, Entry
from ..ops.anomaly import ONE, RATIO_FRAC, RATIO_TOP
from ..ops.loss import LOSS_FRAC, TOP
from ..rules import Rule, RuleTape
from ..spec import Anomaly
from ..spec.anomaly import MOST_LEARNED
from .guard import copied, each, learned_values
from .probe import seen

LOSS = "anomaly_loss"
AWAKE, RELEARN, RESET = "awake", "relearn", "reset"
OF_STOPPING = {"anomaly_sum", "anomaly_phase", "anomaly_best", "anomaly_stale"}


def refuse(tape: RuleTape, rule: Rule) -> None:
    """Raises CompileError where [anomaly] cannot work."""
    spec = tape.spec
    if not spec.itself:
        what = "takes the error of an input that the network says again"
        raise CompileError("anomaly", what, 'write [loss] kind = "mse" and target = "input"')
    for key in ("freeze", "store", "replay", "frontend"):
        if getattr(spec, key) is not None:
            why = {"freeze": "says itself when learning pauses", "frontend": "scores samples, no stream"}
            what = why.get(key, "counts each sample once")
            raise CompileError("anomaly", f"{what}, and there is [{key}]", f"leave [{key}] out")
    if not rule.waits:
        what = f"pauses learning, and rule {rule.name} learns from samples without an error, too"
        raise CompileError("anomaly", what, "leave [anomaly] out, or take another rule")


def starting(tape: RuleTape, calibration: Mapping[str, np.ndarray], quantile: float) -> dict[str, int]:
    """What learning begins with: the calibration data's mean score, its quantile by the mean, and the
    threshold that these make."""
    chosen, z = seen(tape.graph, tape.spec, calibration, tape.graph.output)
    x = calibration[tape.graph.inputs[0]][chosen].reshape(z.shape)
    losses = np.square((z - x) / tape.unit).sum(axis=1) / 2
    held = np.clip(losses * 2.0**LOSS_FRAC, 0, TOP)
    mean = int(max(np.rint(held.mean()), 1))
    ratio = int(np.clip(np.rint(np.quantile(held, quantile) / mean * (1 << RATIO_FRAC)), 1, RATIO_TOP))
    return {"mean": mean, "ratio": ratio, "threshold": min(max((mean * ratio) >> RATIO_FRAC, 1), TOP)}


def watched(tape: RuleTape, anomaly: Anomaly, taught: str, first: Mapping[str, int]) -> str:
    """Emits what stands between the error of a sample and its learning. The flag `taught` falls where it is
    not to be learned; returns the one that is set where it is. first: what `starting` found."""
    tape.squares(LOSS, tape.raw_error)
    notes = {
        "threshold": "a score above it is a vote: the mean times the ratio",
        "mean": "of scores, a moving one",
        "ratio": "of the quantile to the mean, Q16",
    }
    tracked = {role: tape.counter(f"anomaly_{role}", note, first[role]) for role, note in notes.items()}
    most = anomaly.most or MOST_LEARNED
    up = min(max(round(anomaly.quantile * ONE), 1), ONE - 1)
    args = _voted(tape) | tracked | {"taught": taught, "awake": tape.flag(AWAKE)}
    numbers = {"shift": round(-np.log2(anomaly.step)), "up": up, "most": most}
    tape.step("anomaly.watch", "anomaly", args, **_votes(anomaly), **numbers)
    if anomaly.block:
        _improved(tape, anomaly, taught, most)
    return AWAKE


def _improved(tape: RuleTape, anomaly: Anomaly, taught: str, most: int) -> None:
    args = {
        "loss": LOSS,
        "awake": AWAKE,
        "sum": tape.counter("anomaly_sum", "mean score of this block of samples, so far"),
        "phase": tape.counter("anomaly_phase", "samples of it"),
        "best": tape.counter("anomaly_best", "mean score of the best block; 0: there is none"),
        "stale": tape.counter("anomaly_stale", "blocks since then"),
        "learned": "anomaly_learned",
        "taught": taught,
        "keep": tape.flag("anomaly_keep"),
        "undo": tape.flag("anomaly_undo"),
    }
    numbers = {"patience": anomaly.patience, "most": most}
    numbers |= {"block": anomaly.block.bit_length() - 1, "gain": round(-np.log2(anomaly.gain))}
    tape.step("anomaly.improve", "anomaly", args, **numbers)
    tape.b.when("anomaly_keep", "keep_state")
    tape.b.when("anomaly_undo", "return_to_good")


def best_weights(tape: RuleTape) -> None:
    """The programs that keep the weights of the best block, and take them back."""
    pairs = [(name, copied(tape, name)) for name in dict.fromkeys(learned_values(tape))]
    back = [(good, name) for name, good in pairs]
    with tape.b.program("keep_state", "the weights of the best block so far"):
        each(tape, "guard.copy", "source", "copy", pairs)
    with tape.b.program("return_to_good", "learning has ended: the weights of the best block"):
        each(tape, "guard.copy", "source", "copy", back)


def entries(tape: RuleTape, anomaly: Anomaly, names: Sequence[str]) -> list[Entry]:
    """The entry programs beside `learn_input`."""
    with tape.b.program(SCORE, "how unlike what was learned a sample is, and whether there is an alarm"):
        tape.b.call("infer")
        tape.emit_loss()
        tape.squares(LOSS, tape.raw_error)
        args = _voted(tape)
        tape.step("anomaly.vote", "anomaly", args, **_votes(anomaly))
    with tape.b.program(RELEARN, "learning begins again from what there is"):
        for name in [n for n in tape.b.values if n in OF_STOPPING or n == "anomaly_learned"]:
            tape.step("samples.rewind", "anomaly", {"next": name})
    with tape.b.program("no_alarm", "votes begin again"):
        for name in ("anomaly_history", "anomaly_alarm"):
            tape.step("samples.rewind", "anomaly", {"next": name})
    own = [Entry(SCORE, tuple(names)), Entry(RELEARN)]
    if reset := tape.b.programs.get(RESET):  # a rule's own
        tape.b.programs[RESET] = replace(reset, items=(*reset.items, Call("no_alarm")))
        return own
    with tape.b.program(RESET, "an alarm is over; what was learned stays"):
        tape.b.call("no_alarm")
    return [*own, Entry(RESET)]


def _votes(anomaly: Anomaly) -> dict[str, int]:
    return {"votes": anomaly.votes, "of": anomaly.of, "least": anomaly.least}


def _voted(tape: RuleTape) -> dict[str, str]:
    return {
        "loss": LOSS,
        "threshold": "anomaly_threshold",
        "learned": tape.counter("anomaly_learned", "samples learned"),
        "history": tape.counter("anomaly_history", "the last votes, a bit each"),
        "score": tape.counter("anomaly_score", "squared error of the last sample"),
        "alarm": tape.counter("anomaly_alarm", "1 while enough of the last votes say so"),
    }
