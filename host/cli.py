"""The command line. Each file of host/commands is one command, found by its name."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import pkgutil
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
from .arguments import Parser, check_results, check_words, json_option
from .results import Results
from .terminal import guarded

ORDER = (
    "compile",
    "inspect",
    "build",
    "flash",
    "verify",
    "bench",
    "emulate",
    "pull",
    "push",
    "demo",
    "eval",
    "boards",
    "new-board",
    "rules",
    "doctor",
)


def parser() -> argparse.ArgumentParser:
    """All commands; each sets `run`, a function of the parsed arguments and a Results that returns the exit
    code."""
    top = Parser(
        prog="synapcc",
        description="Networks and learning rules to C that keeps learning, bit for bit as its emulator.",
    )
    top.add_argument("--version", action="version", version=f"synapcc {VERSION}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    names = [m.name.replace("_", "-") for m in pkgutil.iter_modules(commands.__path__)]
    for name in sorted(names, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n)):
        module: Any = importlib.import_module(f"{commands.__name__}.{name.replace('-', '_')}")
        sub = subparsers.add_parser(
            name, help=module.HELP, description=f"{module.HELP[0].upper()}{module.HELP[1:]}."
        )
        module.arguments(sub)
        json_option(sub)
        sub.set_defaults(run=module.run)
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Runs a command: 0 done, 1 a check failed, 2 bad input (one clear line), 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    with guarded():
        return _run(parser().parse_args(words))


def _run(args: argparse.Namespace) -> int:
    former = signal.signal(signal.SIGTERM, _terminated) if _main_thread() else None
    try:
        check_words(args)
        check_results(args)
        results = Results(args.json)
        with _warnings_in_a_line(args.command):
            code = args.run(args, results)
        results.finish()
        sys.stdout.flush()
        return int(code)
    except SynapccError as error:
        print(f"synapcc {args.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has gone; nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # whatever the system refuses that nobody expected it to
        where = error.filename if isinstance(error.filename, str) else "the system"
        print(
            f"synapcc {args.command}: {' '.join(f'{where}: {error.strerror or error}'.split())}",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"\nsynapcc {args.command}: interrupted", file=sys.stderr)
        return 130
    finally:
        if former is not None:
            signal.signal(signal.SIGTERM, former)


@contextmanager
def _warnings_in_a_line(command: str) -> Iterator[None]:
    """What the data look like is told on standard error, as errors are, and each time."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **rest: Any) -> None:
        if issubclass(category, DataWarning):
            print(f"synapcc {command}: warning: {' '.join(str(message).split())}", file=sys.stderr)
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
