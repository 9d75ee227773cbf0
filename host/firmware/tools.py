"""Programs of others that we start, such as uploaders: they end, or are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has one way to end a program
# Ends the group of a program when whoever started it is gone, however that ended. -s: dash takes no other.
_GUARD = 'read -r _; kill -s KILL -- "-$0" 2>/dev/null'


GRACE_SECONDS = 5.0
"""How long a program that is asked to end may take to leave its board alone, before it is killed."""


class Hung(TimeoutError):
    """A program did not end in time; `said`: what it had said until then."""

    def __init__(self, seconds: float, said: str) -> None:
        super().__init__(f"did not end within {seconds:g} s")
        self.said = said


def run(
    words: Sequence[str], folder: Path, env: Mapping[str, str] | None = None, seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    """A program and what it said; the return code is not checked.

    seconds: how long it may take, with all that it starts itself; Hung after that. None: any time.
    Then, and on Ctrl-C, it is asked to end, and killed if it does not: an uploader that is killed may leave a
    board halted.
    """
    with _started(words, folder, env) as child, _guarded(child):
        try:
            said, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Hung(float(seconds or 0), _end(child)) from None
        except BaseException:  # Ctrl-C is for us, who are in another session
            _end(child)
            raise
    return subprocess.CompletedProcess(words, child.returncode, said)


def _started(words: Sequence[str], folder: Path, env: Mapping[str, str] | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # which Windows knows nothing of, and lets pass
    )


@contextmanager
def _guarded(child: subprocess.Popen[str]) -> Iterator[None]:
    """Within it, the program ends with us: a build that nobody waits for would else stay for ever."""
    if sys.platform == "win32":
        yield
        return
    words = ["/bin/sh", "-c", _GUARD, str(child.pid)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as guard:
        try:
            yield
        finally:
            guard.kill()


def _end(child: subprocess.Popen[str]) -> str:
    """Ends it and what it started, which may hold its output open, asking first; what it said in all."""
    try:
        _signal(child, signal.SIGTERM)
        try:
            said, _ = child.communicate(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            _signal(child, _KILL)
            said = _rest(child)
        return said
    finally:
        _signal(child, _KILL)  # a second Ctrl-C, and what outlived the program that started it
        child.wait()


def _rest(child: subprocess.Popen[str]) -> str:
    """What a program said that was killed, even where somebody else holds its output open."""
    try:
        return child.communicate(timeout=GRACE_SECONDS)[0]
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""
        return said.decode(errors="replace") if isinstance(said, bytes) else said


def _signal(child: subprocess.Popen[str], number: int) -> None:
    """To all of its group that are still there: it may have ended at this very moment."""
    if sys.platform == "win32":
        child.kill()
        return
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses where only ended ones are left
        os.killpg(child.pid, number)
