"""Train the base models of a protocol and export them as ONNX (needs the extra `[train]`).

    python -m synapcc.examples.ecg.train --model mlp_rr --seed 0 -o models/ecg_mlp_rr.onnx
    python -m synapcc.examples.ecg.train --model cnn --protocol B --seed 0 -o models/ecg_cnn_b.onnx
    python -m synapcc.examples.ecg.train --model mlp_rr --seed 0 --fold 2 -o mlp_rr_fold2.onnx

`--fold K` leaves out the patients of the protocol's fold K, who then can play the wearer: fine-tuning
settings are chosen that way, and so were the recipes below. The patients of the test are never read.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.files import check_target, write_whole
from synapcc.host.terminal.screen import guarded

from . import protocol
from .beats import LIMIT, USUAL, Beats
from .front import FRONTS, Front

LEAST = 0.05
"""Deviation below which an input is not stretched further."""


@dataclass(frozen=True)
class Recipe:
    """Settings of the training.

    epochs, batch, rate   passes over DS1, beats a step, peak of the one-cycle learning rate of AdamW
    balance               a class of c beats is drawn in proportion to c^(1 - balance): 1 = all classes alike
    dropout, decay        after both hidden layers; weight decay
    smoothing             label smoothing
    gain, noise, jitter   augmentation: standard deviation of an amplitude factor and of white noise,
                          largest shift of the window in values
    """

    epochs: int = 8
    batch: int = 512
    rate: float = 3e-3
    balance: float = 1.0
    dropout: float = 0.5
    decay: float = 1e-3
    smoothing: float = 0.0
    gain: float = 0.15
    noise: float = 0.03
    jitter: int = 2


class Layers(nn.Module):  # type: ignore[misc]
    """The three dense layers that both MLPs share: inputs-128-64-classes, ReLU between them."""

    def __init__(self, inputs: int, classes: int, dropout: float) -> None:
        """`inputs` values a beat."""
        super().__init__()
        self.fc1 = nn.Linear(inputs, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, classes)
        self.dropout = nn.Dropout(dropout)

    def logits(self, values: Tensor) -> Tensor:
        """values [n, inputs] -> logits [n, classes]."""
        hidden = self.dropout(torch.relu(self.fc1(values)))
        hidden = self.dropout(torch.relu(self.fc2(hidden)))
        return self.fc3(hidden)


class Mlp(Layers):
    """151-128-64-4 on a beat window, the size published with code for DS1 -> DS2."""

    inputs = ("beat",)

    def __init__(self, classes: int, dropout: float = 0.0, front: Front = USUAL) -> None:
        """The window alone."""
        super().__init__(front.values, classes, dropout)

    def forward(self, beat: Tensor) -> Tensor:
        """beat [n, 151] -> logits [n, classes]."""
        return self.logits(beat)


class MlpRr(Layers):
    """The same with four RR features beside the window: 155-128-64-4."""

    inputs = ("beat", "rr")

    def __init__(self, classes: int, dropout: float = 0.0, front: Front = USUAL) -> None:
        """Window and RR features side by side."""
        super().__init__(front.values + front.rhythm, classes, dropout)

    def forward(self, beat: Tensor, rr: Tensor) -> Tensor:
        """beat [n, 151], rr [n, 4] -> logits [n, classes]."""
        return self.logits(torch.cat([beat, rr], dim=1))


class MlpZ(MlpRr):
    """The same on inputs standardised element by element: (x - mean) / deviation over the base's beats. The
    compiler takes both into the quantisers of the inputs."""

    def __init__(self, classes: int, dropout: float = 0.0, front: Front = USUAL) -> None:
        """Standardised by nothing, until `fit`."""
        super().__init__(classes, dropout, front)
        for name, values in (("beat", front.values), ("rr", front.rhythm)):
            self.register_buffer(f"{name}_mean", torch.zeros(values))
            self.register_buffer(f"{name}_scale", torch.ones(values))

    def fit(self, pool: Beats) -> None:
        """Takes means and deviations from `pool`."""
        for name, values in pool.inputs().items():
            deviation = np.maximum(values.std(axis=0, dtype=np.float64), LEAST)
            self.get_buffer(f"{name}_mean").copy_(torch.from_numpy(values.mean(axis=0, dtype=np.float64)))
            self.get_buffer(f"{name}_scale").copy_(torch.from_numpy(1 / deviation))

    def forward(self, beat: Tensor, rr: Tensor) -> Tensor:
        """beat [n, window], rr [n, features] -> logits [n, classes]."""
        return super().forward(**self.standardise({"beat": beat, "rr": rr}))

    def standardise(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Inputs by name -> the same, each element by its mean and deviation."""
        return {
            name: (values - self.get_buffer(f"{name}_mean")) * self.get_buffer(f"{name}_scale")
            for name, values in given.items()
        }


