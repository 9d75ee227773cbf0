"""The command line. Each file of host/commands is one command, found by its name."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from synapcc.gen.errors import DataWarning, SynapccError
from synapcc.gen.version import VERSION

from . import commands
from .terminal.arguments import Parser, check_results, check_words, common_options, reports_of_this_run
from .terminal.results import Results
from .terminal.screen import REFUSED, complain, guarded, notes

ORDER = (
    "compile",
    "inspect",
    "frontend",
    "build",
    "flash",
    "verify",
    "bench",
    "emulate",
    "personalise",
    "sweep",
    "pull",
    "push",
    "save",
    "restore",
    "migrate",
    "demo",
    "eval",
    "boards",
    "new-board",
    "rules",
    "docs",
    "doctor",
)


def parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """All commands, with the options of all of them, or of the `chosen` one alone."""
    top = Parser(
        prog="synapcc",
        description="Networks and learning rules to C that keeps learning, bit for bit as its emulator.",
    )
    top.add_argument("--version", action="version", version=f"synapcc {VERSION}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    known = {name: place for place, name in enumerate(ORDER)}
    for name in sorted(commands.names(), key=lambda n: (known.get(n, len(ORDER)), n)):
        found = commands.command(name)
        sub = subparsers.add_parser(
            name, help=found.HELP, description=f"{found.HELP[0].upper()}{found.HELP[1:]}."
        )
        if chosen in (None, name):
            found.arguments(sub)
            common_options(sub)
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Runs a command: 0 done, 1 a check failed, 2 bad input (one clear line), 130 interrupted."""
    words = list(sys.argv[1:] if words is None else words)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    with guarded():
        return _run(next((word for word in words if not word.startswith("-")), ""), words)


def _run(name: str, words: list[str]) -> int:
    former = signal.signal(signal.SIGTERM, _terminated) if _main_thread() else None
    try:
        args = parser(name).parse_args(_completed(name, words))
        check_words(args)
        if args.rule_path:
            from synapcc.gen.discovery import add_path

            for path in args.rule_path:
                add_path(path)
        check_results(args)
        results = Results(args.json)
        with reports_of_this_run(args):
            with _warnings_in_a_line(name):
                code = commands.command(name).run(args, results)
            results.finish()
            sys.stdout.flush()
        return int(code)
    except SynapccError as error:
        complain(name, error)
        return REFUSED
    except BrokenPipeError:  # the reader of our output has gone; nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # whatever the system refuses that nobody expected it to
        where = error.filename if isinstance(error.filename, str) else "the system"
        complain(name, f"{where}: {error.strerror or error}{notes(error)}")
        return REFUSED
    except KeyboardInterrupt as error:
        print(f"\nsynapcc {name}: interrupted{notes(error)}", file=sys.stderr)
        return 130
    except SystemExit as error:  # ended by the system, or by argparse, which has said why
        if notes(error):
            print(f"synapcc {name}: ended{notes(error)}", file=sys.stderr)
        raise
    finally:
        if former is not None:
            signal.signal(signal.SIGTERM, former)


def _completed(name: str, words: list[str]) -> list[str]:
    """The words, those behind the command's name as the command wants them read."""
    found = commands.command(name) if name in commands.names() else None
    if not isinstance(found, commands.Completing):
        return words
    behind = words.index(name) + 1
    return [*words[:behind], *found.completed(words[behind:])]


@contextmanager
def _warnings_in_a_line(command: str) -> Iterator[None]:
    """What the data look like is told on standard error, as errors are, and each time."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **rest: Any) -> None:
        if issubclass(category, DataWarning):
            complain(command, f"warning: {message}")
        else:
            former(message, category, *place, **rest)

    with warnings.catch_warnings():
        former = warnings.showwarning
        warnings.simplefilter("always", DataWarning)
        warnings.showwarning = show
        yield


def _main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _terminated(_number: int, _frame: object) -> NoReturn:
    """Ends as an exception does: what is half-written goes, and devices with it."""
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
