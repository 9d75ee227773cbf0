"""One file a command, found by its name: HELP, arguments(parser), run(args, out) -> exit code.

`synapcc --help` reads the first two of every command, so a file imports at its top only what is light: the
standard library, and of synapcc what brings neither numpy nor a package of others (names of boards, kinds of
devices, errors). What does the work is imported inside the function that needs it; types that only
annotations name stand under TYPE_CHECKING. tests/test_help.py holds this for every command.

A command may also have completed(words) -> words: it sees what was typed behind its name before it is read.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

from synapcc.host.terminal.results import Results


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


def names() -> list[str]:
    """All commands, as they are typed: the file new_board.py is new-board."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def command(name: str) -> Command:
    """The command of this name."""
    return cast(Command, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))
