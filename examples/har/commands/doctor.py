"""The recordings, as `synapcc doctor` looks for them."""

NAME = "shoulder exercises (seglearn)"
HINT = "pip download --no-deps seglearn==1.2.5 -d DIR/seglearn, then SYNAPCC_DATA=DIR"


def find() -> str:
    """Where they are; nothing is downloaded."""
    from synapcc.examples.har import data

    return str(data.find(download=False))
