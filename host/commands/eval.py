"""synapcc eval NAME"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from synapcc.host import examples
from synapcc.host.terminal.results import Results

HELP = "personalise everyone of a protocol in the emulator: accuracy and F1, beside float backpropagation"


def completed(words: Sequence[str]) -> list[str]:
    """The words behind `eval`, after a look at the name."""
    examples.check(words, "eval")
    return list(words)


def arguments(p: argparse.ArgumentParser) -> None:
    p.epilog = "synapcc eval NAME --help tells its options."
    examples.arguments(p, "eval")


def run(args: argparse.Namespace, out: Results) -> int:
    return examples.run(args, out, "eval")
