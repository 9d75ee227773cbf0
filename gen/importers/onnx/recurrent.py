"""The ONNX operators RNN, GRU and LSTM: one direction, the usual activations, from a state of zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .._layers import EARLY
from .._layout import arrange, natural
from .._names import from_node
from .file import AGAIN, OnnxNode
from .layers import Act, Operand, Scope, activation, constant, weights

CELLS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "RNN": ("rnn", ("tanh",)),
    "GRU": ("gru", ("sigmoid", "tanh")),
    "LSTM": ("lstm", ("sigmoid", "tanh", "tanh")),
}
"""The cell of each operator, and its activations."""
FROM_ZERO = "export the network without an initial state as an input: each window begins from zero"
ONE_WAY = "export it with one direction (PyTorch: bidirectional=False)"


def recurrent(scope: Scope, node: OnnxNode, args: Sequence[Operand]) -> tuple[Act, ...]:
    """Every step's hidden state, and the last one's, each where it is read."""
    cell, _ = CELLS[node.op]
    if node.op == "GRU" and not node.integer("linear_before_reset", 0):
        cell = EARLY
    x, batch_first = activation(node, args), node.integer("layout", 0)
    if len(x.shape) != 3 or x.shape[0 if batch_first else 1] != 1:
        raise node.error(f"reads shape {x.shape}, no window of steps", AGAIN)
    steps, inputs = x.size // x.shape[2], x.shape[2]
    _refuse(node, args, steps)
    window = arrange(scope.builder, x.tensor, x.places.reshape(steps, inputs), node.source)
    if window is None:
        what = "its inputs lie in an order that no transpose makes"
        raise node.error(what, "put it behind a dense layer or a convolution")
    constants = _constants(scope, node, args, inputs)
    units = constants["recurrent_weight"].shape[1]
    shapes = ((1, steps, 1, units) if batch_first else (steps, 1, 1, units)), (1, 1, units)
    read = [i for i, name in enumerate(node.outputs) if name in scope.read]
    if 2 in read or not read:
        what = "its cell's state is read" if read else "gives no hidden state that the network reads"
        raise node.error(what, "take the hidden state: every step's, or the last one's")
    every = 0 in read  # the last state is then the last row of these
    y = scope.builder.recurrent(window, cell, int(every), constants, [from_node(node.name)], node.source)
    if not every:
        only = Act(y, natural(shapes[1]))
        return only, only
    all_of = Act(y, natural(shapes[0]))
    if 1 not in read:
        return (all_of,)
    last = scope.builder.gather(y, 0, [steps - 1], [f"{from_node(node.name)}_last"], node.source)
    return all_of, Act(last, natural(shapes[1]))


def _refuse(node: OnnxNode, args: Sequence[Operand], steps: int) -> None:
    """Raises CompileError for what is none of these cells."""
    if (direction := node.string("direction", "forward")) != "forward":
        raise node.error(f"runs {direction}: it needs the whole window before its first step", ONE_WAY)
    usual = CELLS[node.op][1]
    given = tuple(a.lower() for a in node.strings("activations") or usual)
    if given != usual:
        what = f"has the activations {', '.join(given)}, a cell here {', '.join(usual)}"
        raise node.error(what, "train it with the usual ones")
    if node.real("clip", 0.0):
        raise node.error("clips what its activations read", "export it without clip")
    if node.integer("input_forget", 0):
        raise node.error("couples its input and forget gates", "take an LSTM without coupling, or a GRU")
    lengths = constant(node, args, 4, "sequence lengths")
    if lengths is not None and np.any(lengths != steps):
        what = f"stops after {lengths.reshape(-1).tolist()[:4]} of {steps} steps"
        raise node.error(what, "export a window of exactly as many steps")
    for i, what in ((5, "hidden state"), (6, "cell's state")):
        if len(args) > i and isinstance(args[i], Act):
            raise node.error(f"its first {what} is computed or an input", FROM_ZERO)
        first = constant(node, args, i, what)
        if first is not None and np.any(first):
            raise node.error(f"its first {what} is not zero", FROM_ZERO)
    peepholes = constant(node, args, 7, "peepholes")
    if peepholes is not None and np.any(peepholes):
        raise node.error("has peepholes", "take an LSTM without them")


def _constants(scope: Scope, node: OnnxNode, args: Sequence[Operand], inputs: int) -> dict[str, np.ndarray]:
    """w [rows, inputs], u [rows, units], and a bias of each: all of it in that of w but what a GRU adds
    before its reset gate."""
    w, u = weights(scope, node, args, 1, "weight"), weights(scope, node, args, 2, "recurrent weight")
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[node.op]
    units = u.shape[-1] if u.ndim else 0
    if w.shape != (1, gates * units, inputs) or u.shape != (1, gates * units, units):
        what = f"its weights {w.shape} and {u.shape} fit no window of {inputs} inputs"
        raise node.error(what, AGAIN)
    if node.integer("hidden_size", units) != units:
        raise node.error(f"says hidden_size {node.integer('hidden_size', 0)} of {units} units", AGAIN)
    both = np.zeros((2, gates * units))
    if len(args) > 3 and args[3] is not None:
        given = weights(scope, node, args, 3, "bias")
        if given.shape != (1, 2 * gates * units):
            raise node.error(f"its bias has shape {given.shape}", AGAIN)
        both = given.reshape(2, -1)
    own, other = both.copy()
    kept = np.zeros(gates * units, bool)
    if node.op == "GRU" and node.integer("linear_before_reset", 0):
        kept[2 * units :] = True
    return {
        "weight": w[0],
        "bias": own + np.where(kept, 0.0, other),
        "recurrent_weight": u[0],
        "recurrent_bias": np.where(kept, other, 0.0),
    }
