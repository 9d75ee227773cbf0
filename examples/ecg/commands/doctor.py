"""The data of this example, for the table of synapcc doctor."""

from __future__ import annotations

NAME = "mitdb (ECG data)"
HINT = "synapcc demo ecg fetches it, or set SYNAPCC_DATA to the folder that holds mitdb"


def find() -> str:
    """The folder of the records; nothing is fetched. Raises what says that they are not there."""
    from synapcc.examples.ecg import records

    return str(records.find(download=False))
