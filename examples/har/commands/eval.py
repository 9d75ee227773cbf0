"""synapcc eval har"""

from __future__ import annotations

import argparse

from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.results import Results

HELP = "shoulder exercises: ten wearers of a watch, a quarter of each recording is learned, the rest tested"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--stream",
        action="store_true",
        help="also from raw samples: windows by the chip's front end, labels late, by `mark`",
    )
    p.add_argument(
        "--late",
        type=int,
        default=3,
        metavar="SECONDS",
        help="how long behind the end of a window its label comes, 0 to 7 (default: %(default)s)",
    )
    p.add_argument(
        "--wearer", action="append", metavar="N", help="1 to 10; may be repeated (default: all of them)"
    )
    p.add_argument("--passes", type=int, default=10, help="over what is learned (default: %(default)s)")
    result_option(p, "--html", metavar="FILE", help="write a report there")


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.examples.har import eval_run

    return eval_run.run(args, out)
