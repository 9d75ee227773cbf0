"""The page: one document of templates/live, which asks for nothing but its stream."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from synapcc.gen.emit.templates import ROOT

from ..pages import html
from .judge import LAST
from .orders import SPEEDS
from .recording import Recording
from .stream import SHOWN

FOLDER = ROOT / "templates" / "live"


@dataclass(frozen=True)
class Words:
    """What a page says.

    title, about: of whom it is, and what is to be seen
    notice:  of the data where they are not what one might think, else ""
    device:  what runs the firmware
    event:   what an event is called, one and several; meaning: of each class
    denied:  the class that one press says it was not, and its words; -1 for none
    """

    title: str
    about: str
    notice: str
    device: str
    event: tuple[str, str]
    meaning: tuple[str, ...]
    denied: int
    press: str


def page(words: Words, recording: Recording, nonce: str) -> str:
    """The document. nonce: of its style and script"""
    facts = {
        "names": recording.names,
        "rate": recording.rate,
        "steps": recording.steps,
        "unit": recording.unit,
        "shown": SHOWN,
        "speeds": SPEEDS,
        "last": LAST,
        **asdict(words),
    }
    return html.render("page.html.j2", {"words": words, "facts": facts, "nonce": nonce}, FOLDER)
