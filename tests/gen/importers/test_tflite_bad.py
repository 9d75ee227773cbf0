"""A .tflite file that cannot be compiled is one clear line: operator, node, place, and what is nearest."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from fuzz_tflite import options_at
from lite import Author, oracle

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.spec import RuleSpec
from synapcc.host.cli import main

IN, OUT = 6, 3


def dense(
    kind: str = "INT8", weight: str = "", scale: float | None = 0.1, batch: int = 1, back: bool = False
) -> Author:
    """x -> FULLY_CONNECTED -> y; with `back` also y2, a RELU of y, as a second output."""
    a = Author()
    real = kind == "FLOAT32"
    x = a.tensor("x", (batch, IN), kind, None if real else scale)
    data = np.random.default_rng(0).integers(-100, 100, (OUT, IN))
    w = a.tensor("w", (OUT, IN), weight or ("FLOAT32" if real else "INT8"), 0.01, data=data)
    y = a.tensor("y", (batch, OUT), kind, None if real else scale)
    a.op("FULLY_CONNECTED", [x, w], [y], "FullyConnectedOptions")
    ends = [y]
    if back:
        ends.append(a.tensor("y2", (batch, OUT), kind))
        a.op("RELU", [y], [ends[-1]])
    a.graph.inputs, a.graph.outputs = [x], ends
    return a


def unary(name: str, kind: str = "FLOAT32", custom: bytes = b"") -> Author:
    """A float dense layer and an operator behind it."""
    a = dense("FLOAT32")
    z = a.tensor("z", (1, OUT), kind)
    a.op(name, [a.graph.outputs[0]], [z])
    if custom:
        a.model.operatorCodes[-1].customCode = custom
    a.graph.outputs = [z]
    return a


def edited(edit: Callable[[Author], object], a: Author | None = None) -> Author:
    a = a or dense()
    edit(a)
    return a


def _signature(a: Author) -> None:
    a.graph.tensors[0].shapeSignature = [-1, -1]


def _variable(a: Author) -> None:
    a.graph.tensors[0].isVariable, a.graph.inputs = True, []


def _sparse(a: Author) -> None:
    a.graph.tensors[1].sparsity = schema.SparsityParametersT()


def _external(a: Author) -> None:
    a.graph.tensors[1].buffer, a.graph.tensors[1].externalBuffer = 0, 7


def _far_buffer(a: Author) -> None:
    buffer = a.model.buffers[a.graph.tensors[1].buffer]
    buffer.data, buffer.offset, buffer.size = None, 1 << 20, 99


def _second_graph(a: Author) -> None:
    other = schema.SubGraphT()
    other.tensors, other.operators, other.inputs, other.outputs = [], [], [], []
    a.model.subgraphs.append(other)


def turned() -> Author:
    """A convolution whose output the file gives the other way round."""
    a = Author()
    x, y = a.tensor("x", (1, 4, 2, 1), "FLOAT32"), a.tensor("y", (1, 2, 4, 1), "FLOAT32")
    weights = [a.tensor(n, s, "FLOAT32", data=np.ones(s)) for n, s in (("w", (1, 1, 1, 1)), ("b", (1,)))]
    options = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    a.op("CONV_2D", [x, *weights], [y], "Conv2DOptions", 1, **options)
    a.graph.inputs, a.graph.outputs = [x], [y]
    return a


def circle(twice: bool) -> Author:
    """A choice by what stands in a circle: one tensor is made a second time, or is read before."""
    a = dense("FLOAT32")
    y, count, shape = a.graph.outputs[0], len(a.graph.operators), (1, OUT)
    t, u, z = (a.tensor(name, shape, "FLOAT32") for name in "tuz")
    which, none = a.tensor("which", shape, "BOOL"), a.tensor("none", (), "FLOAT32", data=[0.0])
    a.op("RELU", [y], [t])
    a.op("RELU", [t], [u])
    a.op("GREATER", [u, none], [which], "GreaterOptions")
    a.op("SELECT_V2", [which, u, none], [z], "SelectV2Options")
    a.op("RELU", [u], [t])
    a.graph.outputs = [z]
    if not twice:
        del a.graph.operators[count]
    return a


CASES: dict[str, tuple[Callable[[], Author], str]] = {
    "uint8": (
        lambda: dense("UINT8"),
        'tensor "x": is uint8, as TensorFlow 1 writes it; in front of or behind QUANTIZE',
    ),
    "string": (lambda: dense("STRING"), 'tensor "x": is string; convert the model to int8'),
    "no scale": (lambda: dense(scale=None), "is int8 without a scale"),
    "weights of 16 bits": (
        lambda: dense("FLOAT32", "INT16"),
        'FULLY_CONNECTED "y" (operator 0): its input is float32, its weight int16',
    ),
    "batch": (
        lambda: dense(batch=4),
        'tensor "x": is an input of shape (4, 6), a batch of 4; convert with a',
    ),
    "dynamic shape": (lambda: edited(_signature), "is an input of the dynamic shape (-1, -1); convert with"),
    "shape of -1": (
        lambda: edited(lambda a: setattr(a.graph.tensors[0], "shape", [1, -1])),
        "has the dynamic shape (1, -1)",
    ),
    "made twice": (lambda: circle(True), 'RELU "t" (operator 5): gives tensor "t", which exists already'),
    "a circle": (lambda: circle(False), 'RELU "u" (operator 1): reads tensor "t", which nothing before it'),
    "variable": (lambda: edited(_variable), '(operator 0): keeps a state: tensor "x" is a variable'),
    "sparse": (lambda: edited(_sparse), 'tensor "w": is stored sparsely; convert without sparsity'),
    "external": (
        lambda: edited(_external),
        'tensor "w": lies in a file of its own; convert with the weights',
    ),
    "behind the tables": (lambda: edited(_far_buffer), 'tensor "w": lies outside of the file\'s tables'),
    "graphs": (
        lambda: edited(_second_graph),
        "holds 2 graphs, as control flow needs them; convert a model of",
    ),
    "lstm": (
        lambda: unary("UNIDIRECTIONAL_SEQUENCE_LSTM"),
        'UNIDIRECTIONAL_SEQUENCE_LSTM "z" (operator 1): is not supported: it keeps a state between calls;',
    ),
    "while": (lambda: unary("WHILE"), 'WHILE "z" (operator 1): is not supported: control flow; convert one'),
    "custom": (
        lambda: unary("CUSTOM", custom=b"TFLite_Detection_PostProcess"),
        'CUSTOM TFLite_Detection_PostProcess "z" (operator 1): is not supported: an operator that is none of',
    ),
    "nearest": (
        lambda: unary("CONV_3D"),
        "is not supported in float32; nearest is CONV_2D; supported are ABS,",
    ),
    "other shape": (
        lambda: edited(lambda a: setattr(a.graph.tensors[2], "shape", [1, 7])),
        'FULLY_CONNECTED "y" (operator 0): makes 3 values, the file says (1, 7); the file is damaged',
    ),
    "turned map": (
        turned,
        'CONV_2D "y" (operator 0): makes (1, 4, 2, 1), the file says (1, 2, 4, 1); the file is damaged',
    ),
    "sizes": (
        lambda: edited(lambda a: setattr(a.graph.tensors[3], "shape", [1, 7]), unary("TANH")),
        'TANH "z" (operator 1): makes shape (1, 7) of (1, 3)',
    ),
    "outputs": (
        lambda: dense("FLOAT32", back=True),
        'has 2 outputs: "y", "y2"; choose the one with the class',
    ),
    "no output": (lambda: edited(lambda a: a.graph.outputs.clear()), "the network has no output"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_is_one_line_that_helps(case: str, tmp_path: Path) -> None:
    build, says = CASES[case]
    a = build()
    (tmp_path / "net.tflite").write_bytes(a.bytes(a.graph.inputs, a.graph.outputs))
    with pytest.raises(CompileError) as caught:
        load_model(tmp_path / "net.tflite")
    message = str(caught.value)
    assert says in message and "\n" not in message and caught.value.hint
    assert len(message) < 1000


def test_options_that_lie_elsewhere(tmp_path: Path) -> None:
    """Wherever an operator says that its options are, beyond the file too."""
    a = dense("FLOAT32")
    whole, refused = a.bytes(a.graph.inputs, a.graph.outputs), 0
    for to in (*range(0, len(whole), 9), 2**16, 2**31 - 1, 2**32 - 1):
        (tmp_path / "net.tflite").write_bytes(options_at(whole, 0, to))
        try:
            load_model(tmp_path / "net.tflite")
        except CompileError as error:
            assert str(error).count("\n") == 0
            refused += 1
    assert refused > 9


def test_files_that_are_none(tmp_path: Path) -> None:
    path, a = tmp_path / "net.tflite", dense()
    whole = a.bytes(a.graph.inputs, a.graph.outputs)
    for data, says in ((b"", "the file is empty"), (b"ONNX" * 9, "not a TensorFlow Lite file")):
        path.write_bytes(data)
        with pytest.raises(CompileError, match=re.escape(says)):
            load_model(path)
    refused = 0
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            load_model(path)
        except CompileError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 0.9 * len(whole)


def test_one_of_several_outputs_is_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = dense("FLOAT32", back=True)
    data = a.bytes(a.graph.inputs, a.graph.outputs)
    path, rule = tmp_path / "net.tflite", tmp_path / "none.toml"
    path.write_bytes(data)
    rule.write_text('rule = "none"\n')
    assert [n.op for n in load_model(path, output="y").nodes] == ["dense"]
    assert [n.op for n in load_model(path, output="y2").nodes] == ["dense", "clip"]
    with pytest.raises(CompileError, match='no output is called "z"; the outputs are "y", "y2"'):
        load_model(path, output="z")
    x = np.random.default_rng(1).normal(0, 1, (20, IN)).astype(np.float32)
    assert oracle(data, [x]).shape == (20, OUT)  # LiteRT runs it
    np.savez(tmp_path / "cal.npz", x=x)
    assert main(["inspect", str(path), "--scores", "y2"]) == 0
    assert "clip" in capsys.readouterr().out
    with pytest.raises(CompileError, match="chooses from a model file"):
        compile_model(load_model(path, output="y"), RuleSpec("none"), {"x": x}, output="y2")
    words = ["compile", str(path), "--rule", str(rule), "--calibrate", str(tmp_path / "cal.npz")]
    assert main([*words, "-o", str(tmp_path / "a")]) == 2
    assert "choose the one with the class scores: --scores NAME" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    assert main([*words, "-o", str(tmp_path / "a"), "--scores", "y2"]) == 0
    assert "--scores y2" in (tmp_path / "a" / "lib" / "net" / "src" / "net.h").read_text()


def test_compile_without_calibration_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole output folder, where a file brings all formats; else one line that says why not."""
    rules = {}
    for rule in ("none", "last"):
        rules[rule] = tmp_path / f"{rule}.toml"
        rules[rule].write_text(f'rule = "{rule}"\n')
    for name, a in (("ints", dense()), ("reals", dense("FLOAT32"))):
        (tmp_path / f"{name}.tflite").write_bytes(a.bytes(a.graph.inputs, a.graph.outputs))

    def run(model: str, rule: str) -> int:
        model_file, out = str(tmp_path / f"{model}.tflite"), str(tmp_path / f"{model}_{rule}")
        return main(["compile", model_file, "--rule", str(rules[rule]), "-o", out])

    assert run("ints", "none") == 0
    assert "calibration: none, all number formats are the file's" in capsys.readouterr().out
    folder = tmp_path / "ints_none"
    assert "--calibrate" not in (folder / "lib" / "ints" / "src" / "ints.h").read_text()
    assert "no calibration data were needed" in (folder / "report.html").read_text()
    for model, rule, why in (("ints", "last", "of what learns are"), ("reals", "none", "format of x is")):
        assert run(model, rule) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "calibration data: are missing" in line and why in line and "give --calibrate CAL.npz" in line
        assert not (tmp_path / f"{model}_{rule}").exists()
