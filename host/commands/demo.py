"""synapcc demo [NAME]"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from synapcc.host import examples
from synapcc.host.terminal.results import Results

HELP = "watch a chip learn what it has never seen, checked byte by byte; writes an HTML report"


def completed(words: Sequence[str]) -> list[str]:
    """The words behind `demo`, with the name of the first demo where none is given."""
    examples.check(words, "demo")
    named = words and (not words[0].startswith("-") or words[0] in ("-h", "--help"))
    return list(words) if named else [examples.default(), *words]


def arguments(p: argparse.ArgumentParser) -> None:
    p.epilog = f"Without a NAME: {examples.default()}. synapcc demo NAME --help tells its options."
    examples.arguments(p, "demo")


def run(args: argparse.Namespace, out: Results) -> int:
    return examples.run(args, out, "demo")
