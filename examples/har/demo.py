"""What `synapcc demo har` does: of each wearer a network that never saw them, on a chip of its own.

The chip learns the first quarter of each recording, window by window, and rehearses; chip and emulator are
compared after every step and every pass, and so is each answer to the windows of the rest, before and after.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen import emit
from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import SynapccError
from synapcc.gen.rules import options
from synapcc.gen.spec import RuleSpec, load_spec
from synapcc.gen.target.boards import load_board
from synapcc.host.devices import device_kinds, open_device
from synapcc.host.firmware.build import build, project_board
from synapcc.host.link.client import Client, connect
from synapcc.host.pages import html
from synapcc.host.pages.eval import eval_html
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.personalise import NONE, WORDS, Personalisation
from synapcc.host.run.samples import from_arrays
from synapcc.host.run.sides import digest
from synapcc.host.run.wearer_data import Part
from synapcc.host.run.wearers import Wearers
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.results import Results

from . import data
from .features import Windows, split
from .files import HERE, calibration, model_path

SHOWN = ("1", "2", "3")
RULE = HERE / "rule.toml"


def run(args: argparse.Namespace, out: Results) -> int:
    """0: every byte was the same; 1: chip and emulator differ. Raises SynapccError: bad input, no data."""
    names = args.wearer or list(SHOWN)
    _check(args, names)
    recordings = data.load()
    out.tell(f"synapcc demo har: a watch meets wearers it has never seen; data: {data.find()}")
    parts: dict[str, tuple[Windows, Windows]] = {n: split(data.of(recordings, n)) for n in names}
    said: dict[str, dict[str, NDArray[np.int64]]] = {"before": {}, "after": {}}
    steps = 0
    for name in names:
        compiled = _compiled(args, name)
        with tempfile.TemporaryDirectory(prefix="synapcc-demo-") as folder:
            project = Path(folder) / compiled.plan.model
            emit.write(emit.render(compiled.plan, compiled.board, "synapcc demo har", "har"), project)
            if args.device.partition(":")[0] != "process":
                build(project)
            with open_device(args.device, project, project_board(project)) as device:
                chip = connect(device, compiled.plan)
                lesson = Lesson(compiled, chip, name)
                different, count = lesson.teach(*parts[name], args.passes)
        steps += count
        if different:
            out.say(f"wearer {name}: {different}\nsynapcc verify tells the first byte that differs")
            out.give("demo", {"steps": steps, "differs": different})
            return 1
        said["before"][name], said["after"][name] = lesson.before, lesson.after
        _tell(out.say, name, parts[name], lesson)
    found = _found(parts, said, compiled.spec, args.passes)
    if args.html:
        html.write(Path(args.html), eval_html(found.to_dict() | {"words": _WORDS}))
        out.say(f"report: {args.html}")
    out.give("demo", found.to_dict() | {"words": _WORDS, "steps": steps, "differs": ""})
    out.say(f"demo: {steps} learning steps on {args.device}, 0 differing bytes")
    return 0


def _check(args: argparse.Namespace, names: list[str]) -> None:
    for name in names:
        if name not in data.WEARERS or names.count(name) > 1:
            raise SynapccError("--wearer", f'"{name}"', f"wearers: {', '.join(data.WEARERS)}, each once")
    if args.passes < 1:
        raise SynapccError("--passes", f"{args.passes} passes", "give 1 or more")
    _ = load_board(args.board).port  # says what there is where a board has no firmware
    if (kind := args.device.partition(":")[0]) not in device_kinds():
        raise SynapccError("--device", f'there is no kind "{kind}"', f"kinds: {', '.join(device_kinds())}")


def _compiled(args: argparse.Namespace, name: str) -> Compiled:
    spec = load_spec(args.rule or RULE, options())
    compiled = compile_model(model_path(name), spec, calibration(name), args.board, "har")
    if not compiled.plan.learning or (args.passes > 1 and "rehearse" not in compiled.plan.entries):
        what, hint = "learns nothing", "choose a rule that learns: synapcc rules"
        if compiled.plan.learning:
            what, hint = "keeps no samples", "more than one pass needs [store]: synapcc docs RULES"
        raise SynapccError(str(args.rule or RULE), what, hint)
    return compiled


class Lesson:
    """One wearer's chip beside its emulator. before, after: what the test windows were called."""

    def __init__(self, compiled: Compiled, chip: Client, name: str) -> None:
        self.plan, self.chip, self.name = compiled.plan, chip, name
        self.before = self.after = np.zeros(0, np.int64)

    def teach(self, learn: Windows, test: Windows, passes: int) -> tuple[str, int]:
        """(what differed, or "", learning steps)."""
        lessons, tests = (
            from_arrays(self.plan, _arrays(w), f"wearer {self.name}", True) for w in (learn, test)
        )
        machine = Emulator(self.plan)
        self.before, wrong = self._asked(machine, tests)
        if wrong:
            return wrong, 0
        assert lessons.labels is not None
        with Progress(f"wearer {self.name}: learning", len(lessons)) as bar:
            for i, label in enumerate(lessons.labels):
                machine.learn(lessons.one(i), [label])
                if self.chip.learn(lessons.packed(i), int(label)) != digest(machine):
                    return f"learning window {i}: the states differ", i
                bar.step()
        for k in range(1, passes):
            machine.run("rehearse")
            if self.chip.run(self.plan.entries.index("rehearse")) != digest(machine):
                return f"rehearsal {k}: the states differ", len(lessons)
        if "settle" in self.plan.entries:
            machine.run("settle")
            if self.chip.run(self.plan.entries.index("settle")) != digest(machine):
                return "settle: the states differ", len(lessons)
        self.after, wrong = self._asked(machine, tests)
        return wrong, len(lessons)

    def _asked(self, machine: Emulator, tests: Any) -> tuple[NDArray[np.int64], str]:
        """What the chip calls the windows, each answer held against the emulator's."""
        winner, margin, scores = machine.infer_many(tests.inputs)
        for i in range(len(tests)):
            got = self.chip.infer(tests.packed(i))
            if [got.winner, got.margin, *got.scores] != [winner[i], margin[i], *scores[i]]:
                return winner.astype(np.int64), f"inference of window {i}: the answers differ"
        return winner.astype(np.int64), ""


