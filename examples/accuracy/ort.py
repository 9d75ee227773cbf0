"""onnxruntime: the float network, and its static int8, a scale a channel (needs the extra `[accuracy]`).

https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html: the file is prepared first, so
that batch norms are folded, then gets QuantizeLinear and DequantizeLinear around every operator (QDQ). Such
a file is run as it stands, without onnxruntime's fusion: int8 where the file says so, float between. No
kernel saturates a sum, and the figures do not depend on the processor.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationDataReader
from onnxruntime.quantization.shape_inference import quant_pre_process

from .networks import Arrays

VERSION = ort.__version__
METHODS = ("MinMax", "Entropy", "Percentile")
ACTIVATIONS = ("QInt8", "QUInt8")
WAYS = tuple(f"{method} {kind}" for method in METHODS for kind in ACTIVATIONS)
"""Ways of quantisation: how ranges are chosen, and the type of activations. Weights are QInt8."""

BLOCK = 256  # samples at once


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands out calibration samples, BLOCK at a time."""

    def __init__(self, arrays: Arrays) -> None:
        self.blocks = _blocks(arrays)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next samples; None after the last."""
        return next(self.blocks, None)


def _blocks(arrays: Arrays) -> Iterator[dict[str, NDArray[np.float32]]]:
    count = len(next(iter(arrays.values())))
    for at in range(0, count, BLOCK):
        yield {n: x[at : at + BLOCK] for n, x in arrays.items()}


def classes(model: Path, inputs: Arrays, fused: bool = True) -> NDArray[np.int64]:
    """Class [n] that the network scores highest, the first of equal ones; fused: with graph optimisation."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if not fused:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    scores = [session.run(None, block)[0] for block in _blocks(inputs)]
    return np.asarray(np.argmax(np.concatenate(scores), axis=1), np.int64)


def quantised(model: Path, way: str, calibration: Arrays, inputs: Arrays) -> NDArray[np.int64]:
    """Class [n] by the network that onnxruntime quantises in one of the `WAYS`."""
    method, kind = way.split()
    former = logging.root.manager.disable
    logging.disable(logging.WARNING)  # quantize_static gives advice, and prints what it is at
    try:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
            ready, made = Path(folder) / "ready.onnx", Path(folder) / "int8.onnx"
            quant_pre_process(model, ready, skip_symbolic_shape=True)
            quantize_static(
                ready,
                made,
                Reader(calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType[kind],
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod[method],
            )
            return classes(made, inputs, fused=False)
    finally:
        logging.disable(former)
