"""What a page may ask for: one JSON object, `do` and what that takes, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 256
"""Of a message of a page."""
SPEEDS = (1.0, 2.0, 5.0, 20.0, 0.0)
"""Times real time that a page may ask for; 0 is as fast as it goes."""
_TAKES: dict[str, dict[str, type]] = {
    "label": {"event": int, "label": int},
    "deny": {"event": int, "label": int},
    "learn": {"on": bool},
    "pause": {"on": bool},
    "speed": {"times": float},
    "drawn": {},
    "stop": {},
}


_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


class Unknown(ValueError):
    """A message that is no order; its text is the line that the page is answered."""


@dataclass(frozen=True)
class Order:
    """label: `label` for event number `event`; deny: it was not of class `label`; learn, pause: `on`; speed:
    `times` real time; drawn: the page shows its first event; stop: end the stream."""

    do: str
    event: int = 0
    label: int = 0
    on: bool = False
    times: float = 1.0


def read_order(text: str, classes: int) -> Order:
    """The order in a message of a page. Raises Unknown for anything else."""
    if len(text.encode()) > MOST_BYTES:
        raise Unknown(f"a message has at most {MOST_BYTES} bytes")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise Unknown("a message is a JSON object") from None
    if not isinstance(said, dict) or not isinstance(said.get("do"), str) or said["do"] not in _TAKES:
        raise Unknown(f"do is one of {', '.join(_TAKES)}")
    do = said.pop("do")
    if said.keys() != _TAKES[do].keys():
        raise Unknown(f"{do} takes {', '.join(_TAKES[do]) or 'nothing'}")
    given = {name: _value(f"{do}: {name}", said[name], kind) for name, kind in _TAKES[do].items()}
    if "label" in given and not 0 <= given["label"] < classes:
        raise Unknown(f"{do}: there are classes 0 to {classes - 1}")
    if do == "speed" and given["times"] not in SPEEDS:
        raise Unknown(f"speed: times is one of {', '.join(f'{s:g}' for s in SPEEDS)}")
    return Order(do, **given)


def _value(where: str, value: Any, kind: type) -> Any:
    fits = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 1000 else -1.0
    if not fits:
        raise Unknown(f"{where} is {_KINDS[kind]}")
    return value
