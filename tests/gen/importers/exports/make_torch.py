"""Writes the torch_*.onnx of this folder, and in torch.npz what PyTorch computes with them.

    python make_torch.py        needs torch, onnx, onnxscript

Each net is exported by both of PyTorch's exporters: "dynamo" (torch.export, the default since 2.9) and
"script" (torch.jit.trace). Their stack traces, which hold paths of the machine, are removed; nothing else is
changed.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
SAMPLES = 3


class Ecg(nn.Module):
    """A beat of two leads and four RR features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(2, 6, 7, stride=2, padding=3)
        self.norm1 = nn.BatchNorm1d(6)
        self.conv2 = nn.Conv1d(6, 8, 5, dilation=2)
        self.norm2 = nn.BatchNorm1d(8)
        self.fc1 = nn.Linear(8 * 12 + 4, 16)
        self.fc2 = nn.Linear(16, 4)

    def forward(self, beat: Tensor, rr: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.conv1(beat)))
        x = torch.relu(self.norm2(self.conv2(x)))
        x = nn.functional.max_pool1d(x, 2)
        x = torch.cat([torch.flatten(x, 1), rr], dim=1)
        out: Tensor = self.fc2(torch.relu(self.fc1(x)))
        return out


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding="same", bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.a = nn.Conv2d(8, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 8, 1, stride=2)
        self.head = nn.Linear(8, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(image)))
        x = torch.relu(x + self.b(torch.relu(self.a(x))))
        x = self.down(x) + nn.functional.avg_pool2d(x, 2, ceil_mode=True)
        return torch.softmax(self.head(x.mean(dim=(2, 3))), dim=1)


def separable(act: type[nn.Module]) -> nn.Module:
    """MobileNet's blocks: a depthwise convolution and a pointwise one, each normalised."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        act(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.BatchNorm2d(8),
        act(),
        nn.Conv2d(8, 12, 1, bias=False),
        nn.BatchNorm2d(12),
        act(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(12, 3),
    )


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.BatchNorm2d(6),
        nn.ReLU6(),
        nn.MaxPool2d(2),
        nn.ZeroPad2d((1, 0, 1, 0)),
        nn.Conv2d(6, 8, 3, groups=2),
        nn.LeakyReLU(0.1),
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        nn.Flatten(),
        nn.Linear(8 * 2 * 2, 10),
        nn.LogSoftmax(dim=1),
    )


def functions() -> nn.Module:
    """One after another: what is exact, what a table computes, what is written as a product."""
    steps: Iterable[nn.Module] = (
        nn.Hardswish(), nn.SiLU(), nn.GELU(), nn.ELU(), nn.Softplus(), nn.Tanh(), nn.Hardsigmoid(),
        nn.PReLU(), nn.Hardtanh(),
    )  # fmt: skip
    layers = [m for step in steps for m in (nn.Conv1d(3, 3, 3, padding=1), step)]
    return nn.Sequential(*layers, nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(3, 2), nn.Sigmoid())


def nets() -> dict[str, tuple[nn.Module, dict[str, tuple[int, ...]]]]:
    """Each net with its inputs' shapes, without the batch."""
    torch.manual_seed(0)
    return {
        "ecg": (Ecg(), {"beat": (2, 64), "rr": (4,)}),
        "residual": (Residual(), {"image": (3, 12, 12)}),
        "separable_relu6": (separable(nn.ReLU6), {"image": (1, 16, 16)}),
        "separable_hardswish": (separable(nn.Hardswish), {"image": (1, 16, 16)}),
        "convnet": (convnet(), {"image": (1, 14, 14)}),
        "functions": (functions(), {"signal": (3, 10)}),
    }


def settle(net: nn.Module, shapes: dict[str, tuple[int, ...]]) -> None:
    """Statistics of the batch norms, and factors other than 1."""
    for m in net.modules():
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.2)
    net.train()
    for _ in range(20):
        net(*(torch.randn(16, *s) for s in shapes.values()))
    net.eval()


def export(net: nn.Module, shapes: dict[str, tuple[int, ...]], path: Path, dynamo: bool) -> None:
    args = tuple(torch.randn(1, *s) for s in shapes.values())
    names = {"input_names": list(shapes), "output_names": ["scores"]}
    if dynamo:
        batch = torch.export.Dim("batch")
        # A Sequential calls its argument "input": dynamic_shapes follows the arguments, not the names.
        formal = list(inspect.signature(net.forward).parameters)
        dynamic = {k: {0: batch} for k in formal}
        torch.onnx.export(net, args, path, dynamo=True, external_data=False, dynamic_shapes=dynamic, **names)
    else:
        axes = {k: {0: "batch"} for k in shapes}
        torch.onnx.export(net, args, path, dynamo=False, dynamic_axes=axes, **names)
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.save(model, path)


def main() -> None:
    seen: dict[str, np.ndarray] = {}
    for name, (net, shapes) in nets().items():
        settle(net, shapes)
        inputs = {k: torch.randn(SAMPLES, *s) for k, s in shapes.items()}
        with torch.no_grad():
            scores = net(*inputs.values())
        for k, v in {**inputs, "scores": scores}.items():
            seen[f"{name}/{k}"] = v.numpy()
        for kind in ("dynamo", "script"):
            export(net, shapes, HERE / f"torch_{name}_{kind}.onnx", kind == "dynamo")
    np.savez_compressed(HERE / "torch.npz", **seen)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
