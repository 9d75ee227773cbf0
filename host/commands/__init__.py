"""One file a command, found by its name: HELP, arguments(parser), run(args, out) -> exit code.

`synapcc --help` reads the first two of every command, so a file imports at its top only what is light: the
standard library, and of synapcc what brings neither numpy nor a package of others (names of boards, kinds of
devices, errors). What does the work is imported inside the function that needs it; types that only
annotations name stand under TYPE_CHECKING. tests/host/commands/test_help.py holds this for every command.

A command may also have completed(words) -> words: it sees what was typed behind its name before it is read.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import cast

from synapcc.host.terminal.command import Command, Completing

__all__ = ["Command", "Completing", "command", "names"]


def names() -> list[str]:
    """All commands, as they are typed: the file new_board.py is new-board."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def command(name: str) -> Command:
    """The command of this name."""
    return cast(Command, importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))
