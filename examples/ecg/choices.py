"""What the commands of this example can be asked for, in words: no beat and no network is read for it."""

from __future__ import annotations

SHOWN = {
    "232": "most beats are premature ones from the atria (S), rare among the patients of the base model",
    "214": "left bundle branch block: this patient's normal beats are as wide as others' ventricular ones",
    "213": "hundreds of fusion beats (F), of which the base model has seen few",
}
"""The demo's patients where none are asked for, and what is to be seen in each: chosen to show the effect."""

LIVE = {
    "213": "The base model gets most of this heart wrong. Correct some beats, and see what the rest become.",
    "214": "Left bundle branch block: what is normal here is as wide as a ventricular beat of others.",
    "232": "Most beats are premature ones from the atria, rare among those whom the model has seen.",
}
"""Whom the live page shows where nobody is asked for, the first one, and what is to be seen in them."""

DEVICE, LIVE_DEVICE = "unicorn", "process"
"""What runs the firmware where nothing is asked for: of the demo, and of its live page."""

SPEED_MAX, MOST_SPEED = "max", 1000.0
"""Of a live page: as fast as it goes, and times real time that may be asked for."""

FAST = 10.0
"""Times real time above which numpy may not keep pace."""
PASSES, HTML = 10, "report/ecg.html"
"""Of the demo, where nothing else is asked for."""
LIVE_ONLY = {"learn": False, "speed": "1", "http_port": 0, "open": False, "engine": "auto"}
"""Options of the live page alone, and what they are where nothing is asked for."""
DEMO_ONLY = {"passes": PASSES, "html": HTML, "timing": False, "model": "mlp"}
"""Those of the demo without it."""

MINUTES = 30.0
"""Length of a record."""
LEARN_MINUTES = 5

MODELS = ("mlp", "mlp_rr", "cnn")
RECURRENT = {"gru": ("last", "dfa", "dftt", "bptt")}
"""Networks that read a beat step by step, which have a base for protocol A alone, and the rules of each."""
STEPS = 10
"""In how many steps they read it: under `bptt` all are heard."""
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
