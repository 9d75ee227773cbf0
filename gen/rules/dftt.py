from __future__ import annotations

from . import Rule, RuleTape


class DirectFeedbackThroughTime(Rule):
    """As `dfa`; a recurrent layer hears the error in every step of the window, through one fixed matrix
    [classes, units], and changes by what each step read. Nothing is unrolled, and no history is kept: the
    window runs once more, and each step learns as it passes. Other layers learn as under `dfa`."""

    name = "dftt"
    doc = "direct feedback through time: the output error projected to every step of recurrent layers"
    source = "after Nøkland 2016, and the chip of Bol and others 2024"
    storages = ("flash", "generated")
    inits = ("random", "ternary", "aligned")
    direct = True

    def correct(self, tape: RuleTape) -> None:
        for node in reversed(tape.learned_nodes):
            tape.through_time(node)
