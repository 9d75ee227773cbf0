"""What others need for the same work: instructions executed, counted once with the tools of synapcc.

Compiled by arm-none-eabi-gcc 12.2 at -O3, run in QEMU. CMSIS-NN is Arm's library of int8 kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CMSIS_NN: Mapping[str, Mapping[str, int]] = {
    "dense 64 32": {"M4": 5_552, "M3": 8_519, "M0": 15_920, "M55": 1_517},
    "dense 256 128": {"M4": 67_884, "M3": 115_457, "M0": 210_265, "M55": 17_117},
    "dense 784 100": {"M4": 152_066, "M3": 267_269, "M0": 481_933, "M55": 38_157},
    "conv1d 128x1 k7->16 s2 same": {"M4": 88_652, "M3": 84_619, "M0": 175_023, "M55": 29_851},
    "conv1d 64x16 k5->32 s2 same": {"M4": 197_207, "M3": 270_573, "M0": 631_658, "M55": 32_292},
    "conv1d 32x32 k3->32 same": {"M4": 223_366, "M3": 312_601, "M0": 731_124, "M55": 35_401},
    "depthwise 16x16x32 3x3 same": {"M4": 647_336, "M3": 725_391, "M0": 2_780_000, "M55": 198_283},
    "conv2d 16x16x16 3x3->16 same": {"M4": 1_373_114, "M3": 1_967_720, "M0": 4_456_127, "M55": 228_760},
    "conv2d 16x16x32 1x1->32": {"M4": 708_911, "M3": 959_675, "M0": 2_380_000, "M55": 162_597},
    "dense-scaled 64 32": {"M4": 5_552},
    "dense-scaled 256 128": {"M4": 67_884},
    "conv1d-scaled 128x1 k7->16 s2 same": {"M4": 88_652},
    "conv1d-scaled 64x16 k5->32 s2 same": {"M4": 197_207},
    "depthwise-scaled 16x16x32 3x3 same": {"M4": 647_336},
    "conv2d-scaled 16x16x16 3x3->16 same": {"M4": 1_373_114},
    "conv2d-scaled 16x16x32 1x1->32": {"M4": 708_911},
    "maxpool 16x16x16 2x2": {"M4": 44_641},
    "softmax 10": {"M4": 2_935},
}
"""By kernel, as `synapcc bench --kernel` takes it, and core. The softmax is that of inference; ours, of
learning, also subtracts the label. CMSIS-NN's layers are those of int8 .tflite files, as our scaled ones are;
what it is asked for is the same for both."""


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One training step of somebody else's, batch 1, on a Cortex-M4. `ram` in bytes, 0 where nobody said."""

    who: str
    instructions: int
    ram: int = 0


TRAINING: Mapping[str, tuple[TrainingStep, ...]] = {
    "mlp 64 32 5": (
        TrainingStep("AIfES, float32 backpropagation", 263_395),
        TrainingStep("plain C, float backpropagation", 26_651),
    ),
    "mlp 256 64 32 5": (
        TrainingStep("AIfES, float32 backpropagation", 2_151_152),
        TrainingStep("plain C, float backpropagation", 222_416),
    ),
    "mlp 784 100 10": (
        TrainingStep("AIfES, float32 backpropagation", 9_097_981, 1_267_616),
        TrainingStep("plain C, float backpropagation", 883_344),
    ),
    "mlp 784 100 50 10": (TrainingStep("PocketNN, integer DFA", 7_209_402),),
}

UPDATE_PER_WEIGHT = 23.9
"""TinyEngine, int8, the update alone, Cortex-M4."""
