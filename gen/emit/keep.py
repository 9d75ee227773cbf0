"""What of a state is kept in flash, what that costs, and the library's own copy of the store.

The store itself is firmware/keep.c: here it gets the model's prefix, so that the library needs no other
file and two models may be in one product.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CompileError
from ..ir.plan import Plan
from ..ir.roles import GOOD, STORED, STREAM
from ..spec.keep import MOST_BLOCKS, Keep
from ..stages.heard import Heard, to_json
from ..stages.state_check import rings
from ..target.boards import Board
from ..version import VERSION
from .manifest import Manifest, manifest
from .templates import ROOT, environment

HEADER, SMALLEST_UNIT, MARKS = 64, 4, 3
"""Bytes of a slot's header, the least that is programmed at once, marks behind a header: firmware/keep.c."""
COPIES = 3
"""Slots that the store needs room for: the old one, the new one, and one to be written again behind a cut."""
_COUNTED = {
    ("guard.judge", "guard"): ("trusted", "right", "good_right"),
    ("guard.turn", "guard"): ("phase",),
    ("counter.every", "guard"): ("phase",),
    ("counter.every", "accumulate"): ("phase",),
}
"""By kernel and node, the roles of counts that say something of samples: gen/stages/guard.py, gather.py."""
_GOOD = "good_"  # before the name of what a guard goes back to
YEARS, HOURS_A_YEAR = 10, 24 * 365.25


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the state, in bytes."""

    offset: int
    bytes: int


def left_out(plan: Plan) -> frozenset[str]:
    """The tensors of the state that hold the wearer's samples, and what counts for these alone.

    Tables of samples, where their rings stand, and sums of changes, of which one change shows its sample; the
    phase of such sums. What a guard knows by its ring: without that, trust would let the first judgement, of
    none or few samples, take any state for the good one. What a front end keeps of the stream. All that is
    not kept starts as compiled: no samples, cursors at 0, as `<model>_check` wants it, no trust.
    """
    held = {t.name for t in plan.space("state") if t.use in (STORED, STREAM) or t.role == "sum"}
    held |= {name for cursor, count, _ in rings(plan) for name in (cursor, count)}
    for _, _, step in plan.ops():
        held |= {step.args[role] for role in _COUNTED.get((step.kernel, step.node), ())}
    return frozenset(
        t.name
        for t in plan.space("state")
        if (t.name.removeprefix(_GOOD) if t.use == GOOD else t.name) in held
    )


def spans(plan: Plan, keep: Keep) -> tuple[Span, ...]:
    """The pieces of the state that are kept, in its order, each as long as it can be."""
    without = frozenset() if keep.samples else left_out(plan)
    found: list[Span] = []
    for t in sorted(plan.space("state"), key=lambda t: t.offset):
        if t.name in without:
            continue
        last = found[-1] if found else None
        joins = last is not None and t.offset - (last.offset + last.bytes) < t.itemsize
        if last is not None and joins:
            found[-1] = Span(last.offset, t.offset + t.nbytes - last.offset)
        else:
            found.append(Span(t.offset, t.nbytes))
    if not found:
        hint = "leave [keep] and --keep out"
        raise CompileError("keep", f"{plan.model} learns nothing that could be kept", hint)
    return tuple(found)


def layout(found: tuple[Span, ...]) -> int:
    """CRC-32 of the table of spans as a chip holds it: another choice of tensors is not loaded."""
    return zlib.crc32(b"".join(struct.pack("<II", s.offset, s.bytes) for s in found))


def places(plan: Plan, keep: Keep) -> dict[str, int]:
    """Where each tensor that is kept lies among what is kept, in bytes."""
    found: dict[str, int] = {}
    at = 0
    for s in spans(plan, keep):
        inside = (t for t in plan.space("state") if s.offset <= t.offset < s.offset + s.bytes)
        found |= {t.name: at + t.offset - s.offset for t in inside}
        at += s.bytes
    return found


@dataclass(frozen=True, slots=True)
class Content:
    """What a slot holds.

    state:    bytes of the state
    layout:   what tells contents of one Plan apart
    manifest: what the state says of itself, and its bytes; None and b"" without `migrate`
    """

    spans: tuple[Span, ...]
    state: int
    layout: int
    manifest: Manifest | None = None
    packed: bytes = b""

    @property
    def bytes(self) -> int:
        return self.state + len(self.packed)


def content(plan: Plan, keep: Keep, heard: Mapping[str, Heard]) -> Content:
    """What a slot of `plan` holds. heard: what each layer that learns hears, for `migrate`."""
    found = spans(plan, keep)
    state, plain = sum(s.bytes for s in found), layout(found)
    if not keep.migrate:
        return Content(found, state, plain)
    said = manifest(plan, heard, places(plan, keep))
    packed = said.packed(plain)
    return Content(found, state, zlib.crc32(packed), said, packed)


def slot_bytes(kept: int, word: int) -> int:
    """Bytes that a save of `kept` bytes programs, in units of the word."""
    unit = max(word, SMALLEST_UNIT)
    return -(-HEADER // unit) * unit + MARKS * unit + -(-kept // unit) * unit


def keep_facts(
    plan: Plan, keep: Keep, board: Board | None, heard: Mapping[str, Heard] | None = None
) -> dict[str, Any]:
    """What a report says of the store. Without a board that says its erase blocks: sizes alone, for words of
    four bytes.

    saves: how many the flash lasts at least, each in blocks that are erased for it; interval_s: from one to
    the next if it is to last ten years; years: how long it lasts at a save an hour
    """
    held = content(plan, keep, heard or {})
    kept = held.bytes
    flash = board.flash if board and board.flash.block else None
    written = slot_bytes(kept, flash.word if flash else SMALLEST_UNIT)
    facts: dict[str, Any] = {
        "samples": keep.samples,
        "migrate": keep.migrate,
        "manifest": len(held.packed),
        "heard": to_json(heard or {}) if keep.migrate else None,
        "state": plan.state_bytes,
        "kept": held.state,
        "written": written,
        "word": flash.word if flash else None,
        "block": flash.block if flash else None,
    }
    if flash is None:
        return facts | dict.fromkeys(
            ("blocks", "blocks_a_save", "cycles", "saves", "interval_s", "years", "source")
        )
    need = -(-written // flash.block)
    blocks = keep.blocks or COPIES * need
    saves = flash.cycles * blocks // need
    return facts | {
        "blocks": blocks,
        "blocks_a_save": need,
        "cycles": flash.cycles,
        "saves": saves,
        "interval_s": YEARS * HOURS_A_YEAR * 3600 / saves,
        "years": saves / HOURS_A_YEAR,
        "source": flash.source,
    }


def keep_blocks(plan: Plan, keep: Keep, board: Board, heard: Mapping[str, Heard] | None = None) -> int:
    """How many blocks the store gets on a board; 0 where it does not say their size."""
    return int(keep_facts(plan, keep, board, heard)["blocks"] or 0)


def check_store(
    plan: Plan, keep: Keep, board: Board | None, needed: int, heard: Mapping[str, Heard] | None = None
) -> None:
    """Raises CompileError where keep_mount would refuse the flash, or has no room beside `needed` bytes."""
    facts = keep_facts(plan, keep, board, heard)
    if board is None or not facts["block"]:
        return
    blocks, need, block = (
        int(facts["blocks"] or 0),
        int(facts["blocks_a_save"] or 0),
        int(facts["block"] or 0),
    )
    if block < (front := slot_bytes(0, board.flash.word)):
        what = f"needs blocks of {front} bytes at least, and {board.name} has {block}"
        raise CompileError("keep", what, "keep it in a flash of its own")
    if max(blocks, COPIES * need) > MOST_BLOCKS:
        what = f"needs {max(blocks, COPIES * need)} blocks of {block} bytes, and counts {MOST_BLOCKS}"
        raise CompileError("keep", what, "keep less, or keep it in a flash of its own")
    if blocks < COPIES * need:
        what = f"is {blocks}, and a save takes {need} of {block} bytes"
        raise CompileError("keep.blocks", what, f"give {COPIES * need} or more, or leave it out")
    if not board.flash.simulated and needed + blocks * block > board.flash.size:
        there = f"{board.name} has {board.flash.size}"
        what = f"needs {blocks} blocks of {block} bytes beside {needed} bytes, {there}"
        raise CompileError("keep", what, "use a larger board, or keep it in a flash of its own")


def _prefixed(text: str, prefix: str) -> str:
    """The store's text under a model's names, without what includes its files."""
    text = re.sub(r'^#include "[^"]*"\n', "", text, flags=re.M)
    text = re.sub(r"\b(keep|crc32)_(?=\w)", rf"{prefix}_\1_", text)
    return re.sub(r"\b(?:SYNAPCC_)?(KEEP|CRC32)_(?=\w)", rf"{prefix.upper()}_\1_", text)


def _firmware(name: str) -> str:
    return (ROOT / "firmware" / name).read_text(encoding="utf-8")


def _own(text: str) -> str:
    """The store's text where only the model's own functions, which hold its state meanwhile, can save."""
    text = re.sub(r"/\*\n \* A save: begin, .*?\bkeep_save_abort\([^;]*;\n\n", "", text, flags=re.S)
    return re.sub(r"^(?=keep_status keep_save_)", "static ", text, flags=re.M)


def kept_context(plan: Plan, keep: Keep) -> dict[str, Any]:
    """What templates say of the state that is kept: its pieces, their names, and what they mean."""
    found, digest = spans(plan, keep), [f"0x{byte:02X}" for byte in plan.digest]
    return {
        "spans": found,
        "bytes": sum(s.bytes for s in found),
        "layout": layout(found),
        "samples": keep.samples,
        "digest": [", ".join(digest[i : i + 8]) for i in range(0, len(digest), 8)],
        "tensors": [t.name for t in plan.space("state") if keep.samples or t.name not in left_out(plan)],
    }


def render_keep(
    plan: Plan, keep: Keep, command: str, heard: Mapping[str, Heard] | None = None
) -> Mapping[str, str]:
    """`<model>_keep.h` and `<model>_keep.c`. heard: what each layer that learns hears, for `migrate`."""
    held = content(plan, keep, heard or {})
    files = ("keep.h", "keep.c", "crc32.h", "crc32.c", *(["migrate.h", "migrate.c"] if keep.migrate else []))
    context = kept_context(plan, keep) | {
        "prefix": plan.model,
        "command": command,
        "version": VERSION,
        "store": {name: _prefixed(_own(_firmware(name)), plan.model) for name in files},
        "bytes": held.bytes,
        "layout": held.layout,
        "plain": layout(held.spans),
        "manifest": held.manifest,
        "manifest_bytes": len(held.packed),
        "places": _places(plan, held.manifest),
        "numeric_version": plan.numeric_version,
    }
    return {
        f"{plan.model}_keep.{ending}": environment().get_template(f"keep.{ending}.j2").render(context)
        for ending in ("h", "c")
    }


def _places(plan: Plan, said: Manifest | None) -> list[tuple[int, int, int]]:
    """Of each entry where it lies in the state, and its limits, as words of 32 bits."""
    word = 2**32
    tensors = [plan[e.name] for e in said.entries] if said else []
    return [(t.offset, t.lo % word, t.hi % word) for t in tensors]
