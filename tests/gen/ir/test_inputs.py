"""What a model is fed with: layouts, names, units and labels, the same to all who take data."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as om
import pytest
from projects import Case, arrays, compiled, refusal, save, write_rule

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError, DataWarning, SynapccError
from synapcc.gen.importers import load_model
from synapcc.gen.importers._names import RESERVED, input_identifiers
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.inputs import Input, ambiguous, check_labels
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.quantiser import Quantiser
from synapcc.gen.spec import RuleSpec
from synapcc.gen.stages.float_run import RealMachine
from synapcc.gen.stages.graph_check import verify
from synapcc.gen.stages.plan_file import load_plan
from synapcc.host import Emulator, classify
from synapcc.host.cli import main
from synapcc.host.run.inputs import Clipping, quantise_inputs
from synapcc.host.run.samples import from_arrays, load_samples

Capsys = pytest.CaptureFixture[str]
Rng = np.random.Generator
N = 5


def dense_behind(shape: tuple[int, ...], source: str = "") -> Graph:
    """x [*shape] -> flat -> two classes."""
    size = int(np.prod(shape))
    rng = np.random.default_rng(size)
    tensors = {
        "x": Tensor("x", shape, source=source),
        "h": Tensor("h", (size,)),
        "w": Tensor("w", (2, size), rng.normal(size=(2, size))),
        "b": Tensor("b", (2,), np.zeros(2)),
        "y": Tensor("y", (2,)),
    }
    flat = Node("reshape", "flat", ("x",), "h", {"shape": (size,)})
    return verify(Graph("m", ("x",), "y", tensors, (flat, Node("dense", "fc", ("h", "w", "b"), "y"))))


def takers(graph: Graph, plan: Plan) -> dict[str, Callable[[Mapping[str, Any]], object]]:
    """Everyone who takes N samples."""
    state = Emulator(plan).state[0]
    return {
        "calibration": lambda a: compile_model(graph, RuleSpec("none"), a),
        "data": lambda a: from_arrays(plan, a, "d.npz", labels=False),
        "quantiser": lambda a: quantise_inputs(plan, a),
        "fleet": lambda a: Emulator(plan, N).infer(a),
        "batch": lambda a: Emulator(plan).infer_many(a),
        "classify": lambda a: classify(plan, state, a),
    }


def takes(taker: Callable[[Mapping[str, Any]], object], given: Mapping[str, Any]) -> str:
    """ "" if the arrays are taken, else the one line that says why not."""
    try:
        taker(given)
    except SynapccError as error:
        assert "\n" not in str(error) and error.hint
        return str(error)
    return ""


def layouts(shape: tuple[int, ...], rng: Rng) -> set[tuple[int, ...]]:
    """Shapes that N samples of `shape` might have in a file, right and wrong ones."""
    out = {(N, *p) for p in itertools.permutations(shape)}
    out |= {(N, int(np.prod(shape))), shape, (N,), (), (*shape, N), (0, *shape), (N, 0)}
    for _ in range(6):
        at = int(rng.integers(0, len(shape) + 1))
        out |= {(N, *shape[:at], 1, *shape[at:]), (N, *shape[:at], 2, *shape[at:])}
        out.add((N, *(int(n) for n in rng.integers(1, 5, rng.integers(1, 5)))))
    return out


@pytest.mark.parametrize("seed", range(12))
def test_everyone_takes_the_same_layouts(seed: int) -> None:
    """[n, *shape] or [n, size], and nothing else: values in another order mean something else."""
    rng = np.random.default_rng([2, seed])
    shape = tuple(int(n) for n in rng.integers(1, 6, rng.integers(1, 5)))
    graph = dense_behind(shape)
    x = rng.normal(size=(40, *shape)).astype(np.float32)
    plan = compile_model(graph, RuleSpec("none"), {"x": x}).plan
    checked = 0
    for layout in layouts(shape, rng):
        fits = layout in ((N, *shape), (N, int(np.prod(shape))))
        given = rng.normal(size=layout).astype(np.float32)
        for name, taker in takers(graph, plan).items():
            said = takes(taker, {"x": given})
            alone = name in ("calibration", "data", "quantiser", "batch", "classify")
            if alone and layout[1:] in (shape, (int(np.prod(shape)),)) and layout[:1] not in ((), (0,)):
                fits_here = True  # any number of samples
            else:
                fits_here = fits
            assert (said == "") == fits_here, (name, layout, shape, said)
            assert not said or f"shape {layout}" in said, said
            checked += bool(said)
    assert checked > 20


def test_a_flat_sample_means_the_values_in_the_files_order() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 3, 4)).astype(np.float32)
    plan = compile_model(dense_behind((3, 4)), RuleSpec("none"), {"x": x}).plan
    a, b = (quantise_inputs(plan, {"x": v})["x"] for v in (x, x.reshape(N, 12)))
    assert np.array_equal(a, b) and np.array_equal(a, plan.quantiser("x").integers(x.reshape(N, 12)))


@pytest.mark.parametrize("seed", range(20))
def test_the_hint_makes_the_layout_that_the_model_takes(seed: int) -> None:
    """What a message says to do with a transposed or wrapped array gives one that is taken."""
    rng = np.random.default_rng([3, seed])
    shape = tuple(int(n) for n in rng.integers(2, 6, rng.integers(2, 5)))
    plan = compile_model(
        dense_behind(shape), RuleSpec("none"), {"x": rng.normal(size=(40, *shape)).astype(np.float32)}
    ).plan
    for order in itertools.permutations(range(len(shape))):
        x = np.zeros((N, *(shape[i] for i in order)), np.float32)
        said = takes(lambda a: quantise_inputs(plan, a), {"x": x})
        if said:
            assert "its axes are in another order, numpy.transpose(x" in said
            made = eval(said.split("order, ")[1], {"numpy": np, "x": x})
            assert made.shape == (N, *shape)
    wrapped = np.zeros((N, *shape[:1], 1, *shape[1:]), np.float32)
    said = takes(lambda a: quantise_inputs(plan, a), {"x": wrapped})
    made = eval(said.split("]: ")[1], {"numpy": np, "x": wrapped})
    assert "numpy.reshape(x" in said and made.shape == (N, *shape)
    assert "x[numpy.newaxis]" in takes(lambda a: quantise_inputs(plan, a), {"x": np.zeros(shape, "f4")})


def test_a_float_run_takes_no_array_that_would_be_spread() -> None:
    x = np.random.default_rng(1).normal(size=(N, 6)).astype(np.float32)
    c = compile_model(dense_behind((2, 3)), RuleSpec("none"), {"x": x})
    machine = RealMachine(c.abstract.values, c.abstract.programs, N, shared=True)
    machine.load({"x": x})
    for bad in (x[:1], x[0], x.reshape(N, 2, 3), x.T, np.float32(1)):
        with pytest.raises(SynapccError, match="float run: x has shape"):
            machine.load({"x": bad})


STRANGE: dict[str, tuple[Any, str]] = {
    "complex": (np.ones((N, 6), complex), "x is complex128"),
    "bool": (np.ones((N, 6), bool), "x is bool"),
    "text": (np.full((N, 6), "1"), "x is <U1"),
    "time": (np.zeros((N, 6), "M8[s]"), "x is datetime64"),
    "objects": (np.full((N, 6), None), "x is object"),
    "records": (np.zeros((N, 6), [("a", "f4")]), "x is "),
    "nothing": (None, "x is object"),
    "ragged": ([[1.0] * 6, [1.0] * 5], "x is no array"),
    "NaN": (np.full((N, 6), np.nan, "f2"), "x has NaN or infinite values"),
    "infinite": (np.full((N, 6), -np.inf, "f8"), "x has NaN or infinite values"),
    "none": (np.zeros((0, 6), "f4"), "shape (0, 6)"),
}


@pytest.mark.parametrize("what", STRANGE)
def test_arrays_that_hold_no_samples(what: str) -> None:
    graph = dense_behind((2, 3))
    plan = compile_model(graph, RuleSpec("none"), {"x": np.ones((N, 6), "f4")}).plan
    given, says = STRANGE[what]
    for name, taker in takers(graph, plan).items():
        assert says in takes(taker, {"x": given}), name
    for taker in takers(graph, plan).values():
        said = takes(taker, np.ones((N, 6), "f4"))  # type: ignore[arg-type]
        assert 'the inputs are ndarray; give each by its name: {"x": x}' in said


@pytest.mark.parametrize("seed", range(30))
def test_labels_are_classes_or_refused(seed: int) -> None:
    rng = np.random.default_rng([4, seed])
    y = rng.integers(0, 4, 9)
    for good in (y, y.astype(float), y.astype(np.uint8), list(map(int, y)), (y > 0), y.astype(">i2")):
        assert np.array_equal(check_labels(good, 4, "d"), np.asarray(good).astype(int))
    at = int(rng.integers(0, 9))
    for wrong in (4, -1, 1 << 40, -(1 << 40)):
        bad = y.copy()
        bad[at] = wrong
        with pytest.raises(SynapccError, match=rf"label\[{at}\] is {wrong}; .* classes 0 to 3"):
            check_labels(bad, 4, "d")
    for value in (0.5, np.nan, np.inf):
        real = y.astype(float)
        real[at] = value
        with pytest.raises(SynapccError, match=rf"label\[{at}\] is {value}"):
            check_labels(real, 4, "d")
    for bad, hint in ((np.eye(4)[y], "argmax"), (y[:, None], "ravel"), (y.astype(str), "class numbers")):
        with pytest.raises(SynapccError, match=hint):
            check_labels(bad, 4, "d")


# ---- names --------------------------------------------------------------------------------------------

LETTERS = [*"xyzXY_:/.0 12-é", "input", "label", "serving_default_", "x_0", "_2"]


def named(names: list[str], folder: Path) -> Path:
    """A model of one dense layer over its inputs, [n, 2] each, that are called so."""
    joined = [om.node("Concat", "", "joined", "/cat", axis=1)]
    joined[0].input.extend(names)
    weights = {"w.weight": om.real(2 * len(names), 3)}
    proto = om.model(
        [*joined, om.node("MatMul", "joined w.weight", "out", "/fc/MatMul")],
        {name: ["batch", 2] for name in names},
        {"out": ["batch", 3]},
        weights,
    )
    return om.save(proto, folder)


def some_names(rng: Rng) -> list[str]:
    taken = {"joined", "w.weight", "out", "/fc/MatMul", ""}
    out: list[str] = []
    while len(out) < 3:
        word = "".join(rng.choice(LETTERS, rng.integers(1, 4)))
        word = str(rng.choice([word, *(x.lower() for x in out), *(x + "_2" for x in out)]))
        if word not in (*out, *taken):
            out.append(word)
    return out


@pytest.mark.parametrize("seed", range(40))
def test_an_input_has_the_files_name_and_its_own(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng([9, seed])
    names = some_names(rng)
    model = named(names, tmp_path)
    graph = load_model(model)
    assert [i.source for i in graph.interface] == names and not ambiguous(graph.interface)
    data = {i.name: rng.normal(size=(20, 2)).astype(np.float32) for i in graph.interface}
    y = rng.integers(0, 3, 20)
    plan = compile_model(model, RuleSpec("none"), data).plan
    assert load_plan(plan.canonical, "p").interface == plan.interface == graph.interface
    want = from_arrays(plan, {**data, "label": y}, "d", True)
    for _ in range(4):
        keys = {i.name: str(rng.choice(i.keys)) for i in plan.interface}
        renamed = {keys[name]: x for name, x in data.items()}
        path = save(tmp_path / "d.npz", {**renamed, "label": y})
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*nothing reads", DataWarning)
            got = load_samples(plan, path, labels=True)
        assert all(np.array_equal(got.inputs[n], want.inputs[n]) for n in want.inputs)
        assert compile_model(model, RuleSpec("none"), path).plan.digest == plan.digest
        one = Emulator(plan, 20).infer(renamed)
        assert np.array_equal(one.scores, Emulator(plan).infer_many(data).scores)
        for i in plan.interface:
            less = {k: v for k, v in renamed.items() if k != keys[i.name]}
            said = takes(lambda a: from_arrays(plan, a, "d", False), less)
            assert f"input {i.name}" in said and "is missing" in said
            if len(i.keys) > 1:
                twice = takes(
                    lambda a: from_arrays(plan, a, "d", False), {**renamed, **dict.fromkeys(i.keys, y)}
                )
                assert f"are both the input {i.name}; leave one of them out" in twice


def test_names_of_inputs_never_mean_two() -> None:
    rng = np.random.default_rng(5)
    for _ in range(2000):
        names = some_names(rng)
        given = input_identifiers(names)
        assert len(set(given.values())) == 3 and not RESERVED & set(given.values())
        assert all(given[n] == n or given[n] not in names for n in names)
    assert input_identifiers(["X:0", "x_0", "x_0_2"]) == {"x_0": "x_0", "x_0_2": "x_0_2", "X:0": "x_0_3"}
    long = ["a" * 48, "a" * 60, "a" * 48 + "_2"]
    given = input_identifiers(long)
    assert not ambiguous([Input(given[n], (1,), n) for n in long])


def test_a_plan_whose_names_are_not_clear_is_refused() -> None:
    with pytest.raises(CompileError, match="two inputs have this name"):
        tensors = {n: Tensor(n, (2,), source=s) for n, s in (("a", "b"), ("b", ""))}
        tensors |= {"c": Tensor("c", (4,))}
        verify(Graph("m", ("a", "b"), "c", tensors, (Node("concat", "j", ("a", "b"), "c"),)))
    plan = compile_model(dense_behind((3,), "X:0"), RuleSpec("none"), {"X:0": np.ones((2, 3))}).plan
    for text in (b'"input_sources":[""]', b'"input_sources":[]', b'"input_sources":[3]'):
        with pytest.raises(SynapccError, match="not clear"):
            load_plan(plan.canonical.replace(b'"input_sources":["X:0"]', text), "p")


def test_every_command_takes_the_files_name(tmp_path: Path, capsys: Capsys) -> None:
    proto = om.mlp((12, 8, 3))
    source = "serving_default_x:0"
    proto.graph.input[0].name = proto.graph.node[0].input[0] = source
    a = arrays()
    data = save(tmp_path / "d.npz", {source: a["input"], "label": a["label"]})
    c = Case(om.save(proto, tmp_path), write_rule(tmp_path / "rule.toml"), data)
    out, result = tmp_path / "out", str(tmp_path / "r.npz")
    assert main(c.words(out)) == 0
    for words in (
        ["verify", str(out), "--data", str(data), "--device", "process", "--steps", "3"],
        ["emulate", str(out), "--data", str(data), "--learn", "-o", result],
        ["inspect", str(out), "--learn", str(data)],
        ["pull", str(out), "--device", "process", "--learn", str(data), "--npz", str(tmp_path / "w.npz")],
        ["bench", str(out), "--data", str(data), "--device", "unicorn", "--samples", "2"],
    ):
        capsys.readouterr()
        assert main(words) == 0
        said = capsys.readouterr()
        assert " % of serving_default_x_0" in said.out and "clipped" in said.out and not said.err, words
    missing = save(tmp_path / "m.npz", {"x": a["input"], "label": a["label"]})
    emulate = ["emulate", str(out), "-o", result, "--data"]
    both = f'input serving_default_x_0 or "{source}" is missing'
    assert both in refusal([*emulate, str(missing)], capsys)
    assert both in refusal(Case(c.model, c.rule, missing).words(tmp_path / "no"), capsys)
    assert "there is x, label" in refusal([*emulate, str(missing)], capsys)
    twice = save(tmp_path / "t.npz", {source: a["input"], "serving_default_x_0": a["input"]})
    assert "are both the input serving_default_x_0" in refusal([*emulate, str(twice)], capsys)


# ---- units --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    return compiled(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def pair() -> Compiled:
    rng = np.random.default_rng(7)
    return compile_model(dense_behind((2, 3)), RuleSpec("none"), {"x": rng.normal(size=(99, 6))})


@pytest.mark.parametrize("seed", range(20))
def test_clipped_values_are_counted_as_they_are(seed: int, pair: Compiled) -> None:
    """Against the definition: a value is clipped if another integer than int8 holds would stand for it."""
    rng = np.random.default_rng([6, seed])
    plan, frac = pair.plan, pair.plan["x"].frac
    x = (rng.normal(size=(50, 2, 3)) * 4.0 ** rng.integers(-2, 4)).astype(rng.choice(["f4", "f8"]))
    x[0, 0] = [127 * 2.0**-frac, -128 * 2.0**-frac, 127.4999 * 2.0**-frac]
    exact = [round(float(np.float32(v)) * 2.0**frac) for v in x.ravel()]
    want = sum(not -128 <= q <= 127 for q in exact)
    clipping = Clipping(plan)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        q = quantise_inputs(plan, {"x": x}, clipping=clipping)
        clipping.warn("d.npz")
        clipping.warn("d.npz")
    assert clipping.clipped == {"x": want} and clipping.shares == {"x": want / 300}
    assert len(told) == (want / 300 > 0.01)
    if told:
        assert told[0].category is DataWarning
        assert f"d.npz: {want} of 300 values ({want / 3:.3g} %) of input x" in str(told[0].message)
    again = Clipping(plan)
    assert np.array_equal(quantise_inputs(plan, q, clipping=again)["x"], q["x"]) and again.shares == {}


def test_huge_values_are_clipped_and_told(pair: Compiled) -> None:
    x = np.zeros((50, 6))
    x[3, 2], x[4, 1] = 1e300, -3e38
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples = from_arrays(pair.plan, {"x": x + 1.0}, "d", labels=False)
    assert samples.clipped == {"x": 2 / 300}
    assert samples.inputs["x"][3, 2] == 127 and samples.inputs["x"][4, 1] == -128


def test_every_command_tells_what_was_clipped(
    project: tuple[Case, Path], tmp_path: Path, capsys: Capsys
) -> None:
    _, out = project
    a, frac = arrays(), Emulator(out).plan["input"].frac
    scaled = np.rint(1000.0 * a["input"] * 2.0**frac)
    count = int(np.count_nonzero((scaled < -128) | (scaled > 127)))
    units = save(tmp_path / "units.npz", {**a, "input": 1000 * a["input"], "labels": a["label"]})
    chip = save(tmp_path / "chip.npz", {**a, "input": Quantiser.power(frac).integers(a["input"])})
    tiny = save(tmp_path / "tiny.npz", {**a, "input": a["input"] / 1000})
    for words in (
        ["verify", str(out), "--device", "process", "--steps", "3", "--data"],
        ["emulate", str(out), "-o", str(tmp_path / "r.npz"), "--data"],
        ["emulate", str(out), "--learn", "-o", str(tmp_path / "r.npz"), "--data"],
        ["inspect", str(out), "--learn"],
        ["pull", str(out), "--device", "process", "--npz", str(tmp_path / "w.npz"), "--learn"],
        ["bench", str(out), "--device", "unicorn", "--samples", "2", "--data"],
    ):
        capsys.readouterr()
        assert main([*words, str(units)]) == 0
        said = capsys.readouterr()
        lines = said.err.splitlines()
        assert f"clipped {count / 7.2:.3g} % of input" in said.out and len(lines) == 2, words
        assert lines[0].startswith(f"synapcc {words[0]}: warning: {units}: {count} of 720 values (")
        assert "other units" in lines[0] and "nothing reads these arrays: labels" in lines[1]
        assert main([*words, str(chip)]) == 0
        said = capsys.readouterr()
        assert "clipped nothing, int8 as the chip takes it" in said.out and not said.err
        assert main([*words, str(tiny)]) == 0
        said = capsys.readouterr()
        assert "clipped 0 % of input" in said.out and "of the 127 units" in said.err


def test_a_label_array_of_another_name_is_told(project: tuple[Case, Path], tmp_path: Path) -> None:
    a = arrays()
    data = save(tmp_path / "d.npz", {"input": a["input"], "Label": a["label"]})
    with pytest.raises(SynapccError, match=r"label is missing; .* there is input, Label"):
        load_samples(Emulator(project[1]).plan, data, labels=True)
    with pytest.warns(DataWarning, match="nothing reads these arrays: Label"):
        load_samples(Emulator(project[1]).plan, data, labels=False)
    c = project[0]
    notes = compile_model(c.model, c.rule, data).graph.notes
    assert "nothing reads these arrays of the calibration data: Label" in notes


def test_names_from_outside_cannot_write_to_the_terminal(project: tuple[Case, Path]) -> None:
    given = {"\x1b[31m" + "y" * 500: np.ones((2, 12), "f4"), **{f"k{i}": 0 for i in range(99)}}
    said = takes(lambda a: from_arrays(Emulator(project[1]).plan, a, "d", False), given)
    assert said.isprintable() and "and 92 more" in said and len(said) < 300
