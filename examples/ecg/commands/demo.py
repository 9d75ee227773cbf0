"""synapcc demo ecg"""

from __future__ import annotations

import argparse

from synapcc.examples.ecg.choices import DEFAULT_MODEL, MINUTES, MODELS, SHOWN
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
        help=f"of DS2, or synthetic-SEED; may be repeated (default: {', '.join(SHOWN)})",
    )
    p.add_argument(
        "--device",
        default="unicorn",
        help=f"{', '.join(device_kinds())}; serial takes a port, serial:/dev/ttyACM0 (default: %(default)s)",
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
        default=10,
        metavar="K",
        help="over the five minutes: 1 streaming, then rehearsals on the chip (default: %(default)s)",
    )
    p.add_argument(
        "--minutes",
        type=float,
        default=MINUTES,
        metavar="M",
        help="use the first M minutes of each record, of which five are learned (default: %(default)g)",
    )
    result_option(
        p, "--html", default="report/ecg.html", metavar="FILE", help="the report (default: %(default)s)"
    )
    p.add_argument("--out", metavar="FOLDER", help="keep the compiled project there")
    p.add_argument("--timing", action="store_true", help="with --json: also how long it took")


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.examples.ecg import demo_run

    return demo_run.run(args, out)
