"""The integer ONNX file computes the chip's integers: zero differ, on random networks and states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import pytest
from counts import counted
from onnx.reference import ReferenceEvaluator
from pooled_nets import pooled, samples
from random_nets import accepted, extreme_state

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.exporters._integer_kernels import ONNX_KERNELS
from synapcc.gen.exporters.quantised_onnx import export
from synapcc.gen.ir.plan import Plan
from synapcc.gen.ir.program import Program, Repeat, Step
from synapcc.gen.ops import kernels
from synapcc.gen.spec import RuleSpec
from synapcc.host.run.emulator import Emulator

SAMPLES = 16
REFUSED = {
    "bilinear.forward",
    "choice.forward",
    "div.forward",
    "lookup.forward",
    "squared_difference.forward",
    "unit_length.forward",
}
"""Arithmetic of .tflite files, which no operator of ONNX has exactly."""


def infer(file: bytes, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """scores, winner, margin of the file."""
    model = onnx.load_from_string(file)
    onnx.checker.check_model(model, full_check=True)
    return [np.asarray(r) for r in ReferenceEvaluator(model).run(None, dict(feeds))]


def random_inputs(plan: Plan, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """From a fraction of a unit to far beyond int8, ties among them."""
    out = {}
    for name, shape in zip(plan.inputs, plan.input_shapes, strict=True):
        units = rng.normal(0, 1, (SAMPLES, *shape)) * 2.0 ** rng.integers(-3, 40, (SAMPLES, 1))[
            (...,) + (None,) * (len(shape) - 1)
        ].astype(float)
        units[::2] = np.rint(units[::2] * 2) / 2
        out[name] = np.ldexp(units, -plan[name].frac).astype(np.float32)
    return out


@counted(14, 160)
def test_nothing_differs_on_random_networks_and_states(count: int) -> None:
    compared, seen, saturated = 0, set[str](), 0
    for compiled, seed in accepted(0, count):
        plan, rng = compiled.plan, np.random.default_rng([99, seed])
        if any(s.kernel in ("softmax.log", "bilinear.forward", "recurrent.begin") for _, _, s in plan.ops()):
            with pytest.raises(CompileError, match=r"has no exact form|rounds halves away from zero"):
                export(plan)
            continue
        machine = Emulator(plan, SAMPLES, read_only=True)
        for turn in ("as compiled", "extreme"):
            if turn == "extreme":
                machine.state[0] = np.frombuffer(extreme_state(plan, rng), np.uint8)
            state = {t.name: machine[t.name][0] for t in plan.space("state")}
            feeds = random_inputs(plan, rng)
            winner, margin, scores = machine.infer(feeds)
            got = infer(export(plan, state if turn == "extreme" else None), feeds)
            for have, want in zip(got, (scores, winner, margin), strict=True):
                assert have.dtype == want.dtype and np.array_equal(have, want), (seed, turn)
            compared += scores.size
            saturated += np.count_nonzero(np.abs(scores) >= 32767)
        seen |= {s.kernel for program, _, s in plan.ops() if program in ("forward", "infer")}
    assert compared > 60 * count and saturated > count / 2
    never = {k for k in ONNX_KERNELS if k in kernels()} - REFUSED - seen
    assert not never or count < 160, never  # some are drawn rarely


def test_convolutions_that_pool_their_outputs_go_out() -> None:
    for seed, form in enumerate(("clip-pool", "of three", "one-dimensional")):
        rng = np.random.default_rng(seed)
        graph = pooled(rng, form)
        plan = compile_model(graph, RuleSpec("last"), samples(rng, graph)).plan
        assert any("row" in s.args for _, _, s in plan.ops()), form
        feeds, machine = random_inputs(plan, rng), Emulator(plan, SAMPLES, read_only=True)
        winner, margin, scores = machine.infer(feeds)
        for have, want in zip(infer(export(plan), feeds), (scores, winner, margin), strict=True):
            assert have.dtype == want.dtype and np.array_equal(have, want), form


def test_inputs_are_quantised_as_the_chip_wants_them() -> None:
    """Ties to even, saturation: read from a network that does nothing but pass its input on."""
    compiled, _ = next(a for a in accepted(0, 40) if len(a[0].plan.inputs) == 1)
    plan = compiled.plan
    name, shape, frac = plan.inputs[0], plan.input_shapes[0], plan[plan.inputs[0]].frac
    model = onnx.load_from_string(export(plan))
    units = np.array([0.5, 1.5, -0.5, -2.5, 126.5, 127.5, -128.5, -129.0, 1e30, -1e30, 0.49999997, 3.2])
    x = np.ldexp(np.resize(units, (len(units), *shape)), -frac).astype(np.float32)
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(f"{name}/int8", onnx.TensorProto.INT8, ["batch", x[0].size])
    )
    got = ReferenceEvaluator(model).run([f"{name}/int8"], {name: x})[0]
    assert np.array_equal(got, plan.quantiser(name).integers(x).reshape(len(x), -1))


def test_what_has_no_form_is_refused_in_one_line() -> None:
    compiled, _ = next(accepted(0, 1))
    plan, infer_program = compiled.plan, compiled.plan.programs["infer"]
    foreign = Step("counter.tick", "odd", {"count": "step"})
    for item, what in ((foreign, "counter.tick has no exact form"), (Repeat(2, "forward"), "loops")):
        program = Program("infer", "", (*infer_program.items, item))
        changed = replace(plan, programs={**plan.programs, "infer": program}, _by_name={})
        with pytest.raises(CompileError, match=what):
            export(changed)
