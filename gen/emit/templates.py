"""The templates: those of synapcc, and those that lie beside ops from outside."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2

from .. import discovery

ROOT = Path(__file__).resolve().parents[2]


@cache
def environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.FileSystemLoader(ROOT / "templates"), jinja2.FunctionLoader(_outside_template)]
        ),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def keep_bytecode(cache: jinja2.BytecodeCache) -> None:
    """Where templates' byte code comes from and goes to: nothing here keeps any."""
    environment().bytecode_cache = cache


def _outside_template(name: str) -> str | None:
    """The C of an op that was found outside lies beside its file."""
    room, _, file = name.partition("/")
    found = [folder / file for folder in discovery.template_folders() if (folder / file).is_file()]
    return found[0].read_text(encoding="utf-8") if room == "ops" and found else None
