"""What `synapcc demo ecg` does with one chip: patients' beats over the link, each step checked byte by byte.

Per patient: weights as compiled; classify minutes 5 to 30; learn the first five minutes beat by beat, then
rehearse; classify the same beats again. Everything the chip says is compared with the emulator on the way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import INFERENCE_ONLY, Store
from synapcc.gen.target.boards import load_board
from synapcc.host.link.client import Client
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.locate import Difference, locate
from synapcc.host.run.samples import Samples, from_arrays
from synapcc.host.run.sides import Sides, digest
from synapcc.host.terminal.progress import Progress, track

from . import beats, evaluate, protocol, records, synthetic
from .beats import Beats
from .choices import MINUTES, SHOWN

SYNTHETIC = "synthetic-"
SHOWN_SYNTHETIC = {f"{SYNTHETIC}{seed}": "drawn from an equation" for seed in (13, 5, 8)}
HOW_TO_GET_DATA = (
    "real ones come by themselves where PhysioNet can be reached; or: "
    "python -c \"import wfdb; wfdb.dl_database('mitdb', 'DIR/mitdb')\", then SYNAPCC_DATA=DIR"
)
_CALIBRATION_SEEDS = range(1001, 1007)  # synthetic patients whom nobody learns
_CLASSES = len(protocol.LABELS)


@dataclass(frozen=True)
class Cast:
    """The patients of a run, and the beats that set the number formats.

    told   one sentence: which data these are
    real   recorded data, not synthetic
    people record -> (beats to learn, beats to test)
    """

    told: str
    real: bool
    people: Mapping[str, tuple[Beats, Beats]]
    calibration: Mapping[str, NDArray[Any]]

    @property
    def most(self) -> int:
        """Beats that the busiest patient learns."""
        return max(len(learn) for learn, _ in self.people.values())

    def why(self, name: str) -> str:
        """What is to be seen in a patient; "" if it was the user's choice."""
        return (SHOWN | SHOWN_SYNTHETIC).get(name, "")


@dataclass
class Lesson:
    """What one patient's chip did. Winners are int64[n], one for each beat.

    before, after  of the test beats, before and after learning
    naive, said    of the beats to learn: by the weights as compiled, and just before each was learned
    """

    name: str
    learn: Beats
    test: Beats
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    naive: NDArray[np.int64]
    said: NDArray[np.int64]
    rehearsals: int
    inferences: int
    seconds: float
    state: bytes = field(repr=False)

    def matrix(self, winners: NDArray[np.int64]) -> NDArray[np.int64]:
        """Confusion matrix of the test beats."""
        return protocol.confusion(self.test.label, winners)

    @property
    def fixed(self) -> NDArray[np.int64]:
        """Test beats that only became right by learning."""
        return np.flatnonzero((self.before != self.test.label) & (self.after == self.test.label))

    @property
    def broken(self) -> NDArray[np.int64]:
        """Test beats that were right before learning, and are not after it."""
        return np.flatnonzero((self.before == self.test.label) & (self.after != self.test.label))


class Differs(Exception):
    """Chip and emulator differ; `steps` learning steps were compared before."""

    def __init__(self, difference: Difference, steps: int) -> None:
        super().__init__(str(difference))
        self.difference, self.steps = difference, steps


