"""Programs of others that we start, such as uploaders: they end, or are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# Ends the group of a program when whoever started it is gone, however that ended. -s: dash takes no other.
_GUARD = 'read -r _; kill -s KILL -- "-$0" 2>/dev/null'


def run(
    words: Sequence[str], folder: Path, env: Mapping[str, str] | None = None, seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    """A program and what it said; the return code is not checked.

    seconds: how long it may take, with all that it starts itself; TimeoutError after that. None: any time.
    """
    with _started(words, folder, env) as child, _guarded(child):
        try:
            said, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(child)
            raise TimeoutError(f"did not end within {seconds:g} s") from None
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
        text=True,
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


def _end(child: subprocess.Popen[str]) -> None:
    """Ends it and what it started, which may hold its output open."""
    if sys.platform == "win32":
        child.kill()
    else:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
