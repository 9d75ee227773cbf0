"""One run: a network learns a training set from scratch, in integers, and is tested once, at its end."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.examples.images import data as images
from synapcc.gen import emit
from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.emit.fits import least_ram
from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.graph import Graph
from synapcc.gen.rules import options
from synapcc.gen.spec import RuleSpec, load_spec
from synapcc.host import cache
from synapcc.host.devices import open_device
from synapcc.host.link import client
from synapcc.host.link.saturation import saturation
from synapcc.host.run.emulator import Emulator
from synapcc.host.run.inputs import quantise_inputs
from synapcc.host.run.kept import Result, Results, key
from synapcc.host.run.samples import read_samples
from synapcc.host.run.verify import verify
from synapcc.host.terminal.files import packed, write_whole

HERE = Path(__file__).resolve().parent
CONFIRMED = 2_000  # first learning steps of a run that emitted C repeats
CALIBRATION = 1_024  # training images that formats are chosen from
BOARD = "mps2_an386"  # a Cortex-M4
IMAGES = 60_000  # of a pass, as rule files count
Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """A network on a set of images, taught as a rule file says.

    rule:   a file of `rules`, without .toml; its seed is replaced, and its `rule` where `instead` names one
    passes: over the training set
    centred: whether the mean of all training pixels is taken off
    """

    data: str
    graph: Graph
    rule: str
    passes: int
    seed: int
    instead: str = ""
    centred: bool = True

    def spec(self, images: int = IMAGES) -> RuleSpec:
        """images: of a pass; rates fall after the same share of the run, however many there are."""
        spec, schedule = load_spec(HERE / "rules" / f"{self.rule}.toml", options()), None
        if spec.schedule:
            schedule = replace(spec.schedule, at=tuple(at * images // IMAGES for at in spec.schedule.at))
        return replace(spec, seed=self.seed, rule=self.instead or spec.rule, schedule=schedule)


@dataclass(frozen=True)
class Set:
    """Images, float32 [n, *shape], and labels int64 [n]."""

    train: Mapping[str, NDArray[Any]]
    test: Mapping[str, NDArray[Any]]


@functools.cache
def load(name: str, shape: tuple[int, ...], centred: bool, held_out: bool = False) -> Set:
    """A set of images of this shape, less the mean pixel of what is learned where `centred`.

    held_out: its last training images stand for the test, which is not read: what settings are chosen by
    """
    folder = images.find(name)
    x, y = images.read(folder, "train")
    if held_out:
        n = images.VALIDATION
        parts = [(x[:-n], y[:-n]), (x[-n:], y[-n:])]
    else:
        parts = [(x, y), images.read(folder, "t10k")]
    mean = np.float32(parts[0][0].mean(dtype=np.float64) if centred else 0.0)
    found = [{"x": a.reshape(-1, *shape) - mean, "label": b.astype(np.int64)} for a, b in parts]
    return Set(*found)


def compiled(run: Run, data: Set) -> Compiled:
    """The run's network for a Cortex-M4, formats from the first training images."""
    calibration = {name: x[:CALIBRATION] for name, x in data.train.items()}
    return compile_model(run.graph, run.spec(len(data.train["x"])), calibration, BOARD, "scratch")


def is_result(found: Any) -> bool:
    """Whether it is what is kept of a run: what its Plan's bits decide, and `of` which row and seed it is."""
    kinds = {"accuracy": (int, float), "saturated": (int, float), "of": (str,)}
    return (
        isinstance(found, dict)
        and found.keys() == kinds.keys()
        and all(type(v) in kinds[name] for name, v in found.items())
    )


def measured(
    run: Run, of: str, results: Results, say: Say, held_out: bool = False, only_known: bool = False
) -> Result | None:
    """`accuracy` on the test set, `ram` of firmware on the board and `saturated`, the largest share of a
    layer's updates that met a limit; `of`, the row and seed that it is of.

    Kept, under the Plan's digest, is what all its bits decide; `ram`, which the compiler's text decides, is
    counted anew. only_known: None where nothing is kept
    """
    if only_known and all(r["of"] != of for r in results.found.values()):
        return None  # without a compilation
    data = load(run.data, run.graph.interface[0].shape, run.centred, held_out)
    made = compiled(run, data)
    name = run_key(run, made, held_out)
    if only_known and name not in results.found:
        return None
    way = unfinished() / f"{name}.npz"
    found = results.get(name, lambda: _measure(run, made, data, way, say) | {"of": of})
    way.unlink(missing_ok=True)  # not before what it led to is kept
    assert made.board
    return found | {"ram": least_ram(made.plan, made.board)}


def unfinished() -> Path:
    """Where states wait of runs that broke off: what lies beside the rule files is part of the program."""
    return cache.folder() / "learning"


def run_key(run: Run, made: Compiled, held_out: bool) -> str:
    """What a run's result is kept under: all that decides it."""
    digest = made.plan.digest.hex()
    return key(digest, run.data, run.centred, run.passes, run.seed, held_out, CONFIRMED)


def _measure(run: Run, made: Compiled, data: Set, kept: Path, say: Say) -> Result:
    plan = made.plan
    x, y = quantise_inputs(plan, {"x": data.train["x"]})["x"], data.train["label"]
    machine = Emulator(plan)
    machine.expects(len(x) * run.passes)
    done = _resumed(machine, kept)
    for turn in range(done, run.passes):
        order = np.random.default_rng([run.seed, turn]).permutation(len(x))
        if not turn:
            first, order = order[:CONFIRMED], order[CONFIRMED:]
            machine.learn_many({"x": x[first, None]}, y[first])
            confirm(made, {"x": x[first], "label": y[first]}, machine.state[0])
        machine.learn_many({"x": x[order, None]}, y[order])
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, packed({"state": machine.state[0], "done": np.array(turn + 1)}))
        say(f"  pass {turn + 1} of {run.passes}")
    found = machine.evaluate(data.test).accuracy
    shares = [s.share for s in saturation(plan, machine.state[0])]
    return {"accuracy": found, "saturated": max(shares)}


def _resumed(machine: Emulator, kept: Path) -> int:
    """Passes that an earlier run did; its state is the machine's then."""
    if not kept.is_file():
        return 0
    with np.load(kept) as found:
        machine.put_state(found["state"].tobytes())
        return int(found["done"])


def confirm(made: Compiled, data: Mapping[str, NDArray[Any]], state: NDArray[np.uint8]) -> None:
    """Repeats learning steps in emitted C, compiled for this computer, compared byte for byte after each.

    Raises SynapccError where one differs, or where `state` is not what the C has after the last one.
    """
    plan, board, steps = made.plan, made.board, len(data["label"])
    assert board
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "project"
        emit.write(emit.render(plan, board, "training from scratch"), out)
        with open_device("process", out, board) as device:
            chip = client.connect(device, plan)
            verdict = verify(plan, chip, read_samples(plan, data, labels=True), steps)
            same = chip.digest() == hashlib.sha256(state.tobytes()).digest()
    if verdict.difference or not same:
        what = str(verdict.difference or "the compiled engine has another state than emitted C")
        raise SynapccError(plan.model, what, "report this network and rule file")
