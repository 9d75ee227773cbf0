"""Train the base networks behind the chip's front end, and export them (needs the extra `[train]`).

    python -m synapcc.examples.har.train_stream [-o FOLDER]

36-32-7, ReLU, on what fronts/stream.toml makes of the samples; the recipe is that of train.py, but that
nothing is held within limits: the mean and the deviation of the training windows are part of the first layer,
since a window has one scale on the chip.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.files import write_whole
from synapcc.host.terminal.screen import guarded

from . import data
from .files import model_path
from .streamed import Heard, heard
from .train import BATCH, DECAY, DROPOUT, EPOCHS, HIDDEN, NOISE, RATE, Arrays

INPUTS = ("octaves", "tilt")


def train(pool: Heard, seed: int) -> Arrays:
    """The network's constants by name. Same arguments, same weights."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    draw = torch.Generator().manual_seed(seed)
    raw: NDArray[np.float32] = np.concatenate([pool.inputs[name] for name in INPUTS], axis=1)
    mean, deviation = raw.mean(0), raw.std(0) + np.float32(1e-6)
    x, y = torch.from_numpy((raw - mean) / deviation), torch.from_numpy(pool.label.astype(np.int64))
    first, last = nn.Linear(raw.shape[1], HIDDEN), nn.Linear(HIDDEN, len(data.EXERCISES))
    model = nn.Sequential(first, nn.ReLU(), nn.Dropout(DROPOUT), last)
    steps = EPOCHS * len(pool) // BATCH
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    model.train()
    for _ in range(steps):
        some = torch.randint(len(pool), (BATCH,), generator=draw)
        noisy = x[some] + NOISE * torch.randn(BATCH, raw.shape[1], generator=draw)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(noisy), y[some]).backward()
        optimiser.step()
        schedule.step()
    w1, b1, w2, b2 = (p.detach().numpy() for p in (first.weight, first.bias, last.weight, last.bias))
    return {"w1": w1 / deviation, "b1": b1 - (w1 / deviation) @ mean, "w2": w2, "b2": b2}


def export(arrays: Arrays, sizes: dict[str, int], path: Path) -> None:
    """Writes the network as one ONNX file: inputs [n, size] by name, output `logits` [n, 7]."""
    nodes = [
        helper.make_node("Concat", list(INPUTS), ["joined"], "join", axis=1),
        helper.make_node("Gemm", ["joined", "w1", "b1"], ["z1"], "fc1", transB=1),
        helper.make_node("Relu", ["z1"], ["hidden"], "relu1"),
        helper.make_node("Gemm", ["hidden", "w2", "b2"], ["logits"], "fc2", transB=1),
    ]
    kept = [numpy_helper.from_array(np.asarray(x, np.float32), name) for name, x in arrays.items()]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", sizes[n]]) for n in INPUTS]
    scores = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(data.EXERCISES)])
    graph = helper.make_graph(nodes, "har_stream", inputs, [scores], kept)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, proto.SerializeToString(deterministic=True))


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = Parser(prog="har.train_stream", description="Train a base network for each wearer's stream.")
    parser.add_argument("-o", "--output", type=Path, help="folder (default: that of the example)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # sums in one order, so that the same seed gives the same file
    try:
        recordings = data.load()
        for wearer in data.WEARERS:
            pool = heard([r for r in recordings if r.wearer != wearer])
            path = model_path(wearer, stream=True)
            path = options.output / path.name if options.output else path
            export(train(pool, options.seed), {n: x.shape[1] for n, x in pool.inputs.items()}, path)
            print(f"{path}: seed {options.seed}, {len(pool)} windows of the others")
    except SynapccError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
