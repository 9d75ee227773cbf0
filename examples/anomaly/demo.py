"""What `synapcc demo anomaly` does: a chip and its emulator learn a synthesised machine, byte for byte.

The network starts from nothing, learns the machine as it is, then goes on while the machine drifts. What it
says of usual windows and of two faults in the end stands beside the same network that stopped before the
drift, and beside float backpropagation of all the same windows in the same order.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synapcc.examples.ecg.anomaly import area, in_float
from synapcc.gen import emit
from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.spec import Anomaly, Loss, RuleSpec
from synapcc.gen.target.boards import load_board
from synapcc.host.devices import device_kinds, open_device
from synapcc.host.firmware.build import build, project_board
from synapcc.host.link.client import Client, connect
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.inputs import quantise_inputs
from synapcc.host.run.sides import digest
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.results import Results
from synapcc.host.terminal.text import table

from .machine import BANDS, FAULTS, windows

SIZES = (BANDS, 16, 4, 16, BANDS)
RATE = 6
FIRST, LATER, ASKED = 400, 800, 100
SPEC = RuleSpec(
    "bp", layers="all", rate=RATE, init="he", loss=Loss("mse", target="input"), anomaly=Anomaly(votes=3, of=5)
)
SAID = (
    "synthesised vibration, drift and faults as examples/anomaly/machine.py constructs them: no measurement"
)
Windows = NDArray[np.float32]


def run(args: argparse.Namespace, out: Results) -> int:
    """0: every byte was the same; 1: chip and emulator differ. Raises SynapccError: bad input."""
    if (kind := args.device.partition(":")[0]) not in device_kinds():
        raise SynapccError("--device", f'there is no kind "{kind}"', f"kinds: {', '.join(device_kinds())}")
    if args.seed < 0:
        raise SynapccError("--seed", f"is {args.seed}", "give 0 or more")
    _ = load_board(args.board).port  # says what there is where a board has no firmware
    out.say(f"synapcc demo anomaly: {SAID}")
    compiled = compile_model(network(), SPEC, {"x": windows(500, args.seed + 1000)}, args.board)
    first = windows(FIRST, args.seed)
    later = windows(LATER, args.seed, np.linspace(0, 1, LATER))
    with tempfile.TemporaryDirectory(prefix="synapcc-demo-") as folder:
        project = Path(folder) / compiled.plan.model
        emit.write(emit.render(compiled.plan, compiled.board, "synapcc demo anomaly", "anomaly"), project)
        if kind != "process":
            build(project)
        with open_device(args.device, project, project_board(project)) as device:
            life = Life(compiled, connect(device, compiled.plan))
            wrong = life.learn(first) or life.ask("stopped before the drift", args.seed)
            wrong = wrong or life.learn(later) or life.ask("went on, on the chip", args.seed)
    if wrong:
        out.say(wrong)
        out.give("demo", {"steps": life.steps, "differs": wrong})
        return 1
    _tell(out, life, np.concatenate([first, later]), args)
    return 0


def network() -> Graph:
    """Dense layers of SIZES, ReLU between them; their weights are drawn by `init`."""
    tensors, nodes, at = {"x": Tensor("x", (BANDS,))}, [], "x"
    for i, (n, m) in enumerate(pairwise(SIZES), 1):
        fc = f"fc{i}"
        for name, shape in ((f"{fc}_w", (m, n)), (f"{fc}_b", (m,))):
            tensors[name] = Tensor(name, shape, np.zeros(shape))
        nodes.append(Node("dense", fc, (at, f"{fc}_w", f"{fc}_b"), fc))
        tensors[fc], at = Tensor(fc, (m,)), fc
        if i < len(SIZES) - 1:
            at = f"relu{i}"
            tensors[at] = Tensor(at, (m,))
            nodes.append(Node("clip", at, (fc,), at, {"lo": 0.0, "hi": np.inf}))
    return Graph("vibration", ("x",), at, tensors, tuple(nodes))


def asked(seed: int) -> dict[str, Windows]:
    """The machine at the end of its drift: usual windows, and each fault's."""
    kinds = ("", *FAULTS)
    return {kind or "usual": windows(ASKED + i, seed + 500, 1.0, kind) for i, kind in enumerate(kinds)}


