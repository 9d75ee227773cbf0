"""synapcc frontend FRONT.toml --in SAMPLES.npz --out WINDOWS.npz"""

from __future__ import annotations

import argparse
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.results import Results

HELP = "raw samples through an integer front end: the windows that a network on the chip is shown"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("front", nargs="?", metavar="FRONT.toml", help="a file with [frontend], or a rule file")
    p.add_argument(
        "--in",
        dest="samples",
        metavar="SAMPLES.npz",
        help="raw samples as `samples`, int16 [n] or [n, channels]",
    )
    result_option(
        p,
        "--out",
        metavar="WINDOWS.npz",
        help="gets windows by the names of their inputs, and `end`, the number of each window's last sample",
    )
    p.add_argument(
        "--planar",
        action="store_true",
        help="windows of several channels as [channels, length] (default: [length, channels])",
    )
    p.add_argument("--blocks", action="store_true", help="list the kinds of blocks and their options")


def run(args: argparse.Namespace, out: Results) -> int:
    if args.blocks:
        return _list(out)
    missing = [
        n for n, v in (("FRONT.toml", args.front), ("--in", args.samples), ("--out", args.out)) if not v
    ]
    if missing:
        hint = "give a front end, samples and a file for windows, or --blocks"
        raise SynapccError(missing[0], "is missing", hint)
    from synapcc.gen.frontends import block_options
    from synapcc.gen.spec.frontend import load_frontend
    from synapcc.host.run.frontend import cut
    from synapcc.host.run.streaming import read_stream
    from synapcc.host.terminal.files import packed, write_whole

    front = load_frontend(Path(args.front), block_options())
    samples = read_stream(Path(args.samples))
    found = cut(front, samples, args.planar)
    write_whole(Path(args.out), packed({**found.windows, "end": found.end}))
    shapes = {name: list(x.shape[1:]) for name, x in found.windows.items()}
    count = len(found.end)
    out.give(
        "frontend", {"samples": len(samples), "windows": count, "shapes": shapes, "front": front.to_dict()}
    )
    seconds = len(samples) / front.rate
    told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    out.say(f"{len(samples)} samples, {seconds:.6g} s at {front.rate:g} Hz: {count} windows of {told}")
    return 0


def _list(out: Results) -> int:
    from synapcc.gen.frontends import blocks
    from synapcc.gen.spec.options import Quantity

    rows = {
        kind: {
            "doc": block.doc,
            "options": {
                o.name: {
                    "doc": o.doc,
                    "unit": o.unit if isinstance(o, Quantity) else "",
                    "default": o.default,
                }
                for o in block.options
            },
        }
        for kind, block in blocks().items()
    }
    out.give("frontend", {"blocks": rows})
    for kind, block in blocks().items():
        out.say(f"{kind:<16}{block.doc}")
        for o in block.options:
            unit = f" ({o.unit})" if isinstance(o, Quantity) and o.unit else ""
            out.say(f"  {o.name:<14}{o.doc}{unit}")
    return 0
