"""Train the six networks of MODELS.md and export them as ONNX (needs the extra `[train]`).

    python -m synapcc.examples.images.train --data mnist --model resnet --seed 0 -o models/mnist_resnet.onnx

Trained on the first 55,000 training images; the last 5,000 give the accuracy that is printed. The test set is
never read. Nothing here cares for quantisation.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxscript.optimizer
import torch
from torch import Tensor, nn

from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.files import check_target, write_whole
from synapcc.host.terminal.screen import guarded

from . import data
from .data import CLASSES, SIDE

BATCH = 128


@dataclass(frozen=True)
class Recipe:
    """epochs: passes over the training images; rate: peak of the one-cycle learning rate of Adam."""

    epochs: int
    rate: float


def mlp() -> nn.Module:
    """784-96-48-10, ReLU between the layers."""
    dense = [nn.Linear(SIDE * SIDE, 96), nn.Linear(96, 48), nn.Linear(48, CLASSES)]
    return nn.Sequential(nn.Flatten(), dense[0], nn.ReLU(), dense[1], nn.ReLU(), dense[2])


class Block(nn.Module):  # type: ignore[misc]
    """y = relu(norm(conv(relu(norm(conv(x))))) + shortcut(x)), 3x3; the shortcut is 1x1 where shapes differ.

    He K, Zhang X, Ren S, Sun J, CVPR 2016, figure 2 (left).
    """

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        """The first convolution has the stride."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(filters), nn.BatchNorm2d(filters)
        same = inputs == filters and stride == 1
        one = [nn.Conv2d(inputs, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)]
        self.shortcut = nn.Identity() if same else nn.Sequential(*one)

    def forward(self, x: Tensor) -> Tensor:
        """x [n, inputs, h, w] -> [n, filters, h / stride, w / stride]."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def _conv(inputs: int, filters: int, width: int, stride: int, groups: int, act: type[nn.Module]) -> nn.Module:
    conv = nn.Conv2d(inputs, filters, width, stride, width // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(filters), act())


class Mean(nn.Module):  # type: ignore[misc]
    """The mean over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        """x [n, channels, h, w] -> [n, channels]."""
        return x.mean((2, 3))


def resnet() -> nn.Module:
    """A 3x3 convolution of stride 2, three residual blocks of 16, 24 and 24 channels, mean, dense."""
    blocks = [Block(16, 16, 1), Block(16, 24, 2), Block(24, 24, 1)]
    return nn.Sequential(_conv(1, 16, 3, 2, 1, nn.ReLU), *blocks, Mean(), nn.Linear(24, CLASSES))


def dscnn() -> nn.Module:
    """A 3x3 convolution of stride 2, four depthwise-separable blocks with ReLU6, mean, dense.

    Howard AG et al., MobileNets, arXiv:1704.04861, 2017, figure 3 (right).
    """
    layers = [_conv(1, 16, 3, 2, 1, nn.ReLU6)]
    for inputs, filters, stride in ((16, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 1)):
        layers.append(_conv(inputs, inputs, 3, stride, inputs, nn.ReLU6))
        layers.append(_conv(inputs, filters, 1, 1, 1, nn.ReLU6))
    return nn.Sequential(*layers, Mean(), nn.Linear(64, CLASSES))


MODELS = {"mlp": mlp, "resnet": resnet, "dscnn": dscnn}
RECIPES = {"mlp": Recipe(12, 3e-3), "resnet": Recipe(8, 5e-3), "dscnn": Recipe(8, 5e-3)}
FOLDED = {"mlp": True, "resnet": True, "dscnn": False}
"""Whether the exporter may fold batch norms into the convolutions before them; files have either."""


def train(name: str, images: Tensor, labels: Tensor, seed: int, recipe: Recipe) -> nn.Module:
    """A network of `MODELS[name]`, ready to infer: images [n, 1, 28, 28], labels [n] int64.

    Same arguments and one thread: same weights.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    draw = torch.Generator().manual_seed(seed)
    model = MODELS[name]()
    steps = len(images) // BATCH
    optimiser = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.rate, total_steps=max(1, recipe.epochs * steps)
    )
    model.train()
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(images), generator=draw)[: steps * BATCH]
        total = 0.0
        for index in order.view(steps, BATCH):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(images[index]), labels[index])
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1} of {recipe.epochs}: loss {total / steps:.4f}", flush=True)
    model.eval()
    return model


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of images [n, 1, 28, 28] whose class the network scores highest."""
    with torch.no_grad():
        right = [
            (model(x).argmax(1) == y).sum() for x, y in zip(images.split(500), labels.split(500), strict=True)
        ]
    return float(sum(right)) / len(images)


def export(model: nn.Module, path: Path, folded: bool) -> None:
    """Write `model` as one ONNX file: input image [n, 1, 28, 28], output logits [n, 10], dynamic batch."""
    program = torch.onnx.export(
        model,
        (torch.zeros(2, 1, SIDE, SIDE),),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
        optimize=folded,
    )
    assert program is not None
    if not folded:  # what is left of the exporter's own passes: those that know nothing of batch norm
        onnxscript.optimizer.fold_constants_ir(program.model)
        onnxscript.optimizer.remove_unused_nodes(program.model)
    proto = program.model_proto
    # The exporter notes stack traces, that is paths of the machine that trained.
    graph = proto.graph
    for item in (
        proto,
        graph,
        *graph.node,
        *graph.value_info,
        *graph.initializer,
        *graph.input,
        *graph.output,
    ):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    write_whole(path, proto.SerializeToString(deterministic=True))


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = Parser(prog="images.train", description="Train a network on images.")
    parser.add_argument("--data", choices=sorted(data.SETS), required=True)
    parser.add_argument("--model", choices=sorted(MODELS), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    # One thread: sums in one order, so that the same seed gives the same file.
    torch.set_num_threads(1)
    try:
        check_target(options.output)
        pixels, classes = data.read(data.find(options.data), "train")
    except SynapccError as error:
        print(error, file=sys.stderr)
        return 2
    images, labels = torch.from_numpy(pixels), torch.from_numpy(classes.astype(np.int64))
    kept = slice(None, -data.VALIDATION), slice(-data.VALIDATION, None)
    model = train(options.model, images[kept[0]], labels[kept[0]], options.seed, RECIPES[options.model])
    export(model, options.output, FOLDED[options.model])
    count = sum(p.numel() for p in model.parameters())
    share = accuracy(model, images[kept[1]], labels[kept[1]])
    print(f"{options.output}: {count} parameters, seed {options.seed}, validation accuracy {share:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
