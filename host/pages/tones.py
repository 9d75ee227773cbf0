"""What a colour stands for on the pages that speak of tensors."""

TONES = {
    "weights": "weight",
    "feedback": "feedback",
    "samples": "store",
    "activations": "arena",
    "teaching": "teach",
    "other": "small",
}
MEANS = {
    "weight": "weights and biases",
    "feedback": "feedback matrices",
    "store": "stored samples",
    "arena": "activations",
    "teach": "teaching signals",
    "small": "tables, counters, all else",
}