class Cnn(nn.Module):  # type: ignore[misc]
    """Three blocks of convolution, batch norm, ReLU and pooling on the window; beside their 256 features the
    four RR features; 260-32-4 dense layers on top, small enough that learning them takes few bytes."""

    inputs = ("beat", "rr")
    channels: tuple[int, ...] = (8, 16)
    held: float = LIMIT  # the largest feature

    def __init__(self, classes: int, dropout: float = 0.0, front: Front = USUAL) -> None:
        """Window through the convolutions, RR features past them."""
        super().__init__()
        a, b = self.channels
        self.conv1 = nn.Conv1d(1, a, 7, padding=3)
        self.conv2 = nn.Conv1d(a, b, 5, padding=2)
        self.conv3 = nn.Conv1d(b, 32, 5, stride=2)
        self.norm1, self.norm2, self.norm3 = nn.BatchNorm1d(a), nn.BatchNorm1d(b), nn.BatchNorm1d(32)
        self.fc1 = nn.Linear(32 * 8 + front.rhythm, 32)
        self.fc2 = nn.Linear(32, classes)
        self.dropout = nn.Dropout(dropout)

    def features(self, beat: Tensor) -> Tensor:
        """beat [n, 151] -> what the convolutions say of it [n, 256]; widths 151, 75, 37, 17, 8."""
        x = nn.functional.max_pool1d(torch.relu(self.norm1(self.conv1(beat.unsqueeze(1)))), 2)
        x = nn.functional.max_pool1d(torch.relu(self.norm2(self.conv2(x))), 2)
        # Held within what the inputs are held within, so that the RR features keep their weight beside them.
        x = nn.functional.max_pool1d(nn.functional.hardtanh(self.norm3(self.conv3(x)), 0, self.held), 2)
        return x.flatten(1)

    def forward(self, beat: Tensor, rr: Tensor) -> Tensor:
        """beat [n, 151], rr [n, 4] -> logits [n, classes]."""
        hidden = torch.cat([self.features(beat), rr], dim=1)
        return self.fc2(self.dropout(torch.relu(self.fc1(self.dropout(hidden)))))


class Gru(nn.Module):  # type: ignore[misc]
    """The window in steps of 15 values, a twelfth of a second, through 24 cells; all states of its ten steps
    go into the four outputs. Its last value is left out."""

    inputs = ("beat",)
    steps, width, units = 10, 15, 24

    def __init__(self, classes: int, dropout: float = 0.0, front: Front = USUAL) -> None:
        """The window alone."""
        super().__init__()
        if front.values < self.steps * self.width:
            raise SynapccError("gru", f"reads {self.steps * self.width} values", "take another front end")
        self.gru = nn.GRU(self.width, self.units, batch_first=True)
        self.fc = nn.Linear(self.steps * self.units, classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, beat: Tensor) -> Tensor:
        """beat [n, 151] -> logits [n, classes]."""
        window = beat[:, : self.steps * self.width].reshape(-1, self.steps, self.width)
        states, _ = self.gru(window)
        return self.fc(self.dropout(states.flatten(1)))


Model = Mlp | MlpRr | Cnn | Gru

GRU = Recipe(epochs=12, balance=0.25, dropout=0.2)
MLP, MLP_RR = Recipe(epochs=20, balance=0.25, dropout=0.2), Recipe(balance=1.0, dropout=0.5)

RECIPES = {
    "A": {"mlp": MLP, "mlp_rr": MLP_RR, "mlp_z": MLP_RR, "cnn": Recipe(), "gru": GRU},
    "B": {"mlp": MLP, "mlp_rr": MLP_RR, "mlp_z": MLP_RR, "cnn": Recipe()},
}
"""By protocol and model, chosen on the folds of its base patients; BASES.md has the tables. `mlp_z` takes
those of `mlp_rr`, `gru` all but the epochs of `mlp`; it has no base for protocol B."""

MODELS: dict[str, type[Mlp] | type[MlpRr] | type[Cnn] | type[Gru]] = {
    "mlp": Mlp, "mlp_rr": MlpRr, "mlp_z": MlpZ, "cnn": Cnn, "gru": Gru,
}  # fmt: skip


