"""The words behind a command: options are spelt out, and no result replaces what is read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from synapcc.gen.errors import SynapccError

from . import files
from .results import STDOUT

_WRITES = "writes_results"  # of the parsed arguments: which options name files that the command writes
REPORTS = {
    "html": b"<!DOCTYPE html>",
    "json": b'{\n "schema": "synapcc.',
    "junit": b'<?xml version="1.0" encoding="utf-8"?>\n<testsuites',
}
"""Of those, what says how a run went, and what such a file begins with: any other is not ours to move."""
_IN_PLACE = ("state", "state_out")  # a state may go on in its own file


class Parser(argparse.ArgumentParser):
    """A parser, for subparsers too, that takes no abbreviations: what an option added later would change the
    meaning of."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **{**keywords, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        """One line, and exit code 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


def result_option(p: argparse.ArgumentParser, *names: str, **keywords: Any) -> None:
    """An option that names a file which the command writes; `check_results` looks at all of them."""
    added = p.add_argument(*names, **keywords)
    p.set_defaults(**{_WRITES: (*(p.get_default(_WRITES) or ()), added.dest)})


def common_options(p: argparse.ArgumentParser, **keywords: Any) -> None:
    """The options that every command has."""
    result_option(
        p,
        "--json",
        metavar="FILE",
        help="also write the result there, as JSON; - prints that and nothing else",
        **keywords,
    )
    p.add_argument(
        "--rule-path",
        action="append",
        metavar="PATH",
        help="a folder or .py file with rules and ops of your own; may be given several times",
        **{"default": [], **keywords},
    )


def check_results(args: argparse.Namespace) -> None:
    """Raises SynapccError, before the work, for a result that cannot be: no folder for it, no regular file,
    one file for two of them, or a file that the command reads."""
    names = getattr(args, _WRITES, ())
    results = {n: str(v) for n in names if (v := getattr(args, n)) not in (None, STDOUT)}
    for name, path in results.items():
        (files.check_new if name == "html" else files.check_target)(Path(path))
    files.check_distinct(*results.values())
    for other, word in _words(args, names):
        for name, path in results.items():
            same = os.path.isfile(path) and os.path.realpath(word) == os.path.realpath(path)
            if same and (other, name) != _IN_PLACE:
                what = f"is read by the command, and --{name.replace('_', '-')} would replace it"
                raise SynapccError(path, what, "give the result a name of its own")


@contextmanager
def reports_of_this_run(args: argparse.Namespace) -> Iterator[None]:
    """Where the command fails, reports of an earlier run become FILE.old, or FILE.old2 and so on: nobody
    takes them for this one's.

    They are not removed, since some took hours, and take no other file's place. What a command writes of data
    or of a state stays as it is.
    """
    named = {name: getattr(args, name) for name in REPORTS if name in getattr(args, _WRITES, ())}
    paths = [Path(v) for name, v in named.items() if v not in (None, STDOUT) and _begins(v, REPORTS[name])]
    before = {path: _made(path) for path in paths}
    try:
        yield
    except BaseException as error:
        for path in (p for p, made in before.items() if _made(p) == made):
            names = (path.with_name(f"{path.name}.old{n if n > 1 else ''}") for n in count(1))
            old = next(name for name in names if not os.path.lexists(name))
            try:
                os.replace(path, old)
                error.add_note(f"{path} was of an earlier run, and is {old} now")
            except OSError as e:
                error.add_note(f"{path} is of an earlier run ({e.strerror or e})")
        raise


def _begins(path: str, head: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(head)) == head
    except OSError:
        return False


def _made(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one that took its name; None: it is gone."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _words(args: argparse.Namespace, results: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(option, text) of what is given but the command and its results."""
    given: Mapping[str, Any] = vars(args)
    for name, value in given.items():
        if name not in ("command", _WRITES, *results):
            for word in value if isinstance(value, list) else [value]:
                if isinstance(word, str):
                    yield name, word


def check_words(args: argparse.Namespace) -> None:
    """Raises SynapccError for what no argument of a process, and no path, can hold."""
    for name, word in _words(args, ()):
        if "\0" in word:
            raise SynapccError(name, f"{word!r} holds a NUL", "leave it out")
        if not word:  # most likely a variable of a shell that is not set; what is left out has no text at all
            raise SynapccError(name, "is given, but empty", "give a value, or leave it out")
