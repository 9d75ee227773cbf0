from __future__ import annotations

from ..ir.graph import Node
from . import Rule, RuleTape


class Hebbian(Rule):
    """Signals pass through matrices of their own that change by the same local product as the weights (URFB).

    W - R stays as it was at the start, up to saturation; with decay on both it vanishes (Kolen, Pollack
    1994).
    """

    name = "hebbian"
    doc = "asymmetric Hebbian: separate feedback weights learn by the same local product"
    source = "Amit 2019, Frontiers in Computational Neuroscience 13:18"
    passes = True
    storages = ("ram",)
    inits = ("random", "ternary", "aligned")

    def correct(self, tape: RuleTape) -> None:
        below = {n.name for n in tape.learned_nodes if tape.wants_teach(n.inputs[0])}

        def twin(node: Node) -> str | None:
            return tape.twin(node) if node.name in below else None

        tape.backward(twin, twin)
