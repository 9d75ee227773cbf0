"""synapcc demo anomaly"""

from __future__ import annotations

import argparse

from synapcc.host.devices import device_kinds
from synapcc.host.terminal.results import Results

HELP = "a machine, synthesised: a chip learns from nothing what is usual, follows drift, tells faults"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--device",
        default="unicorn",
        help=f"{', '.join(device_kinds())}; serial takes a port, serial:/dev/ttyACM0 (default: %(default)s)",
    )
    p.add_argument("--board", default="mps2_an386", help="name or .toml (default: %(default)s)")
    p.add_argument("--seed", type=int, default=1, help="of the machine (default: %(default)s)")


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.examples.anomaly import demo

    return demo.run(args, out)