def cast(names: Sequence[str], minutes: float = MINUTES) -> Cast:
    """Real patients if there are data, else synthetic ones, with the reason.

    names: records of DS2, or synthetic-SEED; none: those chosen for showing. minutes: of each record.
    Raises SynapccError: a patient that is not there or not meant for this.
    """
    invented = [n for n in names if n.startswith(SYNTHETIC)]
    if invented and len(invented) < len(names):
        raise SynapccError("--patient", "real and synthetic patients", "give patients of one kind")
    for name in names:
        check_name(name)
    if len(set(names)) < len(names):
        raise SynapccError("--patient", "the same patient twice", "name each once")
    if invented:
        return _synthetic(names, "as asked for", minutes)
    try:
        folder = records.find()
        loaded = beats.load(names or list(SHOWN), folder=folder)
        calibration = protocol.A.calibration()
    except (records.DataError, ImportError) as error:
        what = getattr(error, "what", None) or f"{error}: pip install 'synapcc[ecg]'"
        if names:
            hint = f"or choose synthetic ones: --patient {next(iter(SHOWN_SYNTHETIC))}; {HOW_TO_GET_DATA}"
            raise SynapccError(f"patient {names[0]}", f"needs MIT-BIH: {what}", hint) from None
        return _synthetic(list(SHOWN_SYNTHETIC), f"because the real ones are not here ({what})", minutes)
    people = {n: _split(n, b, minutes) for n, b in loaded.items()}
    return Cast(f"MIT-BIH Arrhythmia Database, from {folder}", True, people, calibration)


def check_name(name: str) -> None:
    """SynapccError unless a patient of this name is there to be shown."""
    if name.startswith(SYNTHETIC):
        if not name.removeprefix(SYNTHETIC).isdecimal():
            raise SynapccError(
                "--patient", f'"{name}"', f"write {SYNTHETIC} and a number, such as {SYNTHETIC}13"
            )
        return
    of_ds2 = f"patients of DS2: {' '.join(protocol.DS2)}"
    if name in protocol.DS1:
        what = f"{name} belongs to DS1, from which the base model learned: it would prove nothing"
        raise SynapccError("--patient", what, of_ds2)
    if name in records.PACED:
        raise SynapccError("--patient", f"{name} has paced beats, which AAMI EC57 leaves out", of_ds2)
    if name not in protocol.DS2:
        raise SynapccError("--patient", f'there is no record "{name}"', of_ds2)


def _split(name: str, patient: Beats, minutes: float) -> tuple[Beats, Beats]:
    learn, test = protocol.split(patient.take(patient.sample < minutes * 60 * records.FS))
    if not len(learn) or not len(test):
        what = (
            f"{len(learn)} annotated beats before minute 5 and {len(test)} from there to minute {minutes:g}"
        )
        raise SynapccError(f"patient {name}", what, "it takes both to learn and to test; give more --minutes")
    return learn, test


def _synthetic(names: Sequence[str], why: str, minutes: float) -> Cast:
    def draw(seed: int, length: float) -> Beats:
        return beats.extract(synthetic.record(seed, length))

    pool = beats.join([draw(seed, MINUTES) for seed in _CALIBRATION_SEEDS])
    chosen = pool.take(protocol.balanced(pool, protocol.CALIBRATION, 0))
    people = {n: _split(n, draw(int(n.removeprefix(SYNTHETIC)), minutes), minutes) for n in names}
    told = f"SYNTHETIC patients, {why}"
    return Cast(told, False, people, {**chosen.inputs(), "label": chosen.label})


def compile_for(who: Cast, model: str, rule: str, passes: int, board: str) -> Compiled:
    """The base model with a rule; further passes take a store for the beats of the busiest patient."""
    spec = evaluate.rule_spec(rule, model)
    if spec.rule == INFERENCE_ONLY:
        raise SynapccError("--rule", f"{rule} learns nothing", "choose a rule that learns: synapcc rules")
    base = spec.store or Store(who.most)
    store = replace(base, samples=who.most) if passes > 1 else None
    compiled = compile_model(
        evaluate.model_path(model), replace(spec, store=store), who.calibration, load_board(board)
    )
    if compiled.plan.classes != _CLASSES:
        what = f"has {compiled.plan.classes} classes"
        raise SynapccError(model, what, f"the demo's labels are {' '.join(protocol.LABELS)}")
    return compiled


