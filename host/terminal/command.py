"""What a command is, to the command line and to whoever looks for one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from .results import Results


class Command(Protocol):
    """What a file of this folder is; so is one of a folder `commands` of an example."""

    @property
    def HELP(self) -> str:
        """One line for the list of commands, without a full stop."""

    def arguments(self, p: argparse.ArgumentParser, /) -> None:
        """Adds the command's options."""

    def run(self, args: argparse.Namespace, out: Results, /) -> int:
        """Does it, and gives `out` its document: 0 done, 1 a check failed. Raises SynapccError: bad input."""


@runtime_checkable
class Completing(Protocol):
    """A command that sees its words before they are read."""

    def completed(self, words: Sequence[str], /) -> list[str]:
        """The words to be read in their place. Raises SynapccError."""
