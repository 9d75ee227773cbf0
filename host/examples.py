"""Examples, found and not named: demos, protocols and data that a command can run or look for.

An example is a package: a folder of synapcc/examples, or what another distribution names as an entry point

    [project.entry-points."synapcc.examples"]
    har = "my_package.har"

Its `commands/demo.py` is `synapcc demo NAME`, `commands/eval.py` is `synapcc eval NAME`: files as in
host/commands. Its `commands/doctor.py` is a row of `synapcc doctor`; what the `networks` of its
`commands/bench.py` give are rows of `synapcc bench --emulator`. It may bring any of them.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol, cast

from synapcc.gen.errors import SynapccError
from synapcc.gen.words import nearest

from .terminal.arguments import common_options
from .terminal.command import Command
from .terminal.results import Results

if TYPE_CHECKING:
    from synapcc.gen.ir.plan import Plan

PACKAGE = GROUP = "synapcc.examples"
_COMMAND, _DATA = ("HELP", "arguments", "run"), ("NAME", "HINT", "find")


class Data(Protocol):
    """A `commands/doctor.py`: data that the example needs."""

    @property
    def NAME(self) -> str:
        """What is looked for."""

    @property
    def HINT(self) -> str:
        """How to get it."""

    def find(self) -> str:
        """Where it is; "" or an exception if it is not there. Changes nothing."""


def commands(command: str) -> dict[str, Command]:
    """The examples that bring `command`, by name. Raises SynapccError: one that cannot be imported."""
    return {name: cast(Command, module) for name, module in _modules(command, _COMMAND).items()}


def data() -> list[Data]:
    """What the examples look for on this machine."""
    return [cast(Data, module) for module in _modules("doctor", _DATA).values()]


def networks() -> Iterator[tuple[str, Plan, Sequence[int]]]:
    """What `synapcc bench --emulator` measures: (title, Plan, numbers of devices)."""
    for module in _modules("bench", ("networks",)).values():
        yield from module.networks()


def default() -> str:
    """The example that is shown when none is named; "" where there are none."""
    package = _imported(PACKAGE, PACKAGE)
    return str(package.DEFAULT) if package else ""


def arguments(p: argparse.ArgumentParser, command: str) -> None:
    """A parser for each example that brings `command`; the chosen one's name is `args.example`."""
    parts = p.add_subparsers(dest="example", metavar="NAME", required=True)
    for name, found in commands(command).items():
        told = f"{found.HELP[0].upper()}{found.HELP[1:]}."
        part = parts.add_parser(name, help=found.HELP, description=told)
        try:
            found.arguments(part)
            common_options(part, default=argparse.SUPPRESS)  # what stands before NAME stays as it is
        except argparse.ArgumentError as error:
            hint = "an example has no --json of its own; mend or uninstall it"
            raise SynapccError(f"example {name}", f"has an option twice ({error})", hint) from None


def run(args: argparse.Namespace, out: Results, command: str) -> int:
    """Runs the example that was chosen."""
    return commands(command)[args.example].run(args, out)


def check(words: Sequence[str], command: str) -> None:
    """Raises SynapccError if the first of a command's words names an example that does not bring it."""
    if words and not words[0].startswith("-") and words[0] not in (known := commands(command)):
        hint = f"{nearest(words[0], list(known))}there are: {', '.join(known) or 'none'}"
        raise SynapccError(words[0], "no example of this name has this command", hint)


def _packages() -> dict[str, str]:
    """Name -> module of each example's package, those of other distributions after ours."""
    ours = _imported(PACKAGE, PACKAGE)
    names = sorted(m.name for m in pkgutil.iter_modules(ours.__path__) if m.ispkg) if ours else []
    found = {name: f"{PACKAGE}.{name}" for name in names}
    for point in sorted(metadata.entry_points(group=GROUP)):
        if found.setdefault(point.name, point.module) != point.module:
            what = f"is the name of two packages, {found[point.name]} and {point.module}"
            raise SynapccError(f"example {point.name}", what, "uninstall one of them")
    return found


def _modules(command: str, brings: Sequence[str]) -> dict[str, Any]:
    found = {}
    for name, package in _packages().items():
        home = f"{package}.commands.{command}"
        module = _imported(home, f"{package}.commands", home)
        if lacks := [attribute for attribute in brings if module and not hasattr(module, attribute)]:
            raise SynapccError(home, f"has no {lacks[0]}", f"such a file brings {', '.join(brings)}")
        if module:
            found[name] = module
    return found


def _imported(name: str, *may_lack: str) -> Any:
    """A module; None where one of `may_lack` is not there."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name in may_lack:
            return None
        raise SynapccError(name, f"cannot be imported ({error})", "mend or uninstall it") from None
