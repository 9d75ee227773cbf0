"""What others reached under the same protocols, for reference lines. Float, and by backpropagation."""

from __future__ import annotations

from collections.abc import Mapping

from synapcc.host.reports.eval import Record

RECORDS: Mapping[str, tuple[Record, ...]] = {
    "A": (
        Record(
            "published, float, 151-128-64-4",
            {"accuracy": 0.978, "macro_f1": 0.857, "S": 0.814, "V": 0.954},
        ),
    ),
    "B": (
        Record("Kiranyaz 2016, float 1-D CNN", {"S": 0.633, "V": 0.922}),
        Record("Zhai 2018, float CNN", {"S": 0.754, "V": 0.931}),
    ),
}
"""By protocol. F1 by class; Kiranyaz S, Ince T, Gabbouj M, IEEE Trans Biomed Eng 63(3):664-675, 2016; Zhai X,
Tin C, IEEE Access 6:27465-27472, 2018 (F1 from their Sen and Ppr)."""
