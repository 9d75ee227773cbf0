"""Train the base networks and export them as ONNX (needs the extra `[train]`), one a wearer.

    python -m synapcc.examples.har.train [-o FOLDER]

64-32-7, ReLU: features less the mean of the training windows, by their standard deviation, held within +-4.
The recipe is the first one that was tried; nothing of it was chosen by what wearers score.
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
from .features import FEATURES, Windows, windows
from .files import model_path

HIDDEN, LIMIT = 32, 4.0
EPOCHS, BATCH, RATE, DECAY, DROPOUT, NOISE = 40, 128, 3e-3, 1e-3, 0.3, 0.1
Arrays = dict[str, NDArray[np.float32]]


def train(pool: Windows, seed: int) -> Arrays:
    """The network's constants by name. Same arguments, same weights."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    draw = torch.Generator().manual_seed(seed)
    mean, deviation = pool.features.mean(0), pool.features.std(0) + np.float32(1e-6)
    x, y = torch.from_numpy((pool.features - mean) / deviation), torch.from_numpy(pool.label.astype(np.int64))
    first, last = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, len(data.EXERCISES))
    model = nn.Sequential(first, nn.ReLU(), nn.Dropout(DROPOUT), last)
    steps = EPOCHS * len(pool) // BATCH
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    model.train()
    for _ in range(steps):
        some = torch.randint(len(pool), (BATCH,), generator=draw)
        noisy = x[some] + NOISE * torch.randn(BATCH, FEATURES, generator=draw)
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(noisy.clamp(-LIMIT, LIMIT)), y[some]).backward()
        optimiser.step()
        schedule.step()
    learned = {"w1": first.weight, "b1": first.bias, "w2": last.weight, "b2": last.bias}
    return {"mean": mean, "deviation": deviation} | {k: v.detach().numpy() for k, v in learned.items()}


def export(arrays: Arrays, path: Path) -> None:
    """Writes the network as one ONNX file: input `features` [n, 64], output `logits` [n, 7]."""
    limits = {"low": np.float32(-LIMIT), "high": np.float32(LIMIT)}
    nodes = [
        helper.make_node("Sub", ["features", "mean"], ["centred"], "centre"),
        helper.make_node("Div", ["centred", "deviation"], ["scaled"], "scale"),
        helper.make_node("Clip", ["scaled", "low", "high"], ["held"], "hold"),
        helper.make_node("Gemm", ["held", "w1", "b1"], ["z1"], "fc1", transB=1),
        helper.make_node("Relu", ["z1"], ["hidden"], "relu1"),
        helper.make_node("Gemm", ["hidden", "w2", "b2"], ["logits"], "fc2", transB=1),
    ]
    kept = [numpy_helper.from_array(np.asarray(x), name) for name, x in (arrays | limits).items()]
    ends = (("features", FEATURES), ("logits", len(data.EXERCISES)))
    inputs, outputs = ([helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", k])] for n, k in ends)
    graph = helper.make_graph(nodes, "har", inputs, outputs, kept)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(proto)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, proto.SerializeToString(deterministic=True))


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = Parser(prog="har.train", description="Train a base network for each wearer, from the others.")
    parser.add_argument("-o", "--output", type=Path, help="folder (default: that of the example)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # sums in one order, so that the same seed gives the same file
    try:
        recordings = data.load()
        for wearer in data.WEARERS:
            pool = windows([r for r in recordings if r.wearer != wearer])
            path = model_path(wearer)
            path = options.output / path.name if options.output else path
            export(train(pool, options.seed), path)
            print(f"{path}: seed {options.seed}, {len(pool)} windows of the others")
    except SynapccError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
