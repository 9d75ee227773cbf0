"""Float inputs and outputs of int8 .tflite files: QUANTIZE and DEQUANTIZE are LiteRT's, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lite import Author, answers, compiled, oracle
from numpy.typing import NDArray
from onnx import load_from_string
from onnx.reference import ReferenceEvaluator

from synapcc.gen import emit
from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.exporters import quantised_onnx
from synapcc.gen.importers import load_model
from synapcc.gen.ir.format import Scaled
from synapcc.gen.ir.quantiser import AffineQuantiser
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec
from synapcc.host.run.emulator import Emulator

Rng = np.random.Generator
INPUTS, CLASSES = 12, 3


def floats(rng: Rng, scale: float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """On ties, one step beside them, anywhere near; and of any size that LiteRT's int32 holds."""
    near = (rng.integers(-600, 600, shape) / 2 * scale).astype(np.float32)
    beside = np.nextafter(near, rng.choice(np.float32([-np.inf, np.inf]), shape))
    far = (rng.choice([-1, 1], shape) * scale * 2.0 ** rng.uniform(-160, 30, shape)).astype(np.float32)
    return np.choose(rng.integers(0, 4, shape), [near, beside, far, rng.normal(0, 60 * scale, shape)]).astype(
        np.float32
    )


def pair(rng: Rng) -> tuple[float, int]:
    log = rng.uniform(-20, 10)
    scale = float(np.float32(2.0 ** (log if rng.integers(3) else round(log))))
    return scale, int(rng.choice([-128, 0, 127, rng.integers(-128, 128)]))


def test_a_quantiser_is_litert_s_quantize() -> None:
    rng, seen = np.random.default_rng(1), set[int]()
    for _ in range(200):
        scale, zero = pair(rng)
        a = Author()
        x, y = a.tensor("x", (1, 50), "FLOAT32"), a.tensor("y", (1, 50), scale=scale, zero=zero)
        a.op("QUANTIZE", [x], [y], "QuantizeOptions")
        values = floats(rng, scale, (10, 50))
        want = oracle(a.bytes([x], [y]), [values])
        got = AffineQuantiser(scale, zero).integers(values)
        assert np.array_equal(got, want), values[got != want]
        seen |= {*want.ravel().tolist()}
    assert len(seen) == 256


def network(
    rng: Rng, viewed: bool = False, readers: int = 1, given: tuple[float, int] | None = None
) -> tuple[Author, int, int, float]:
    """The author, input, output and input scale of a network that is int8 between float ends."""
    a, (scale, zero) = Author(), given or pair(rng)
    x = now = a.tensor("x", (1, 3, 4) if viewed else (1, INPUTS), "FLOAT32")
    if viewed:
        now = a.tensor("flat", (1, INPUTS), "FLOAT32")
        a.op("RESHAPE", [x, a.tensor("to", (2,), "INT32", data=[1, INPUTS])], [now], "ReshapeOptions")
    held = []
    for i in range(readers):
        held.append(a.tensor(f"q{i}", (1, INPUTS), scale=scale, zero=zero))
        a.op("QUANTIZE", [now], [held[-1]], "QuantizeOptions")
    weight = a.tensor("w", (CLASSES, INPUTS), scale=0.01, data=rng.integers(-127, 128, (CLASSES, INPUTS)))
    out = a.tensor("y", (1, CLASSES), scale=scale * 3, zero=int(rng.integers(-128, 128)))
    a.op("FULLY_CONNECTED", [held[-1], weight], [out], "FullyConnectedOptions", 4)
    end = a.tensor("real", (1, CLASSES), "FLOAT32")
    a.op("DEQUANTIZE", [out], [end], "DequantizeOptions")
    return a, x, end, scale


