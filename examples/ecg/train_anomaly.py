"""Train the base autoencoder on the normal beats of DS1 and export it as ONNX (needs the extra `[train]`).

    python -m synapcc.examples.ecg.train_anomaly -o models/ecg_autoencoder.onnx
    python -m synapcc.examples.ecg.train_anomaly --fold 2 -o autoencoder_fold2.onnx

155-32-8-32-155, ReLU between; patients are drawn alike, inputs carry noise, what is asked for does not.
`--fold K` leaves out the patients of DS1's fold K, by whom rule, rate, passes and quantile were chosen. The
patients of the test are never read.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn

from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.files import check_target, write_whole
from synapcc.host.terminal.screen import guarded

from . import protocol
from .anomaly import N, samples

SIZES = (155, 32, 8, 32, 155)
EPOCHS, BATCH, RATE, DECAY, NOISE = 12, 256, 3e-3, 1e-4, 0.05


class Autoencoder(nn.Module):  # type: ignore[misc]
    """Dense layers, ReLU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(SIZES)])

    def forward(self, x: Tensor) -> Tensor:
        """x [n, 155] -> x again."""
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


def train(x: NDArray[np.float32], patient: NDArray[np.str_], seed: int = 0) -> Autoencoder:
    """x float32[n, 155], whose beat each is str[n]."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    model, values = Autoencoder(), torch.from_numpy(x)
    _, place, count = np.unique(patient, return_inverse=True, return_counts=True)
    steps = EPOCHS * len(x) // BATCH
    weight = torch.from_numpy(1 / count[place]).double()
    drawn = torch.multinomial(weight, steps * BATCH, replacement=True, generator=draw).view(steps, BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for index in drawn:
        some = values[index]
        optimiser.zero_grad()
        again = model(some + NOISE * torch.randn(some.shape, generator=draw))
        nn.functional.mse_loss(again, some).backward()
        optimiser.step()
        schedule.step()
    return model


def export(model: Autoencoder, path: Path) -> None:
    """One ONNX file: input x, output again, dynamic batch."""
    nodes, constants, x = [], [], "x"
    for i, layer in enumerate(model.layers, 1):
        names = [f"fc{i}.weight", f"fc{i}.bias"]
        values = (layer.weight, layer.bias)
        constants += [
            numpy_helper.from_array(v.detach().numpy(), n) for n, v in zip(names, values, strict=True)
        ]
        y = "again" if i == len(model.layers) else f"fc{i}_out"
        nodes.append(helper.make_node("Gemm", [x, *names], [y], name=f"fc{i}", transB=1))
        x = f"relu{i}"
        if y != "again":
            nodes.append(helper.make_node("Relu", [y], [x], name=x))
    ends = [
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size])]
        for name, size in (("x", SIZES[0]), ("again", SIZES[-1]))
    ]
    graph = helper.make_graph(nodes, "autoencoder", *ends, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, made.SerializeToString(deterministic=True))


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = Parser(prog="ecg.train_anomaly", description="Train the base autoencoder.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fold", type=int, choices=range(protocol.FOLDS), help="leave out this fold's patients"
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # sums in one order, so that the same seed gives the same file
    try:
        check_target(options.output)
        pool = protocol.A.pool(() if options.fold is None else protocol.A.folds[options.fold])
    except SynapccError as error:
        print(error, file=sys.stderr)
        return 2
    normal = pool.take(pool.label == N)
    export(train(samples(normal), normal.record, options.seed), options.output)
    print(f"{options.output}: {'-'.join(map(str, SIZES))}, seed {options.seed}, {len(normal)} beats")
    return 0


if __name__ == "__main__":
    sys.exit(main())
