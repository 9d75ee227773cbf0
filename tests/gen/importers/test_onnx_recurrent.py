"""RNN, GRU and LSTM of ONNX files, as PyTorch and Keras write them, against onnx's own evaluator."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from float_graph import run_graph
from onnx import ModelProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from recurrent_nets import FORMS, GATES, Sizes, recurrent_file, windows

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.exporters.onnx import export
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph
from synapcc.gen.spec import RuleSpec
from synapcc.host.run.emulator import Emulator


def loaded(model: ModelProto, folder: Path) -> Graph:
    path = folder / "net.onnx"
    onnx.save(model, path)
    return load_model(path)


def wanted(model: ModelProto, x: np.ndarray) -> np.ndarray:
    scores = ReferenceEvaluator(model).run(None, {"x": x})[0]
    assert isinstance(scores, np.ndarray)
    return scores


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cell", GATES)
def test_the_graph_computes_what_the_file_says(cell: str, form: str, tmp_path: Path) -> None:
    layers = 1 if form == "layout" else 2
    model, x = recurrent_file(cell, form, layers), windows(5)
    graph = loaded(model, tmp_path)
    got = np.stack([run_graph(graph, {"x": one}) for one in x])
    assert np.allclose(got, wanted(model, x), atol=1e-5)
    names = [n.name for n in graph.nodes if n.op == "recurrent"]
    assert names == [f"cell{k + 1}" for k in range(layers)]
    assert [n.attrs["all"] for n in graph.nodes if n.op == "recurrent"][-1] == int(form in ("all", "layout"))


def stacked(scalar: bool = False) -> tuple[ModelProto, np.ndarray]:
    """Two GRUs as `_, h = gru(x); fc(h[-1])` is exported: both last states side by side, of which one is
    taken."""
    rng, units, inputs, steps = np.random.default_rng(2), 5, 3, 6

    def put(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(rng.normal(0, 0.5, shape), np.float32), name)

    nodes = [helper.make_node("Transpose", ["x"], ["window"], perm=[1, 0, 2])]
    given = [numpy_helper.from_array(np.array([1]), "axis"), numpy_helper.from_array(np.array(-1), "minus")]
    seen = "window"
    for k, size in ((1, inputs), (2, units)):
        given += [put(f"w{k}", 1, 3 * units, size), put(f"u{k}", *(() if scalar else (1, 3 * units, units)))]
        nodes.append(
            helper.make_node(
                "GRU",
                [seen, f"w{k}", f"u{k}"],
                [f"y{k}", f"h{k}"],
                name=f"cell{k}",
                hidden_size=units,
                linear_before_reset=1,
            )
        )
        nodes.append(helper.make_node("Squeeze", [f"y{k}", "axis"], [f"s{k}"]))
        seen = f"s{k}"
    nodes += [
        helper.make_node("Concat", ["h1", "h2"], ["h"], axis=0),
        helper.make_node("Gather", ["h", "minus"], ["top"], axis=0),
        helper.make_node("Gemm", ["top", "wo"], ["z"], transB=1),
    ]
    given.append(put("wo", 4, units))
    ends = ("x", (1, steps, inputs)), ("z", (1, 4))
    kinds = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in ends]
    graph = helper.make_graph(nodes, "net", kinds[:1], kinds[1:], given)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model, rng.normal(0, 1, (5, 1, steps, inputs)).astype(np.float32)


def test_a_cell_of_which_all_and_the_last_state_are_read_is_one_layer(tmp_path: Path) -> None:
    model, x = stacked()
    graph = loaded(model, tmp_path)
    assert [n.name for n in graph.nodes if n.op == "recurrent"] == ["cell1", "cell2"]
    want = np.concatenate([ReferenceEvaluator(model).run(None, {"x": one})[0] for one in x])
    got = np.stack([run_graph(graph, {"x": one[0]}) for one in x])
    assert np.allclose(got.reshape(want.shape), want, atol=1e-5)


def test_weights_that_are_none_are_one_line(tmp_path: Path) -> None:
    model, _ = stacked(scalar=True)
    with pytest.raises(CompileError, match="fit no window"):
        loaded(model, tmp_path)


def test_a_reset_in_front_of_the_product(tmp_path: Path) -> None:
    model, x = recurrent_file("GRU", "all", 2, linear_before_reset=0), windows(200)
    graph, want = loaded(model, tmp_path), wanted(model, x)
    got = np.stack([run_graph(graph, {"x": one}) for one in x[:5]])
    assert np.allclose(got, want[:5], atol=1e-5)
    (tmp_path / "net.onnx").write_bytes(export(graph))
    back = load_model(tmp_path / "net.onnx")
    assert np.allclose(np.stack([run_graph(back, {"x": one}) for one in x[:5]]), got, atol=1e-5)
    data = {"x": x, "label": want.argmax(axis=1)}
    plan = compile_model(graph, RuleSpec("none"), data).plan
    winner, _, _ = Emulator(plan, len(x), read_only=True).infer({"x": x})
    assert np.mean(winner == data["label"]) > 0.95
    with pytest.raises(CompileError, match="resets its state before the product, and learns nothing"):
        compile_model(graph, RuleSpec("dftt", layers="all", rate=6), data)


@pytest.mark.parametrize("cell", GATES)
def test_integers_agree_with_the_file(cell: str, tmp_path: Path) -> None:
    sizes = Sizes(40, 3, 8)
    model, x = recurrent_file(cell, "last", 2, sizes), windows(200, sizes)
    plan = compile_model(loaded(model, tmp_path), RuleSpec("none"), {"x": x}).plan
    want = wanted(model, x)
    winner, _, scores = Emulator(plan, len(x), read_only=True).infer({"x": x})
    assert np.mean(winner == want.argmax(axis=1)) > 0.95
    error = plan[plan.logits].meaning.real(scores) - want
    assert np.sqrt(np.mean(error**2)) < 0.05 * np.sqrt(np.mean(want**2))


def test_sums_have_room_for_every_step_of_time(tmp_path: Path) -> None:
    """What the gates of the first steps read is far larger than what those of the last one do."""
    x = windows(50)
    x[:, 0] *= 30.0
    x[:, -1] *= 0.01
    c = compile_model(loaded(recurrent_file("GRU"), tmp_path), RuleSpec("none"), {"x": x})
    seen, t = c.quantised.seen["cell1_sums"], c.plan["cell1_sums"]
    top = max(-seen.lo, seen.hi)
    node = next(n for n in c.graph.nodes if n.op == "recurrent")
    w, b = (np.asarray(c.graph.tensors[name].value) for name in node.inputs[1:3])
    assert np.isclose(top, np.abs(x @ w.T + b).max(), rtol=1e-5)
    assert top < t.hi * t.meaning.step


def with_operand(model: ModelProto, place: int, value: np.ndarray) -> ModelProto:
    node = next(n for n in model.graph.node if n.op_type in GATES)
    node.input.extend([""] * (place + 1 - len(node.input)))
    node.input[place] = "operand"
    model.graph.initializer.append(numpy_helper.from_array(value, "operand"))
    return model


def with_input(model: ModelProto) -> ModelProto:
    node = next(n for n in model.graph.node if n.op_type in GATES)
    node.input.extend(["", "first"])
    shape = helper.make_tensor_value_info("first", onnx.TensorProto.FLOAT, ["batch", 1, 5])
    model.graph.input.append(shape)
    model.graph.node.insert(0, helper.make_node("Transpose", ["first"], ["turned"], perm=[1, 0, 2]))
    node.input[5] = "turned"
    return model


REFUSED: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "direction": (lambda: recurrent_file("GRU", direction="reverse"), "runs reverse"),
    "activations": (lambda: recurrent_file("RNN", activations=["Relu"]), "has the activations relu"),
    "clip": (lambda: recurrent_file("LSTM", clip=3.0), "clips what its activations read"),
    "coupled": (lambda: recurrent_file("LSTM", input_forget=1), "couples its input and forget gates"),
    "size": (lambda: recurrent_file("GRU", hidden_size=4), "says hidden_size 4 of 5 units"),
    "lengths": (
        lambda: with_operand(recurrent_file("GRU"), 4, np.array([6], np.int32)),
        "stops after [6] of 7 steps",
    ),
    "first state": (
        lambda: with_operand(recurrent_file("GRU"), 5, np.ones((1, 1, 5), np.float32)),
        "its first hidden state is not zero",
    ),
    "given state": (lambda: with_input(recurrent_file("GRU")), "its first hidden state is computed"),
    "peepholes": (
        lambda: with_operand(recurrent_file("LSTM"), 7, np.ones((1, 15), np.float32)),
        "has peepholes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_usual_cell_is_refused_by_name(case: str, tmp_path: Path) -> None:
    make, says = REFUSED[case]
    with pytest.raises(CompileError, match=re.escape(says)) as told:
        loaded(make(), tmp_path)
    assert "cell1" in told.value.where and told.value.hint


def with_zeros_of_the_batch(model: ModelProto) -> ModelProto:
    """A first state as exporters write it: zeros, as many as there are samples."""
    node = next(n for n in model.graph.node if n.op_type in GATES)
    made = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["samples"], axis=0),
        helper.make_node("Concat", ["one", "samples", "units"], ["wanted"], axis=0),
        helper.make_node("ConstantOfShape", ["wanted"], ["zeros"]),
    ]
    model.graph.initializer.append(numpy_helper.from_array(np.array([5]), "units"))
    for place, one in enumerate(made):
        model.graph.node.insert(place, one)
    node.input.extend(["", "zeros", "zeros"] if node.op_type == "LSTM" else ["", "zeros"])
    return model


@pytest.mark.parametrize("cell", GATES)
def test_a_first_state_made_for_the_batch(cell: str, tmp_path: Path) -> None:
    model, x = with_zeros_of_the_batch(recurrent_file(cell, "row", 2)), windows(3)
    got = np.stack([run_graph(loaded(model, tmp_path), {"x": one}) for one in x])
    assert np.allclose(got, wanted(model, x), atol=1e-5)


def test_a_first_state_of_zero_and_full_lengths_are_nothing(tmp_path: Path) -> None:
    model = with_operand(recurrent_file("GRU"), 5, np.zeros((1, 1, 5), np.float32))
    lengths = with_operand(recurrent_file("GRU"), 4, np.array([7], np.int32))
    plain = [n.attrs for n in loaded(recurrent_file("GRU"), tmp_path).nodes]
    for other in (model, lengths):
        assert [n.attrs for n in loaded(other, tmp_path).nodes] == plain


def test_a_network_that_ends_in_a_cell_is_refused(tmp_path: Path) -> None:
    model = recurrent_file("GRU")
    gemm = model.graph.node.pop()
    assert gemm.op_type == "Gemm"
    model.graph.output[0].name = "flat"
    graph = loaded(model, tmp_path)
    with pytest.raises(CompileError, match="its hidden state would be the scores"):
        compile_model(graph, RuleSpec("none"), {"x": windows(20)})