def _arrays(windows: Windows) -> dict[str, NDArray[Any]]:
    return {"features": windows.features, "label": windows.label}


def _tell(say: Callable[[str], None], name: str, parts: tuple[Windows, Windows], lesson: Lesson) -> None:
    learn, test = parts
    before, after = (100 * float(np.mean(w == test.label)) for w in (lesson.before, lesson.after))
    say(
        f"wearer {name}: {len(learn)} windows learned, {len(test)} asked: {before:.1f} % right before, "
        f"{after:.1f} % after"
    )


def _found(
    parts: Mapping[str, tuple[Windows, Windows]],
    said: Mapping[str, Mapping[str, NDArray[np.int64]]],
    spec: RuleSpec,
    passes: int,
) -> Personalisation:
    learn, test = (
        {name: Part(p[side].label, {"features": p[side].features}) for name, p in parts.items()}
        for side in (0, 1)
    )
    found = Personalisation(Wearers(learn, test), data.EXERCISES)
    found.add(NONE, "", passes, {0.0: said["before"]}, None)
    found.add(spec.rule, spec.weights, passes, {0.0: said["before"], float(passes): said["after"]}, None)
    return found


_WORDS = dict(WORDS) | {
    "command": "synapcc demo har",
    "sample": "window",
    "samples": "windows",
    "taught": "the first quarter of each recording of each wearer",
    "tested": "windows of the rest",
    "lesson": "the first quarters",
}
