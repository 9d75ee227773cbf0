"""synapcc demo ecg"""

from __future__ import annotations

import argparse
import time

from synapcc.examples.ecg.choices import (
    DEFAULT_MODEL,
    DEVICE,
    FAST,
    HTML,
    LIVE,
    LIVE_DEVICE,
    LIVE_ONLY,
    MINUTES,
    MODELS,
    PASSES,
    SHOWN,
    SPEED_MAX,
)
from synapcc.gen.target.boards import list_boards
from synapcc.host.devices import device_kinds
from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.results import Results

HELP = "heart beats: three patients of the MIT-BIH Arrhythmia Database, five minutes learned of each"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--patient",
        action="append",
        metavar="RECORD",
        help=f"of DS2, or synthetic-SEED; may be repeated (default: {', '.join(SHOWN)}); with --live one "
        f"(default: {next(iter(LIVE))})",
    )
    p.add_argument(
        "--device",
        help=f"{', '.join(device_kinds())}; serial takes a port, serial:/dev/ttyACM0 (default: {DEVICE}; "
        f"with --live: {LIVE_DEVICE})",
    )
    p.add_argument("--rule", default="hebbian", help="a rule or a rule file (default: %(default)s)")
    p.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help=f"{', '.join(MODELS)} or an .onnx (default: %(default)s)",
    )
    p.add_argument(
        "--board",
        default="mps2_an386",
        help=f"{', '.join(b.name for b in list_boards())} or a .toml (default: %(default)s)",
    )
    p.add_argument(
        "--passes",
        type=int,
        default=PASSES,
        metavar="K",
        help="over the five minutes: 1 streaming, then rehearsals on the chip (default: %(default)s)",
    )
    p.add_argument(
        "--minutes",
        type=float,
        metavar="M",
        help=f"use the first M minutes of each record, of which five are learned (default: {MINUTES:g}); "
        "with --live: end after M minutes of signal",
    )
    result_option(p, "--html", default=HTML, metavar="FILE", help="the report (default: %(default)s)")
    p.add_argument("--out", metavar="FOLDER", help="keep the compiled project there")
    p.add_argument("--timing", action="store_true", help="with --json: also how long it took")
    _live(p.add_argument_group("the live page"))


def _live(p: argparse._ArgumentGroup) -> None:
    p.add_argument(
        "--live",
        action="store_true",
        help="a page of this computer on which the signal scrolls, beats are corrected, and the chip learns",
    )
    p.add_argument("--learn", action="store_true", help="begin with annotations teaching the chip")
    p.add_argument(
        "--speed",
        default=LIVE_ONLY["speed"],
        metavar="X",
        help=f"times real time, or {SPEED_MAX} for as fast as it goes (default: %(default)s)",
    )
    p.add_argument(
        "--http-port", type=int, default=0, metavar="N", help="of the page (default: any free one)"
    )
    p.add_argument("--open", action="store_true", help="open the page in a browser")
    p.add_argument(
        "--engine",
        choices=("auto", "numpy", "compiled"),
        default=LIVE_ONLY["engine"],
        help="of the emulator: compiled code is faster, and loads for seconds, once for a minute; auto takes "
        f"it where --speed is above {FAST:g} (default: %(default)s)",
    )


def run(args: argparse.Namespace, out: Results) -> int:
    if args.live:
        started = time.monotonic() - time.process_time()  # Python's own start counts
        from synapcc.examples.ecg import live_run

        return live_run.run(args, out, started)
    from synapcc.examples.ecg import demo_run

    return demo_run.run(args, out)
