"""Training from scratch: a random start gets formats for what it will become; what saturates is told."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from projects import arrays, case, write_rule
from starts import Data, accuracy, blobs, learned, start

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph
from synapcc.gen.rules import options
from synapcc.gen.spec import Feedback, Loss, RuleSpec, Schedule, parse_spec
from synapcc.gen.stages.calibrate import Runs
from synapcc.gen.stages.float_run import RealMachine
from synapcc.gen.stages.room import SPAN, grown
from synapcc.host.cli import main
from synapcc.host.link.saturation import MOST, Saturation, saturation, warning
from synapcc.host.run.emulator import Emulator

STARTS = ("he", "glorot", "narrow", "zero head")


@pytest.mark.parametrize("how", STARTS)
def test_a_random_start_learns_and_hardly_saturates(how: str) -> None:
    """With formats for the start alone the narrow one ran into its limits and forgot all it had learned."""
    data, unseen = blobs(1000, 1), blobs(500, 2)
    compiled = compile_model(start((24, 40, 20, 5), how), RuleSpec("bp", rate=6), data)
    state = learned(compiled, data, 8000)
    assert accuracy(compiled, state, unseen) > 0.95
    assert all(x.share < MOST / 10 for x in saturation(compiled.plan, state))


def test_formats_hardly_depend_on_the_start_or_on_labels() -> None:
    data = blobs(300, 1)
    ranges = []
    for how in STARTS:
        for given in (data, {"x": data["x"]}):
            plan = compile_model(start((24, 40, 20, 5), how), RuleSpec("bp"), given).plan
            ranges.append([plan[n].frac for n in ("fc1", "fc2", "fc3")])
    assert np.ptp(np.array(ranges), axis=0).max() <= 1, ranges


@pytest.mark.parametrize("loss", [Loss(), Loss("hinge", 2.0)])
def test_a_network_that_fits_its_data_stays_as_it_is(loss: Loss) -> None:
    """What it has learned already needs no room; before, its scores must reach what the loss asks for."""
    data = blobs(400, 1)
    graph = start((24, 40, 20, 5), "he")
    compiled = compile_model(graph, RuleSpec("bp", rate=6, loss=loss), data)
    runs = Runs(compiled.abstract, compiled.calibration)
    nothing = np.zeros(len(runs), bool)
    spec = RuleSpec("bp", loss=loss)
    later = grown(compiled.abstract, spec, runs, nothing)
    assert later is not None
    larger = [
        np.max(np.abs(later.values[f"fc{i}_weight"].real)) / np.max(np.abs(graph.tensors[f"fc{i}_w"].value))  # type: ignore[arg-type]
        for i in (1, 2, 3)
    ]
    assert min(larger) >= 1.0 and max(larger) > 1.2, (larger, SPAN)
    state, plan = learned(compiled, data, 4000), compiled.plan
    trained = dict(compiled.abstract.values)
    for name in (n for n, v in trained.items() if v.learned):
        t = plan[name]
        content = state[t.offset : t.offset + t.nbytes].view(t.dtype).reshape(t.stored)[..., : t.shape[-1]]
        trained[name] = replace(trained[name], real=content * 2.0**-t.frac)
    after = replace(compiled.abstract, values=trained)
    assert grown(after, spec, Runs(after, compiled.calibration), nothing) is None


@pytest.fixture(scope="module")
def fitted() -> tuple[Graph, Data]:
    """A network that learned its data in float."""
    data, graph = blobs(600, 1), start((24, 40, 20, 5), "he")
    compiled = compile_model(graph, RuleSpec("bp", rate=6), data)
    machine = RealMachine(compiled.abstract.values, compiled.abstract.programs, 1)
    for i in range(6000):
        at = slice(i % 600, i % 600 + 1)
        machine.load({"x": data["x"][at].astype(float), "label": data["label"][at][:, None]})
        machine.run("learn")
    tensors = dict(graph.tensors)
    for name, content in machine.state.items():
        if (key := name.replace("_weight", "_w").replace("_bias", "_b")) in tensors:
            tensors[key] = replace(tensors[key], value=content[0])
    return replace(graph, tensors=tensors), data


def with_scores(graph: Graph, factor: float) -> Graph:
    """The network with its scores times `factor`."""
    tensors = {
        n: replace(t, value=t.value * factor) if n.startswith("fc3_") and t.value is not None else t
        for n, t in graph.tensors.items()
    }
    return replace(graph, tensors=tensors)


@pytest.mark.parametrize("bits", [-3, 0, 2, 3, 5, 7])
def test_beside_int8_weights_a_trained_network_with_small_scores_counts_as_trained(
    fitted: tuple[Graph, Data], bits: int
) -> None:
    """Its formats are those of the same network with scores of usual size, shifted by what the scores are."""
    graph, data = fitted
    spec = RuleSpec("bp", rate=1, weights="int8")  # what passes such a last layer is small
    usual, found = (compile_model(with_scores(graph, 2.0**-n), spec, data) for n in (0, bits))
    assert not usual.quantised.untrained and not found.quantised.untrained
    for name in ("x", "fc1", "relu1", "fc2", "relu2", "fc1_weight", "fc2_weight"):
        assert found.plan[name].frac == usual.plan[name].frac, name
    assert found.plan["fc3_weight"].frac == usual.plan["fc3_weight"].frac + bits
    assert found.plan["fc3"].frac == min(12, usual.plan["fc3"].frac + bits)
    told = [accuracy(c, Emulator(c.plan).state[0], data) for c in (usual, found)]
    assert told[0] > 0.97 and told[1] > told[0] - 0.01


@pytest.mark.parametrize("bits", [3, 5, 7])
def test_int16_weights_leave_room_for_scores_that_will_grow(fitted: tuple[Graph, Data], bits: int) -> None:
    graph, data = fitted
    compiled = compile_model(with_scores(graph, 2.0**-bits), RuleSpec("bp", rate=6), data)
    assert compiled.quantised.untrained and accuracy(compiled, Emulator(compiled.plan).state[0], data) > 0.97
    state = learned(compiled, data, 1500)
    assert accuracy(compiled, state, data) > 0.97
    assert all(x.share < MOST / 10 for x in saturation(compiled.plan, state))


def test_scores_of_a_start_fit_labels_at_no_scale() -> None:
    data = blobs(400, 1)
    for how in ("he", "glorot", "narrow", "zero head"):
        for shrink in (1.0, 1 / 16, 16.0):
            graph = with_scores(start((24, 40, 20, 5), how), shrink)
            for weights, rate in (("int8", 3), ("int16", 9)):
                spec = RuleSpec("bp", rate=rate, weights=weights)
                assert compile_model(graph, spec, data).quantised.untrained, (how, shrink, weights)


def test_a_start_that_int8_cannot_see_is_refused() -> None:
    with pytest.raises(CompileError, match=r"starts at .* let other layers learn"):
        compile_model(start((24, 40, 20, 5), "he", shrink=1e-3), RuleSpec("bp"), blobs(100, 1))


# ---- what saturates is told -----------------------------------------------------------------------------


def provoked(headroom: float, rate: int) -> str:
    """What is said of a feedback so strong that the weights need much room."""
    data = blobs(600, 1)
    spec = RuleSpec("fa", rate=rate, headroom=headroom, feedback=Feedback(gain=32.0))
    compiled = compile_model(start((24, 16, 5), "he"), spec, data)
    return warning(saturation(compiled.plan, learned(compiled, data, 1500)))


def test_the_hint_helps() -> None:
    told = provoked(1.0, 2)
    assert "updates met a limit" in told and "8 times the headroom" in told and "2^-4 or smaller" in told
    assert provoked(8.0, 4) == ""


def test_the_share_counts_every_learned_value() -> None:
    data = blobs(50, 1)
    compiled = compile_model(start((24, 16, 5), "he"), RuleSpec("hebbian"), data)
    found = {x.layer: x for x in saturation(compiled.plan, learned(compiled, data, 50))}
    assert found["fc1"].updates == 50 * (16 * 24 + 16)
    assert found["fc2"].updates == 50 * (2 * 5 * 16 + 5), "the learned feedback counts as well"
    assert warning([Saturation("fc1", 10, 1000, 0.0, 4)]) == "", "one per cent is not above one per cent"
    assert "fc1: 1.1 % of 1,000 updates" in warning([Saturation("fc1", 11, 1000, 0.0, 4)])
    assert warning([]) == "" and Saturation("fc1", 0, 0, 0.0, 4).share == 0.0


OWN = """
rate = "2^-2"
headroom = 1.0
update.weight = "-rate*teach*pre{more}"
teach.hidden = "(W.T@next)*df(z)"
"""


def own(more: str) -> RuleSpec:
    return parse_spec(OWN.format(more=more), "own.toml", options())


@pytest.mark.parametrize(
    ("spec", "each"),
    [
        (RuleSpec("bp", rate=2, headroom=1.0), 1),
        (RuleSpec("bp", rate=2, headroom=1.0, schedule=Schedule(tuple(range(10**6, 10**6 + 8)))), 1),
        (own(""), 1),
        (own(" - 2^-14*W"), 1),
        (RuleSpec("spsa", rate=2, headroom=1.0, options=(("trials", 3),)), 3),
    ],
    ids=["bp", "schedule", "as bp", "statements", "trials"],
)
def test_each_counter_is_told_once_beside_what_it_watches(spec: RuleSpec, each: int) -> None:
    """However many steps of a program count there, whatever their kernels are called."""
    data = blobs(400, 1)
    compiled = compile_model(start((24, 40, 20, 5), "he"), spec, data)
    state = learned(compiled, data, 400)
    found = saturation(compiled.plan, state)
    sizes = {"fc1": 40 * 24 + 40, "fc2": 20 * 40 + 20, "fc3": 5 * 20 + 5}
    assert {x.layer: x.updates for x in found} == {n: 400 * each * size for n, size in sizes.items()}
    for x in found:
        t = compiled.plan[f"{x.layer}_saturated"]
        assert x.saturated == state[t.offset : t.offset + 4].view(np.uint32)[0]
    assert len(found) == 3 and sum(x.saturated for x in found) > 0
    assert {x.rate for x in found} == {2 if spec.rule == "bp" else None}


def test_without_a_rate_smaller_changes_are_advised() -> None:
    """Equations need not have one, and may multiply it with anything."""
    told = warning([Saturation("fc1", 11, 1000, 0.0, None)])
    assert told.endswith(
        "8 times the headroom, and if that is not enough, make what a learning step changes 4 times smaller"
    )


def test_the_commands_tell_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    c = case(tmp_path, "fa")
    write_rule(c.rule, "fa", more="headroom = 1.0\n[feedback]\ngain = 64\n")
    many = arrays(400)
    np.savez(tmp_path / "many.npz", **many)  # type: ignore[arg-type]
    out = tmp_path / "out"
    assert main(c.words(out)) == 0
    data, result = str(tmp_path / "many.npz"), str(tmp_path / "r.npz")
    for words in (
        ["emulate", str(out), "--data", data, "--learn", "-o", result],
        ["inspect", str(out), "--learn", data],
        ["verify", str(out), "--data", data, "--steps", "400"],
    ):
        capsys.readouterr()
        assert main(words) == 0
        assert "warning: fc1: " in capsys.readouterr().out, words
        assert main([*words, "--json", "-"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["warning"].startswith("fc1: "), words
        if words[0] == "verify":  # the chip counts the same by itself
            assert told["stats"]["learned"] == 400
            assert told["stats"]["saturated"] == sum(x["saturated"] for x in told["saturation"]) > 0


# ---- the real thing -------------------------------------------------------------------------------------


def _idx(path: Path) -> np.ndarray:
    raw = gzip.decompress(path.read_bytes())
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


@pytest.mark.long
def test_mnist_from_scratch() -> None:
    """784-100-50-10, He's uniform start, one pass over the training set. Needs $SYNAPCC_DATA/mnist."""
    folder = Path(os.environ.get("SYNAPCC_DATA", "")) / "mnist"
    assert folder.is_dir(), "set SYNAPCC_DATA to the folder that holds mnist, the four files as published"
    sets: dict[str, Data] = {}
    for name in ("train", "t10k"):
        x = _idx(folder / f"{name}-images-idx3-ubyte.gz").reshape(-1, 784).astype(np.float32) / 255
        sets[name] = {"x": x, "label": _idx(folder / f"{name}-labels-idx1-ubyte.gz").astype(np.int64)}
    train = sets["train"]
    order = np.random.default_rng(1).permutation(len(train["x"]))
    train = {k: v[order] for k, v in train.items()}
    calibration = {k: v[:1024] for k, v in train.items()}
    compiled = compile_model(start((784, 100, 50, 10), "he"), RuleSpec("bp", rate=9), calibration)
    state = learned(compiled, train, 60_000)
    assert accuracy(compiled, state, sets["t10k"]) >= 0.95
    assert all(x.share < MOST for x in saturation(compiled.plan, state))
