"""What others reached under the same protocols, for the reference lines of a report."""

from __future__ import annotations

from collections.abc import Mapping

from synapcc.host.pages.eval import PublishedScores

from .protocol import PROTOCOLS, Published


def _scores(p: Published) -> PublishedScores:
    whole = {"accuracy": p.accuracy, "macro_f1": p.macro_f1} | {label: p.f1(label) for label in p.sen}
    return PublishedScores(p.what, {name: v / 100 for name, v in whole.items() if v is not None})


RECORDS: Mapping[str, tuple[PublishedScores, ...]] = {
    name: tuple(map(_scores, chosen.published)) for name, chosen in PROTOCOLS.items()
}
"""By protocol; F1 from their Sen and Ppr."""