class School:
    """One chip and its emulator, side by side. Every method raises Differs where they are not the same.

    steps, rehearsals, inferences: what was compared so far.
    """

    def __init__(self, plan: Plan, client: Client) -> None:
        self.plan, self.client, self.machine = plan, client, Emulator(plan)
        self.steps = self.rehearsals = self.inferences = 0

    def teach(self, name: str, learn: Beats, test: Beats, passes: int) -> Lesson:
        """Before, learning, after, each behind a progress bar with the share of beats that were right."""
        started, counted = time.monotonic(), self.inferences
        self.client.reset()
        self.machine.reset()
        tests = from_arrays(self.plan, _arrays(test), name, labels=True)
        lessons = from_arrays(self.plan, _arrays(learn), name, labels=True)
        with Progress(f"{name}: before learning", len(test) + len(learn)) as bar:
            before, naive = self._classify(tests, bar), self._classify(lessons, bar)
        with Progress(f"{name}: learning, and comparing bytes", len(learn)) as bar:
            said = self._stream(lessons, bar)
        for _ in track(range(1, passes), f"{name}: rehearsing on the chip"):
            self._rehearse(lessons)
        with Progress(f"{name}: after learning", len(test)) as bar:
            after = self._classify(tests, bar)
        seconds = time.monotonic() - started
        return Lesson(
            name, learn, test, before, after, naive, said, passes - 1, self.inferences - counted, seconds,
            self.machine.state[0].tobytes(),
        )  # fmt: skip

    def _classify(self, samples: Samples, bar: Progress) -> NDArray[np.int64]:
        """Winners of all samples, by the chip; class, margin and scores as the emulator's."""
        labels, hits = samples.labels, 0
        assert labels is not None
        winner, margin, scores = self.machine.infer_many(samples.inputs)
        expected = np.column_stack([winner, margin, scores]).astype(np.int64)
        for i, want in enumerate(expected):
            self._infer(samples, i, want)
            hits += int(want[0] == labels[i])
            bar.step(note=_percent(hits, i + 1))
        return expected[:, 0]

    def _infer(self, samples: Samples, i: int, want: NDArray[np.int64]) -> None:
        got = self.client.infer(samples.packed(i))
        self.inferences += 1
        have = np.array([got.winner, got.margin, *got.scores])
        for at in np.flatnonzero(want != have)[:1]:
            what, index = (("winner", "margin")[at], 0) if at < 2 else ("scores", int(at) - 2)
            difference = Difference(
                self.steps, "infer", what, (index,), int(want[at]), int(have[at]), 1, f"inference of beat {i}"
            )
            raise Differs(difference, self.steps)

    def _stream(self, samples: Samples, bar: Progress) -> NDArray[np.int64]:
        """Learns every sample once; what the chip said of each just before."""
        labels = samples.labels
        assert labels is not None
        said = np.empty(len(samples), np.int64)
        for i in range(len(samples)):
            winner, margin, scores = self.machine.infer(samples.one(i))
            said[i] = winner[0]
            self._infer(samples, i, np.array([winner[0], margin[0], *scores[0]], np.int64))
            before = self.machine.state.copy()
            self.machine.learn(samples.one(i), labels[i : i + 1])
            got = self.client.learn(samples.packed(i), int(labels[i]))
            self.steps += 1
            self._compare(got, before, "learn", samples, i)
            bar.step(note=_percent(int((said[: i + 1] == labels[: i + 1]).sum()), i + 1))
        return said

    def _rehearse(self, samples: Samples) -> None:
        before = self.machine.state.copy()
        self.machine.run("rehearse")
        got = self.client.run(self.plan.entries.index("rehearse"))
        self.rehearsals += 1
        self._compare(got, before, "rehearse", samples, 0)

    def _compare(
        self, got: bytes | None, before: NDArray[np.uint8], program: str, samples: Samples, i: int
    ) -> None:
        if got != digest(self.machine):
            sides = Sides(self.plan, self.client, self.machine, samples)
            found = locate(sides, before, program, i, self.steps)
            raise Differs(found, self.steps)


def _arrays(patient: Beats) -> dict[str, NDArray[Any]]:
    return {**patient.inputs(), "label": patient.label}


def _percent(hits: int, of: int) -> str:
    return f"{100 * hits / of:.1f} % right"
