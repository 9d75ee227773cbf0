"""Scores a recipe of a base model on the folds of a protocol, in float (needs the extra `[train]`).

    python -m synapcc.examples.ecg.compare --protocol A --model cnn
    python -m synapcc.examples.ecg.compare --protocol B --model cnn --channels 16,32 --free --balance 0.5

Each fold's patients play the wearer with a base that never saw them: their first five minutes are learned
in float32, one beat at a time, by bp, by the last layer alone and by hebbian with independent random
feedback, at several rates; the rest is the test. Convolutions stay frozen. A recipe's score is the mean over
the rules of each rule's best rate after the last pass. BASES.md has the tables. No patient of the test is
ever read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.screen import guarded

from . import protocol, train
from .beats import Beats
from .front import FRONTS

RULES = ("bp", "last", "hebbian")
RATES = (5, 7, 9, 11)
PASSES = 10


@dataclass
class Wearers:
    """All patients of a protocol's base, each with the network of the fold that left it out.

    weights, biases  of the learned layers, one stack of all wearers a layer
    learn, test      features of each wearer's beats, and their labels
    """

    names: list[str]
    weights: list[Tensor]
    biases: list[Tensor]
    learn: list[tuple[Tensor, Tensor]]
    test: list[tuple[Tensor, np.ndarray]]


def learned(model: train.Model) -> list[nn.Linear]:
    """The dense layers, from the input to the output."""
    return [m for m in model.modules() if isinstance(m, nn.Linear)]


def seen(model: train.Model, beats: Beats) -> Tensor:
    """What the first dense layer sees of beats, [n, inputs]."""
    return torch.from_numpy(train.seen(model, beats))


def wearers(chosen: protocol.Protocol, name: str, seed: int, recipe: train.Recipe) -> Wearers:
    """Trains a network a fold, and shows it to the patients of the fold."""
    people, front = chosen.load(chosen.base), chosen.front
    names, layers, learn, test = [], [], [], []
    for k, fold in enumerate(chosen.folds):
        print(f"training without fold {k + 1} of {len(chosen.folds)}", flush=True)
        model = train.train(name, chosen.pool(fold), len(chosen.labels), seed, recipe, front)
        for patient in fold:
            first, rest = protocol.split(people[patient])
            names.append(patient)
            layers.append(learned(model))
            learn.append((seen(model, first), torch.from_numpy(first.label.astype(np.int64))))
            test.append((seen(model, rest), rest.label))
    depth = range(len(layers[0]))
    weights = [torch.stack([net[i].weight.detach().clone() for net in layers]) for i in depth]
    biases = [torch.stack([net[i].bias.detach().clone() for net in layers]) for i in depth]
    return Wearers(names, weights, biases, learn, test)


def learn(people: Wearers, rule: str, rate: int, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases after `PASSES` passes of plain SGD at 2^-rate, all wearers side by side."""
    weights, biases = ([t.clone() for t in ts] for ts in (people.weights, people.biases))
    draw = torch.Generator().manual_seed(1000 + seed)
    back = weights[:1] + [w.clone() for w in weights[1:]]
    for layer in back[1:] if rule == "hebbian" else []:
        size = layer.pow(2).mean((1, 2), keepdim=True).sqrt()
        layer.copy_((torch.rand(layer.shape[1:], generator=draw) * 2 - 1) * 3**0.5 * size)
    steps = max(len(y) for _, y in people.learn)
    n, inputs = len(people.names), weights[0].shape[2]
    x, y, there = (
        torch.zeros(steps, n, inputs),
        torch.zeros(steps, n, dtype=torch.long),
        torch.zeros(steps, n),
    )
    for i, (seen, label) in enumerate(people.learn):
        x[: len(label), i], y[: len(label), i], there[: len(label), i] = seen, label, 1.0
    for t in [*range(steps)] * PASSES:
        hidden = [x[t]]
        for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
            z = torch.baddbmm(b.unsqueeze(2), w, hidden[-1].unsqueeze(2)).squeeze(2)
            hidden.append(z.relu() if k + 1 < len(weights) else z)
        error = torch.softmax(hidden[-1], 1)
        error[torch.arange(n), y[t]] -= 1.0
        signal = error * there[t].unsqueeze(1)
        for k in reversed(range(len(weights))):
            below = torch.bmm(signal.unsqueeze(1), back[k]).squeeze(1) * (hidden[k] > 0) if k else signal
            change = (signal * -(2.0**-rate)).unsqueeze(2) @ hidden[k].unsqueeze(1)
            for layer in (weights[k], back[k]) if k else (weights[k],):
                layer += change
            biases[k] += signal * -(2.0**-rate)
            if rule == "last":
                break
            signal = below
    return weights, biases


def judge(
    chosen: protocol.Protocol, people: Wearers, weights: list[Tensor], biases: list[Tensor]
) -> protocol.Scores:
    """Gross scores over the rest of every wearer's record."""
    matrices = {}
    for i, name in enumerate(people.names):
        hidden, label = people.test[i]
        for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
            hidden = hidden @ w[i].T + b[i]
            hidden = hidden.relu() if k + 1 < len(weights) else hidden
        matrices[name] = chosen.confusion(label, hidden.argmax(1).numpy())
    return protocol.summarise(matrices).gross


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line: prints a line before learning, one a rule and rate, and the score."""
    parser = Parser(prog="ecg.compare", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=sorted(train.MODELS), default="cnn")
    parser.add_argument("--protocol", choices=sorted(protocol.PROTOCOLS), default="A")
    parser.add_argument("--front", choices=FRONTS, default="usual")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--channels", metavar="A,B", help="of the first two convolutions")
    parser.add_argument("--free", action="store_true", help="features are not held within what inputs are")
    for key in ("balance", "dropout", "decay", "smoothing"):
        parser.add_argument(f"--{key}", type=float)
    parser.add_argument("--epochs", type=int)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)  # many small products: threads would wait for one another
    chosen = replace(protocol.PROTOCOLS[args.protocol], front=FRONTS[args.front])
    given = {k: getattr(args, k) for k in ("balance", "dropout", "decay", "smoothing", "epochs")}
    recipe = replace(
        train.RECIPES[args.protocol][args.model], **{k: v for k, v in given.items() if v is not None}
    )
    if args.channels:
        train.Cnn.channels = tuple(int(n) for n in args.channels.split(","))
    if args.free:
        train.Cnn.held = float("inf")
    people = wearers(chosen, args.model, args.seed, recipe)
    before = judge(chosen, people, people.weights, people.biases)
    print(f"before          accuracy {before.accuracy:.4f}  macro-F1 {before.macro_f1:.4f}", flush=True)
    best = dict.fromkeys(RULES, -1.0)
    for rule in RULES:
        for rate in RATES:
            found = judge(chosen, people, *learn(people, rule, rate, args.seed))
            f1 = dict(zip(chosen.labels, found.f1, strict=True))
            score = chosen.score(found.accuracy, found.macro_f1, f1)
            best[rule] = max(best[rule], score)
            each = "  ".join(f"F1({label}) {value:.4f}" for label, value in f1.items())
            gross = f"accuracy {found.accuracy:.4f}  macro-F1 {found.macro_f1:.4f}  {each}"
            print(f"{rule:8} 2^-{rate:<3}  {gross}", flush=True)
    print(f"score {np.mean(list(best.values())):.4f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