def of_bytes(rng: Rng, viewed: bool, factor: float = 1.0, more: int = 128, softmax: bool = True) -> bytes:
    """A network between uint8 ends, as inference_input_type = tf.uint8 makes it; factor, more: by how much
    the input's scale and zero point are more than those of its QUANTIZE."""
    a, (scale, zero) = Author(), (0.0078, int(rng.integers(-128, 128)))
    held: dict[str, float] = {"scale": scale * factor, "zero": zero + more}
    x = now = a.tensor("x", (1, 3, 4) if viewed else (1, INPUTS), "UINT8", **held)
    if viewed:
        now = a.tensor("flat", (1, INPUTS), "UINT8", **held)
        a.op("RESHAPE", [x, a.tensor("to", (2,), "INT32", data=[1, INPUTS])], [now], "ReshapeOptions")
    whole = a.tensor("whole", (1, INPUTS), scale=scale, zero=zero)
    a.op("QUANTIZE", [now], [whole], "QuantizeOptions", 2)
    weight = a.tensor("w", (CLASSES, INPUTS), scale=0.01, data=rng.integers(-127, 128, (CLASSES, INPUTS)))
    y = a.tensor("y", (1, CLASSES), scale=0.03, zero=5)
    a.op("FULLY_CONNECTED", [whole, weight], [y], "FullyConnectedOptions", 4)
    last, (step, at) = y, (0.03, 5)
    if softmax:
        last, (step, at) = a.tensor("z", (1, CLASSES), scale=1 / 256, zero=-128), (1 / 256, -128)
        a.op("SOFTMAX", [y], [last], "SoftmaxOptions", beta=1.0)
    end = a.tensor("end", (1, CLASSES), "UINT8", scale=step, zero=at + 128)
    a.op("QUANTIZE", [last], [end], "QuantizeOptions", 2)
    return a.bytes([x], [end])


@pytest.mark.parametrize("viewed", [False, True])
@pytest.mark.parametrize("softmax", [False, True])
def test_uint8_at_both_ends_is_int8_less_128(viewed: bool, softmax: bool, tmp_path: Path) -> None:
    rng, seen = np.random.default_rng(8), set[int]()
    for _ in range(5):
        data = of_bytes(rng, viewed, softmax=softmax)
        x = rng.integers(0, 256, (50, INPUTS)).astype(np.uint8)
        c = compiled(data, tmp_path)
        got = answers(c, [(x.astype(np.int16) - 128).astype(np.int8)])
        want = oracle(data, [x])
        assert np.array_equal(got + 128, want)
        assert sum("uint8" in note for note in c.graph.notes) == 2
        seen |= {*want.ravel().tolist()}
    assert len(seen) > 100


