from __future__ import annotations

from ..spec.options import Integer
from . import Rule, RuleTape
from ._trial import KEPT, Trial


class EvolutionStrategy(Rule):
    """(1 + lambda): a random change of all weights stays where it makes the loss of the sample smaller.

    One after the other, each from the best so far. The rate says nothing: a change is as large as epsilon.
    """

    name = "es"
    doc = "evolution: random changes of the weights, of which those stay that make the loss smaller"
    source = "(1 + lambda)-ES; Rechenberg 1973"
    options = (KEPT, Integer("trials", "changes that are tried on each sample", 1, 64, 1))

    def correct(self, tape: RuleTape) -> None:
        epsilon, trials = float(self.option(tape.spec, "epsilon")), int(self.option(tape.spec, "trials"))
        trial, best = Trial(tape, tape.learned_nodes, epsilon), tape.measure("loss_best")
        with tape.b.program("mutate", "a random change, which stays if the loss is smaller"):
            trial.move(1)
            tape.emit_forward()
            found = {"loss": tape.measure("loss_tried"), "best": best, "d": trial.slope()}
            tape.step("compare.better", "trial", found)
            trial.settle(trial.slope(), -1, 1, rated=False)
            trial.tick()
        tape.b.repeat(trials, "mutate")