class Life:
    """A chip beside its emulator. said: of each time it was asked, the scores of each kind of window and the
    share of them above the threshold."""

    def __init__(self, compiled: Compiled, chip: Client) -> None:
        self.plan, self.chip, self.machine = compiled.plan, chip, Emulator(compiled.plan)
        self.start = [self.real(t.name) for t in self.plan.tensors if t.learned]
        self.names = [t.name for t in self.plan.tensors if t.learned]
        self.said: dict[str, dict[str, tuple[NDArray[np.float64], float]]] = {}
        self.steps = 0

    def real(self, name: str) -> NDArray[np.float64]:
        """A tensor of the emulator in real numbers."""
        return np.asarray(self.plan[name].meaning.real(self.machine[name][0]))

    def weights(self) -> list[NDArray[np.float64]]:
        """Weights and biases at the start, layer after layer."""
        found = dict(zip(self.names, self.start, strict=True))
        return [found[f"fc{i}_{part}"] for i in range(1, len(SIZES)) for part in ("weight", "bias")]

    def learn(self, some: Windows) -> str:
        """What differed, or ""."""
        return self._run("learn_input", some)

    def ask(self, when: str, seed: int) -> str:
        """As `learn`; nothing is learned, and votes begin again."""
        self.said[when] = {}
        for kind, some in asked(seed).items():
            scores: list[float] = []
            above: list[bool] = []
            if wrong := self._run("score", some, scores, above):
                return wrong
            self.said[when][kind] = np.array(scores), float(np.mean(above))
        self.machine.run("reset")
        same = self.chip.run(self.plan.entries.index("reset")) == digest(self.machine)
        return "" if same else "reset: the states differ"

    def _run(
        self, program: str, some: Windows, scores: list[float] | None = None, above: list[bool] | None = None
    ) -> str:
        number, given = self.plan.entries.index(program), quantise_inputs(self.plan, {"x": some})["x"]
        with Progress(program, len(given)) as bar:
            for one in given:
                self.machine.run(program, inputs={"x": one[None]})
                self.chip.give(self.plan, program, {"x": one}, None)
                if self.chip.run(number) != digest(self.machine):
                    return f"{program} of window {self.steps}: the states differ"
                self.steps += 1
                if scores is not None and above is not None:
                    score, threshold, _ = self.machine.scored
                    scores.append(float(score[0]))
                    above.append(bool(score[0] > threshold[0]))
                bar.step()
        return ""


def _tell(out: Results, life: Life, learned: Windows, args: argparse.Namespace) -> None:
    rows, document = [], {}
    kinds = asked(args.seed)
    weights = life.weights()
    real = {kind: (in_float(weights, learned, some, RATE, 1), -1.0) for kind, some in kinds.items()}
    for when, said in {**life.said, "went on, float backpropagation": real}.items():
        usual, often = said["usual"]
        cells, found = [], {}
        for fault in FAULTS:
            score, above = said[fault]
            mixed = np.concatenate([usual, score])
            found[fault] = area(mixed, np.arange(len(mixed)) >= len(usual))
            cells += [f"{found[fault]:.4f}", f"{100 * above:.0f}" if above >= 0 else ""]
        rows.append([when, *cells, f"{100 * often:.0f}" if often >= 0 else ""])
        document[when] = found
    head = ["learning", *(h for f in FAULTS for h in (f"AUC {f}", "% above")), "% usual above"]
    out.say(
        f"{FIRST} windows of the machine as it was, {LATER} while it drifted; asked at the end of the drift:"
    )
    for line in ["", *table(head, rows), ""]:
        out.say(line)
    out.give("demo", {"auc": document, "steps": life.steps, "differs": ""})
    out.say(f"demo: {life.steps} steps on {args.device}, 0 differing bytes; {SAID}")