@pytest.mark.parametrize("factor, more", [(2.0, 128), (1.0, 127)])
def test_uint8_of_another_scale_is_refused(factor: float, more: int, tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(of_bytes(np.random.default_rng(9), False, factor, more))
    with pytest.raises(CompileError, match=r'tensor "x": is uint8.*behind QUANTIZE with int8 of one scale'):
        load_model(tmp_path / "net.tflite")


@pytest.mark.parametrize("kind, off", [("INT8", 0), ("UINT8", 128)])
@pytest.mark.parametrize("scale, zero", [(0.1, 0), (0.2, 0), (0.1, 5)])
def test_a_view_does_not_rescale(kind: str, off: int, scale: float, zero: int, tmp_path: Path) -> None:
    """LiteRT moves the bytes, whatever scale the file gives them behind a RESHAPE."""
    a, x8 = Author(), np.arange(-60, 60, 5).reshape(4, 6)
    x = a.tensor("x", (1, 6), kind, scale=0.1, zero=off)
    v = a.tensor("v", (1, 2, 3), kind, scale=scale, zero=zero + off)
    a.op("RESHAPE", [x, a.tensor("to", (3,), "INT32", data=[1, 2, 3])], [v], "ReshapeOptions")
    q, t = a.tensor("q", (1, 2, 3), scale=0.1, zero=0), a.tensor("t", (1, 2, 3), scale=1 / 128)
    a.op("QUANTIZE", [v], [q], "QuantizeOptions", 2)
    a.op("TANH", [q], [t], "", 2)
    data = a.bytes([x], [t])
    if (scale, zero) != (0.1, 0):
        with pytest.raises(CompileError, match=r"does not rescale|is uint8"):
            compiled(data, tmp_path)
        return
    got = answers(compiled(data, tmp_path), [x8.astype(np.int8)])
    want = oracle(data, [(x8 + off).astype(kind.lower())])
    assert np.array_equal(got.reshape(want.shape), want)


def test_uint8_inside_a_network_is_refused(tmp_path: Path) -> None:
    """LiteRT runs some operators on uint8; the chip would take its bytes for int8."""
    a, rng = Author(), np.random.default_rng(5)
    x, u = a.tensor("x", (1, 6), scale=0.1), a.tensor("u", (1, 6), "UINT8", scale=0.1, zero=128)
    a.op("QUANTIZE", [x], [u], "QuantizeOptions", 2)
    w = a.tensor("w", (3, 6), scale=0.02, data=rng.integers(-127, 128, (3, 6)))
    y = a.tensor("y", (1, 3), scale=0.05)
    a.op("FULLY_CONNECTED", [u, w], [y], "FullyConnectedOptions")
    with pytest.raises(
        CompileError, match=r'computes on tensor "u" in uint8; uint8 is taken at the ends alone'
    ):
        compiled(a.bytes([x], [y]), tmp_path)


def test_uint8_between_int8_is_no_end(tmp_path: Path) -> None:
    """LiteRT brings the bytes back; the scores are those of int8, and no note says otherwise."""
    a, rng = Author(), np.random.default_rng(6)
    x, u = a.tensor("x", (1, 6), scale=0.1), a.tensor("u", (1, 6), "UINT8", scale=0.1, zero=128)
    a.op("QUANTIZE", [x], [u], "QuantizeOptions", 2)
    q, w = a.tensor("q", (1, 6), scale=0.1), a.tensor("w", (3, 6), scale=0.02, data=np.eye(3, 6) * 50)
    a.op("QUANTIZE", [u], [q], "QuantizeOptions", 2)
    y = a.tensor("y", (1, 3), scale=0.05)
    a.op("FULLY_CONNECTED", [q, w], [y], "FullyConnectedOptions", 4)
    data = a.bytes([x], [y])
    c, given = compiled(data, tmp_path), rng.integers(-128, 128, (20, 6)).astype(np.int8)
    assert np.array_equal(answers(c, [given]), oracle(data, [given]))
    assert not [note for note in c.graph.notes if "uint8" in note]


@pytest.mark.parametrize("viewed", [False, True])
def test_float_in_and_out(viewed: bool, tmp_path: Path) -> None:
    rng, different = np.random.default_rng(2), set[float]()
    for _ in range(30):
        a, x, y, scale = network(rng, viewed, int(rng.integers(1, 3)))
        data = a.bytes([x], [y])
        values = floats(rng, scale, (20, *((3, 4) if viewed else (INPUTS,))))
        c = compiled(data, tmp_path)
        meaning = c.plan[c.plan.logits].meaning
        assert isinstance(meaning, Scaled)
        got = np.float32(meaning.scale[0]) * (answers(c, [values]) - meaning.zero[0]).astype(np.float32)
        want = oracle(data, [values])
        assert np.array_equal(got, want)
        different |= {*want.ravel().tolist()}
    assert len(different) > 200


def test_the_header_for_float_inputs_comes_unasked(tmp_path: Path) -> None:
    a, x, y, _ = network(np.random.default_rng(3))
    c = compiled(a.bytes([x], [y]), tmp_path)
    files = emit.render(c.plan, None, "test")
    assert b"net_quantise_affine(x[i], " in files["lib/net/src/net_quantise.h"]
    assert b"round(x / scale) + zero point" in files["lib/net/src/net.h"]


def test_the_integers_in_onnx_begin_with_the_same_quantiser(tmp_path: Path) -> None:
    """What needs no multiplier has an exact form, a table for one; sums of a file's integers have none."""
    rng, a, scale = np.random.default_rng(4), Author(), float(np.float32(0.03))
    x, q = a.tensor("x", (1, INPUTS), "FLOAT32"), a.tensor("q", (1, INPUTS), scale=scale, zero=9)
    y = a.tensor("y", (1, INPUTS), scale=1 / 128)
    a.op("QUANTIZE", [x], [q], "QuantizeOptions")
    a.op("TANH", [q], [y], "", 2)
    values = floats(rng, scale, (200, INPUTS))
    plan = compiled(a.bytes([x], [y]), tmp_path).plan
    run = ReferenceEvaluator(load_from_string(quantised_onnx.export(plan)))
    scores = Emulator(plan, 200).infer({"x": values}).scores
    assert np.array_equal(run.run(["scores"], {"x": values})[0], scores) and len(np.unique(scores)) > 50
    a, x, y, _ = network(rng)
    with pytest.raises(CompileError, match="no exact form"):
        quantised_onnx.export(compiled(a.bytes([x], [y]), tmp_path).plan)


def _float_weights(a: Author, x: int) -> int:
    w = a.tensor("wf", (2, CLASSES), "FLOAT32", data=np.ones((2, CLASSES)))
    y = a.tensor("after", (1, 2), "FLOAT32")
    a.op("FULLY_CONNECTED", [x, w], [y], "FullyConnectedOptions")
    return y


def test_what_is_partly_in_float_is_refused(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(5), tmp_path / "net.tflite"
    a, x, y, _ = network(rng)
    path.write_bytes(a.bytes([x], [_float_weights(a, y)]))
    with pytest.raises(CompileError, match=r"FULLY_CONNECTED.*computes in float32.*int8 before it"):
        load_model(path)
    a = Author()
    x, y = a.tensor("x", (1, 3), "FLOAT32"), a.tensor("q", (1, 2), scale=0.1)
    a.op("QUANTIZE", [_float_weights(a, x)], [y], "QuantizeOptions")
    path.write_bytes(a.bytes([x], [y]))
    with pytest.raises(CompileError, match=r"QUANTIZE.*computes in float32"):
        load_model(path)


# ---- calibration data ---------------------------------------------------------------------------------


def test_none_are_needed_where_all_formats_are_the_file_s(tmp_path: Path) -> None:
    a, x, y, _ = network(np.random.default_rng(6))
    data = a.bytes([x], [y])
    with_some = compiled(data, tmp_path).plan
    spec = RuleSpec(INFERENCE_ONLY)
    assert compile_model(tmp_path / "net.tflite", spec).plan.canonical == with_some.canonical
    with pytest.raises(CompileError, match=r"calibration data: are missing: .* what learns"):
        compile_model(tmp_path / "net.tflite", RuleSpec("last"))


def test_calibration_data_may_be_the_file_s_integers(tmp_path: Path) -> None:
    a, x, y, _ = network(np.random.default_rng(7), given=(float(np.float32(0.03)), 9))
    (tmp_path / "net.tflite").write_bytes(a.bytes([x], [y]))
    rng, graph = np.random.default_rng(8), load_model(tmp_path / "net.tflite")
    whole = rng.integers(-128, 128, (60, INPUTS)).astype(np.int8)
    held = graph.tensors["x"].format
    assert held is not None
    real = held.meaning.real(whole).astype(np.float32)
    label = rng.integers(0, CLASSES, 60)
    plans = [compile_model(graph, RuleSpec("last"), {"x": v, "label": label}).plan for v in (whole, real)]
    assert np.array_equal(plans[0].quantiser("x").integers(real), whole)
    assert plans[0].canonical == plans[1].canonical


def test_float_networks_need_some(tmp_path: Path) -> None:
    a, spec = Author(), RuleSpec(INFERENCE_ONLY)
    x = a.tensor("x", (1, CLASSES), "FLOAT32")
    (tmp_path / "real.tflite").write_bytes(a.bytes([x], [_float_weights(a, x)]))
    with pytest.raises(CompileError, match=r"are missing: the number format of x is .*; give --calibrate"):
        compile_model(tmp_path / "real.tflite", spec)


@pytest.mark.parametrize("kind", ["FLOAT32", "INT8"])
def test_the_largest_of_the_scores_is_left_out(kind: str, tmp_path: Path) -> None:
    """Over the classes; not over rows."""
    for shape, axis in (((1, 5), -1), ((1, 5), 1), ((1, 3, 5), 2)):
        a, held = Author(), () if kind == "FLOAT32" else (0.1, 3)
        x, h = (a.tensor(name, shape, kind, *held) for name in ("x", "h"))
        y = a.tensor("winner", shape[:-1], "INT32")
        a.op("RELU", [x], [h])
        over = a.tensor("over", (), "INT32", data=axis)
        a.op("ARG_MAX", [h, over], [y], "ArgMaxOptions", 2, outputType=2)
        (tmp_path / "net.tflite").write_bytes(a.bytes([x], [y]))
        if len(shape) == 3:
            with pytest.raises(CompileError, match=r"ARG_MAX.*takes the largest along axis 2"):
                load_model(tmp_path / "net.tflite")
            continue
        graph = load_model(tmp_path / "net.tflite")
        assert graph.tensors[graph.output].shape == (5,)
        assert any("is left out: the chip gives the winner" in note for note in graph.notes)


@pytest.mark.parametrize("axis", [float("nan"), float("inf"), 1.0])
def test_the_axis_of_scores_is_a_whole_number(axis: float, tmp_path: Path) -> None:
    a = Author()
    x, h = (a.tensor(name, (1, 5), "FLOAT32") for name in ("x", "h"))
    y, over = a.tensor("winner", (1,), "INT32"), a.tensor("over", (), "FLOAT32", data=axis)
    a.op("RELU", [x], [h])
    a.op("ARG_MAX", [h, over], [y], "ArgMaxOptions", 2, outputType=2)
    (tmp_path / "net.tflite").write_bytes(a.bytes([x], [y]))
    with pytest.raises(CompileError, match=r"ARG_MAX.*its axis is float32"):
        load_model(tmp_path / "net.tflite")
