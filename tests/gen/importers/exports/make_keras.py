"""Writes the keras_*_BACKEND.onnx of this folder, and in keras.npz what Keras computes with them.

    python make_keras.py tensorflow      needs keras, tensorflow, tf2onnx, onnx
    python make_keras.py torch           needs keras, torch, onnx, onnxscript; run it behind the other one

Keras writes ONNX by `model.export(path, format="onnx")`: with TensorFlow through tf2onnx, with PyTorch
through PyTorch's exporter. The weights are made by NumPy, so that both backends write the same networks.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = sys.argv[1]
import keras
from keras import layers

HERE = Path(__file__).parent
SAMPLES = 3


def ecg() -> keras.Model:
    """A beat of two leads and four RR features."""
    beat, rr = keras.Input((64, 2), name="beat"), keras.Input((4,), name="rr")
    x = layers.Conv1D(6, 7, strides=2, padding="same", name="conv1")(beat)
    x = layers.BatchNormalization(name="norm1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.Conv1D(8, 5, dilation_rate=2, padding="causal", activation="relu", name="conv2")(x)
    x = layers.MaxPooling1D(2, name="pool")(x)
    x = layers.Concatenate(name="join")([layers.Flatten(name="flat")(x), rr])
    x = layers.Dense(16, activation="relu", name="fc1")(x)
    return keras.Model([beat, rr], layers.Dense(4, activation="softmax", name="fc2")(x))


def image() -> keras.Model:
    """Depthwise and separable convolutions, a residual, the ways to pool and pad.

    AveragePooling2D(padding="same") is left out: with PyTorch, Keras pads it with edge values.
    """
    x = image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = y = layers.ReLU(6.0, name="relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.BatchNormalization(name="norm2")(x)
    x = layers.Activation("hard_silu", name="hard_silu")(x)
    x = layers.Conv2D(8, 1, name="pointwise")(x)
    x = layers.Add(name="add")([x, y])
    x = layers.ZeroPadding2D(((1, 0), (0, 1)), name="zeros")(x)
    x = layers.SeparableConv2D(6, 3, activation="relu", name="separable")(x)
    x = layers.AveragePooling2D(2, strides=1, name="mean")(x)
    x = layers.MaxPooling2D(2, strides=1, padding="same", name="largest")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(image, layers.Dense(3, name="scores")(x))


def functions() -> keras.Model:
    """One after another: what is exact, what a table computes, what is written as a product."""
    x = signal = keras.Input((10, 3), name="signal")
    for name in (
        "silu",
        "gelu",
        "elu",
        "softplus",
        "tanh",
        "hard_sigmoid",
        "hard_silu",
        "leaky_relu",
        "sigmoid",
    ):
        x = layers.Conv1D(3, 3, padding="same", name=f"conv_{name}")(x)
        x = layers.Activation(name, name=name)(x)
    x = layers.GlobalMaxPooling1D(name="pool")(x)
    return keras.Model(signal, layers.Dense(2, activation="sigmoid", name="head")(x))


def fill(model: keras.Model, g: np.random.Generator) -> None:
    """Random weights of a trained layer's size."""
    for layer in model.layers:
        new = []
        for variable in layer.weights:
            shape = tuple(variable.shape)
            if variable.name in ("moving_variance", "gamma"):
                new.append(g.uniform(0.5, 1.5, shape))
            else:
                fan = max(int(np.prod(shape[:-1])), 1)
                new.append(g.standard_normal(shape) * (0.2 if len(shape) == 1 else np.sqrt(2 / fan)))
        layer.set_weights([w.astype(np.float32) for w in new])


def main() -> None:
    backend, seen = keras.backend.backend(), {}
    for build in (ecg, image, functions):
        keras.utils.clear_session()
        g = np.random.default_rng(len(build.__name__))
        model, name = build(), build.__name__
        fill(model, g)
        inputs = {k.name: g.standard_normal((SAMPLES, *k.shape[1:])).astype(np.float32) for k in model.inputs}
        scores = keras.ops.convert_to_numpy(model(list(inputs.values()), training=False))
        for k, v in {**inputs, "scores": scores}.items():
            seen[f"{name}/{k}"] = v
        model.export(str(HERE / f"keras_{name}_{backend}.onnx"), format="onnx", verbose=False)
    path = HERE / "keras.npz"
    if path.exists():
        with np.load(path) as before:
            for key, value in seen.items():
                np.testing.assert_allclose(value, before[key], rtol=1e-4, atol=1e-5)
    else:
        np.savez_compressed(path, **seen)


if __name__ == "__main__":
    main()
