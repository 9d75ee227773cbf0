"""synapcc demo har"""

from __future__ import annotations

import argparse

from synapcc.host.devices import device_kinds
from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.results import Results

HELP = "shoulder exercises: a watch meets three wearers it has never seen, and learns their way to move"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--wearer",
        action="append",
        metavar="N",
        help="1 to 10; may be repeated (default: 1, 2, 3)",
    )
    p.add_argument(
        "--device",
        default="unicorn",
        help=f"{', '.join(device_kinds())}; serial takes a port, serial:/dev/ttyACM0 (default: %(default)s)",
    )
    p.add_argument("--rule", metavar="RULE.toml", help="a rule file (default: that of the example)")
    p.add_argument("--board", default="mps2_an386", help="name or .toml (default: %(default)s)")
    p.add_argument("--passes", type=int, default=10, help="over what is learned (default: %(default)s)")
    result_option(p, "--html", metavar="FILE", help="write a report there")


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.examples.har import demo

    return demo.run(args, out)
