"""Trained int8 networks of third parties: every byte is LiteRT's, in the emulator, in C, on a virtual M4.

Needs $SYNAPCC_DATA/models, or ../shared/data/models: ad01_int8.tflite of MLPerf Tiny and
micro_speech_quantized.tflite of TensorFlow Lite Micro.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from ctools import INFER, Batch, ChipBatch, HostBatch
from lite import MODELS, oracle
from numpy.typing import NDArray

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.spec import INFERENCE_ONLY, RuleSpec
from synapcc.host.run.emulator import Emulator

Networks = list[tuple[Compiled, NDArray[np.int8], NDArray[np.int8]]]

NAMES = ("ad01_int8", "micro_speech_quantized")
SAMPLES, ON_THE_CHIP = 1000, 50

if MODELS is None:
    pytest.skip("there is no folder with third-party models: set SYNAPCC_DATA", allow_module_level=True)
FOLDER = MODELS


def inputs(rng: np.random.Generator, size: int) -> NDArray[np.int8]:
    """Constants of every kind of edge, single values, and noise of every width around every level."""
    x = rng.integers(-128, 128, (SAMPLES, size))
    for i, v in enumerate((-128, -127, -1, 0, 1, 126, 127)):
        x[i] = v
        x[10 + i, rng.permutation(size)[: size // 2]] = v
        x[20 + i], x[20 + i, rng.integers(size)] = -128, v
        x[30 + i], x[30 + i, rng.integers(size)] = 127, v
    for i in range(50, SAMPLES // 2):
        level, width = rng.integers(-128, 128), rng.integers(1, 128)
        x[i] = level + rng.integers(-width, width + 1, size)
    return np.clip(x, -128, 127).astype(np.int8)


@pytest.fixture(scope="module")
def networks() -> Networks:
    """Each network, its inputs, and what LiteRT answers to them: before the softmax where we take that as the
    head of the scores."""
    found = []
    for number, name in enumerate(NAMES):
        path = FOLDER / f"{name}.tflite"
        assert path.is_file(), f"{path} is missing: SYNAPCC_DATA must name a folder with models/{path.name}"
        c = compile_model(path, RuleSpec(INFERENCE_ONLY))
        x = inputs(np.random.default_rng(number), c.graph.interface[0].size)
        found.append((c, x, oracle(path.read_bytes(), [x], before=c.graph.head != "none")))
    return found


def test_the_emulator(networks: Networks) -> None:
    for c, x, want in networks:
        got = Emulator(c.plan, len(x)).infer({c.plan.inputs[0]: x}).scores
        assert want.dtype == np.int8 and np.array_equal(got, want)
        assert len(np.unique(want)) > 100


def assert_all(batch: Batch, networks: Networks, count: int) -> None:
    for number, (c, x, want) in enumerate(networks):
        for i in np.linspace(0, SAMPLES - 1, count).astype(int):
            status, answer = batch.ask(number, INFER, payload=x[i].tobytes())
            scores = np.frombuffer(answer, "<i2", c.plan.classes, 8)
            assert status == 0 and np.array_equal(scores, want[i]), i
            assert struct.unpack_from("<i", answer) == (int(np.argmax(want[i])),)


@pytest.mark.parametrize("kernels", [pytest.param("ref", marks=pytest.mark.long), "dsp"])
def test_c_on_this_computer(networks: Networks, kernels: str, tmp_path: Path) -> None:
    batch = HostBatch([c.plan for c, _, _ in networks], tmp_path, "-O2", kernels=kernels)
    try:
        assert_all(batch, networks, SAMPLES)
    finally:
        batch.close()


@pytest.mark.parametrize("kernels", [pytest.param("ref", marks=pytest.mark.long), "dsp"])
def test_c_on_a_virtual_m4(networks: Networks, kernels: str, tmp_path: Path) -> None:
    assert_all(ChipBatch([c.plan for c, _, _ in networks], tmp_path, "", kernels), networks, ON_THE_CHIP)
