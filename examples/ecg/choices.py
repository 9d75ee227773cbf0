"""What the commands of this example can be asked for, in words: no beat and no network is read for it."""

from __future__ import annotations

SHOWN = {
    "232": "most beats are premature ones from the atria (S), rare among the patients of the base model",
    "214": "left bundle branch block: this patient's normal beats are as wide as others' ventricular ones",
    "213": "hundreds of fusion beats (F), of which the base model has seen few",
}
"""The demo's patients where none are asked for, and what is to be seen in each: chosen to show the effect."""

MINUTES = 30.0
"""Length of a record."""
LEARN_MINUTES = 5

MODELS = ("mlp", "mlp_rr", "cnn")
DEFAULT_MODEL = "mlp"
"""The network that the published figures are for; not the one that some figure is best with."""

USUAL, STREAM = "usual", "stream"
STREAM_MODEL = "cnn"
"""The network that has a base trained on what a chip finds: the one that personalising chose."""
FRONTS = {
    USUAL: "180 Hz, 0.42 s about the R peak, four features of the rhythm",
    "short": "360 Hz, 0.14 s before to 0.28 s after it, the same features",
    "form": "as usual, nine more features of rhythm and form",
    "difference": "as usual, and the window less the wearer's usual beat",
    STREAM: "as usual, from raw samples by the fixed-point front end, about R peaks that it finds",
}
"""What a network sees of a beat, a line each; examples/ecg/front.py says how."""

FLOAT_BP = "float_bp"
RULES = ("last", "dfa", "fa", "bp", "hebbian")
"""The rule files of the table. There are also dfa_aligned and hebbian_aligned (bp until it saturates)."""

PROTOCOLS = {
    "A": "base from DS1, five minutes of each DS2 patient",
    "B": "base from the 100-series, five minutes of each 200-series patient",
}
"""Ways of evaluation, a line each; examples/ecg/protocol.py says who is in them."""
