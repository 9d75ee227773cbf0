"""The recordings, as `synapcc doctor` looks for them."""

NAME = "shoulder exercises (seglearn)"
HINT = "pip download --no-deps seglearn==1.2.5 -d DIR/seglearn, then SYNAPCC_DATA=DIR"


def find() -> str:
    """Where they are; nothing is downloaded. Raises what says that they are not there."""
    from synapcc.examples.har import data

    try:
        return str(data.find(download=False))
    except data.DataError as error:  # the row says HINT itself
        raise data.DataError(error.where, error.what) from None
