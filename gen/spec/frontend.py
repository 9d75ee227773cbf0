"""[frontend]: what becomes of raw samples before the network sees them, block by block."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CompileError
from ..files.userfile import read_text
from ..words import nearest, short, what_is
from .options import Option, Setting, Settings
from .table import Table

SAMPLES = "samples"
"""What a block reads that has the raw samples for its signal."""
KEYS = ("rate", "channels", "push", "block")
OWN = ("name", "kind", "from")
ENDS = ("window", "beat", "rhythm")
"""Kinds of blocks that fill an input of the network, and have no signal for others."""
RATES = 1.0, 2e5
MOST_BLOCKS = 64
MAX_FILE = 1 << 20
Blocks = Mapping[str, Sequence[Option]]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """A table [[frontend.block]].

    source:  the block whose signal it reads; "": the one before it
    options: every option of its kind, those that the file leaves out with their defaults
    """

    name: str
    kind: str
    source: str
    options: Settings

    def __getitem__(self, option: str) -> Setting:
        return dict(self.options)[option]


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """A validated front end.

    rate: samples a second of each channel, in Hz; channels: of a frame; push: frames that come at a time
    """

    rate: float
    channels: int
    push: int
    blocks: tuple[BlockSpec, ...]

    def to_dict(self) -> dict[str, Any]:
        """The table as a file would say it."""
        rows = [
            {"name": b.name, "kind": b.kind, **({"from": b.source} if b.source else {}), **dict(b.options)}
            for b in self.blocks
        ]
        return {"rate": self.rate, "channels": self.channels, "push": self.push, "block": rows}


def in_order(told: Mapping[str, Any]) -> dict[str, Any]:
    """What `to_dict` gave, keys of a block in the order in which a reader looks for them."""
    rows = [{k: row[k] for k in (*OWN, *sorted(row.keys() - {*OWN})) if k in row} for row in told["block"]]
    return {**{k: told[k] for k in KEYS}, "block": rows}


def read_frontend(table: Table, known: Blocks) -> FrontEnd | None:
    """[frontend] of a rule file, or of the file that it names; None where there is none.

    known: the options of every kind of block, by its kind
    """
    if table.get("frontend") is None:
        return None
    own = table.subtable("frontend", (*KEYS, "file"))
    if own.get("file") is None:
        return _frontend(own, known)
    if more := [k for k in KEYS if own.get(k) is not None]:
        what = f"is there beside file: {', '.join(more)} would stand there"
        raise own.error("file", what, "say all of it here, or all of it there")
    name = own.get("file")
    if not isinstance(name, str) or not name:
        raise own.error(
            "file", f"is {what_is(name)}", "give the path of a front end file, from this file's folder"
        )
    return load_frontend(Path(table.where).parent / name, known)


def load_frontend(path: Path | str, known: Blocks) -> FrontEnd:
    """[frontend] of a file of its own, or of a rule file, of which nothing else is read.

    Raises CompileError, naming the file, for whatever is wrong with it.
    """
    text = read_text(Path(path), MAX_FILE, CompileError, "give a front end in TOML: synapcc docs FRONTENDS")
    try:
        raw = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise CompileError(str(path), f"is no TOML: {reason}", "see synapcc docs FRONTENDS") from None
    found = Table(str(path), "", {k: v for k, v in raw.items() if k == "frontend"}, ("frontend",))
    own = found.subtable("frontend", KEYS)
    return _frontend(own, known)


def _frontend(own: Table, known: Blocks) -> FrontEnd:
    if own.get("rate") is None:
        raise own.error("rate", "is missing", "give the samples a second of each channel, in Hz")
    rate = own.number("rate", *RATES, 0.0)
    channels = own.integer("channels", 1, 16, 1)
    push = own.integer("push", 1, 4096, None)
    rows = own.get("block")
    if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
        raise own.error(
            "block", f"is {what_is(rows)}", "write [[frontend.block]] for each block, at least one"
        )
    if len(rows) > MOST_BLOCKS:
        raise own.error("block", f"has {len(rows)} blocks", f"{MOST_BLOCKS} are the most")
    blocks: list[BlockSpec] = []
    for number, row in enumerate(rows, 1):
        blocks.append(_block(own.where, number, row, [b for b in blocks if b.kind not in ENDS], known))
        if [b.name for b in blocks].count(blocks[-1].name) > 1:
            raise own.error("block", f'has two blocks "{blocks[-1].name}"', "give each a name of its own")
    if not any(b.kind in ENDS for b in blocks):
        what = "has no window, so that the network would never see a sample"
        raise own.error("block", what, 'end with a block of kind = "window" for each input')
    return FrontEnd(rate, channels, push, tuple(blocks))


def _block(
    where: str, number: int, row: Mapping[str, Any], before: Sequence[BlockSpec], known: Blocks
) -> BlockSpec:
    name = row.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == SAMPLES:
        hint = f'lower-case letters, digits and _, not "{SAMPLES}"'
        raise CompileError(where, f"frontend.block {number}: name is {what_is(name)}", f"give {hint}")
    at = f"block {name}"
    kind = Table(where, at, {"kind": row.get("kind")}, ("kind",)).choice("kind", sorted(known), None)
    options = known[kind]
    table = Table(where, at, row, (*OWN, *(o.name for o in options)))
    source = table.get("from")
    if source is not None:
        names = (SAMPLES, *(b.name for b in before))
        if source not in names:
            near = nearest(source, names) if isinstance(source, str) else ""
            told = f'"{short(source)}"' if isinstance(source, str) else what_is(source)
            hint = f"{near}signals before it are {', '.join(names)}"
            raise table.error("from", f"is {told}", hint)
    return BlockSpec(name, kind, str(source or ""), tuple((o.name, o.read(table)) for o in options))
