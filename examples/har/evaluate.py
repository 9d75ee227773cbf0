"""What `synapcc eval har` does: every network meets its wearer, learns, and is asked before and after.

Without --stream the windows are those of features.py, computed in float outside of the chip. With it an
emulated chip per wearer is given the raw samples, push by push; what it is asked are its own windows, and it
learns by `mark`, some seconds late, as a wearer who presses a button labels them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.compile import compile_model
from synapcc.gen.frontends import block_options
from synapcc.gen.ir.plan import Plan
from synapcc.gen.rules import options
from synapcc.gen.spec import RuleSpec, load_spec
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.personalise import NONE, InIntegers, Personalisation
from synapcc.host.run.wearer_data import Part
from synapcc.host.run.wearers import Wearers

from . import data
from .data import Recording
from .demo import RULE as USUAL
from .features import split
from .files import calibration, model_path, stream_calibration
from .streamed import RULE as STREAM
from .streamed import ends, front, parts, samples

Tick = Callable[[int], None]
Winners = dict[float, NDArray[np.int64]]


@dataclass(frozen=True)
class Counts:
    """Labels that were given, and those that found their window."""

    given: int
    found: int


def usual(recordings: Sequence[Recording], names: Sequence[str], passes: int, tick: Tick) -> Personalisation:
    """Windows of features.py. tick(1) behind each wearer."""
    spec = load_spec(USUAL, options())
    learn, test, said = {}, {}, {}
    for name in names:
        plan = compile_model(model_path(name), spec, calibration(name)).plan
        cuts = split(data.of(recordings, name))
        mine, asked = (Part(w.label, {"features": w.features}) for w in cuts)
        learn[name], test[name] = mine, asked
        way = InIntegers(plan, Wearers({name: mine}, {name: asked}))
        before = {0.0: way.asked()[name]}
        said[name] = before | {k: w[name] for k, w in way.places(passes, []) if k in (1, passes)}
        tick(1)
    return _found(spec, learn, test, said, passes)


def streamed(
    recordings: Sequence[Recording], names: Sequence[str], passes: int, late: int, tick: Tick
) -> tuple[Personalisation, Counts]:
    """Windows that the chip makes of raw samples; labels come `late` seconds behind a window's end."""
    spec = load_spec(STREAM, options(), block_options())
    learn, test, said, given, found = {}, {}, {}, 0, 0
    for name in names:
        mine = data.of(recordings, name)
        plan = stream_plan(recordings, name, spec)
        life = Life(plan, mine)
        winners: Winners = {0.0: life.asked()}
        found += life.lesson(late)
        for k in range(1, passes + 1):
            if k > 1:
                life.machine.run("rehearse")
            if k in (1, passes):
                winners[float(k)] = life.asked()
        said[name] = winners
        learned, tested = (np.concatenate([parts(r)[side] for r in mine]) for side in (0, 1))
        label = np.concatenate([np.full(len(ends(r)), r.exercise, np.uint8) for r in mine])
        learn[name], test[name] = Part(label[learned], {}), Part(label[tested], {})
        given += int(learned.sum())
        tick(1)
    return _found(spec, learn, test, said, passes), Counts(given, found)


def stream_plan(recordings: Sequence[Recording], name: str, spec: RuleSpec) -> Plan:
    """The Plan of one wearer's chip, calibrated by what the chip makes of the others' samples."""
    return compile_model(model_path(name, stream=True), spec, stream_calibration(recordings, name)).plan


class Life:
    """One wearer's emulated chip, and the recordings that it is given."""

    def __init__(self, plan: Plan, recordings: Sequence[Recording]) -> None:
        self.machine, self.recordings = Emulator(plan), recordings

    def asked(self) -> NDArray[np.int64]:
        """What the test windows of all recordings are called."""
        found = []
        for r in self.recordings:
            winners = self._pushed(r, 0)[0]
            found.append(winners[parts(r)[1]])
        return np.concatenate(found)

    def lesson(self, late: int) -> int:
        """The windows of the first quarters, labelled `late` seconds behind their end; how many labels found
        their window."""
        return sum(self._pushed(r, late, teach=True)[1] for r in self.recordings)

    def _pushed(self, r: Recording, late: int, teach: bool = False) -> tuple[NDArray[np.int64], int]:
        """A recording from its first sample on, of a chip whose stream begins anew."""
        machine, size = self.machine, front().push
        machine.run("reset")
        rows = samples(r)
        rows = rows[: len(rows) // size * size].reshape(-1, size * rows.shape[1])
        learned, winners, labelled = parts(r)[0], [], 0
        for row in rows:
            said = machine.push(row[None])
            if said.made[0]:
                winners.append(int(said.answer.winner[0]))
            number = len(winners) - 1 - late  # the window that the wearer speaks of
            if teach and 0 <= number < len(learned) and learned[number]:
                labelled += int(machine.mark([r.exercise], [late * size])[0])
        return np.array(winners, np.int64), labelled


def _found(
    spec: RuleSpec, learn: dict[str, Part], test: dict[str, Part], said: dict[str, Winners], passes: int
) -> Personalisation:
    found = Personalisation(Wearers(learn, test), data.EXERCISES)
    found.add(NONE, "", passes, {0.0: {n: w[0.0] for n, w in said.items()}}, None)
    for done in sorted({1, passes}):
        curve = {k: {n: w[k] for n, w in said.items()} for k in (0.0, *sorted({1.0, float(done)}))}
        found.add(spec.rule, spec.weights, done, curve, None)
    return found