def augment(beat: Tensor, recipe: Recipe, draw: torch.Generator) -> Tensor:
    """beat [n, 151] -> the same beats louder or softer, with noise, and shifted by a few values."""
    factor = 1 + recipe.gain * torch.randn(len(beat), 1, generator=draw)
    noise = recipe.noise * torch.randn(beat.shape, generator=draw)
    shift = torch.randint(-recipe.jitter, recipe.jitter + 1, (len(beat), 1), generator=draw)
    column = (torch.arange(beat.shape[1]) + shift).clamp(0, beat.shape[1] - 1)
    return (beat.gather(1, column) * factor + noise).clamp(-LIMIT, LIMIT)


def train(name: str, pool: Beats, classes: int, seed: int, recipe: Recipe, front: Front = USUAL) -> Model:
    """A network of `MODELS[name]` trained on `pool`, ready to infer. Same arguments, same weights."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    draw = torch.Generator().manual_seed(seed)
    model = MODELS[name](classes, recipe.dropout, front)
    if isinstance(model, MlpZ):
        model.fit(pool)
    beat, rr = torch.from_numpy(pool.beat), torch.from_numpy(pool.rr)
    label = torch.from_numpy(pool.label.astype(np.int64))
    steps = recipe.epochs * len(pool) // recipe.batch
    weight = torch.bincount(label).double()[label] ** -recipe.balance
    drawn = torch.multinomial(weight, steps * recipe.batch, replacement=True, generator=draw)
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
    model.train()
    for index in drawn.view(steps, recipe.batch):
        inputs = [augment(beat[index], recipe, draw)]
        if "rr" in model.inputs:
            inputs.append(rr[index] + recipe.noise * torch.randn(recipe.batch, front.rhythm, generator=draw))
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(*inputs), label[index], label_smoothing=recipe.smoothing)
        loss.backward()
        optimiser.step()
        schedule.step()
    model.eval()
    return model


def weights(model: Model) -> list[NDArray[np.float32]]:
    """Weights [outputs, inputs] and biases of the dense layers, from the input to the output."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return [np.ascontiguousarray(t.detach().numpy()) for m in layers for t in (m.weight, m.bias)]


def seen(model: Model, some: Beats) -> NDArray[np.float32]:
    """What the first dense layer sees of beats, float32[n, inputs]; behind convolutions their features."""
    given = {name: torch.from_numpy(some.inputs()[name]) for name in model.inputs}
    if isinstance(model, Cnn):
        with torch.no_grad():
            given["beat"] = model.features(given["beat"])
    if isinstance(model, MlpZ):
        given = model.standardise(given)
    return np.ascontiguousarray(torch.cat([*given.values()], dim=1).numpy())


def export(model: Model, path: Path, front: Front = USUAL) -> None:
    """Write `model` as one ONNX file: inputs beat (and rr), output logits, dynamic batch."""
    examples = {"beat": torch.zeros(2, front.values)}
    if "rr" in model.inputs:
        examples["rr"] = torch.zeros(2, front.rhythm)
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        model,
        tuple(examples.values()),
        input_names=list(examples),
        output_names=["logits"],
        dynamic_shapes=tuple({0: batch} for _ in examples),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    proto = program.model_proto
    # The exporter notes stack traces, that is paths of the machine that trained.
    for item in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.initializer):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, proto.SerializeToString(deterministic=True))


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = Parser(prog="ecg.train", description="Train a base model of a protocol.")
    parser.add_argument("--model", choices=sorted(MODELS), default="mlp_rr")
    parser.add_argument("--protocol", choices=sorted(protocol.PROTOCOLS), default="A")
    parser.add_argument("--front", choices=FRONTS, default="usual")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--fold", type=int, choices=range(protocol.FOLDS), help="leave out this fold's patients"
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    # One thread: sums in one order, so that the same seed gives the same file.
    torch.set_num_threads(1)
    front = FRONTS[options.front]
    if options.model not in RECIPES[options.protocol]:
        print(
            f"--model {options.model}: has no recipe for protocol {options.protocol}: take A", file=sys.stderr
        )
        return 2
    chosen = replace(protocol.PROTOCOLS[options.protocol], front=front)
    try:
        check_target(options.output)
        pool = chosen.pool(() if options.fold is None else chosen.folds[options.fold])
    except SynapccError as error:
        print(error, file=sys.stderr)
        return 2
    recipe = RECIPES[options.protocol][options.model]
    model = train(options.model, pool, len(chosen.labels), options.seed, recipe, front)
    export(model, options.output, front)
    print(f"{options.output}: {options.model}, seed {options.seed}, {len(pool)} beats")
    return 0


if __name__ == "__main__":
    sys.exit(main())
