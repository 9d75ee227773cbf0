"""Programs of others that we start, such as uploaders: they end, or are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(
    words: Sequence[str], folder: Path, env: Mapping[str, str] | None = None, seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    """A program and what it said; the return code is not checked.

    seconds: how long it may take, with all that it starts itself; TimeoutError after that. None: any time.
    """
    with subprocess.Popen(
        words,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # which Windows knows nothing of, and lets pass
    ) as child:
        try:
            said, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(child)
            raise TimeoutError(f"did not end within {seconds:g} s") from None
        except BaseException:  # Ctrl-C is for us, who are in another session
            _end(child)
            raise
    return subprocess.CompletedProcess(words, child.returncode, said)


def _end(child: subprocess.Popen[str]) -> None:
    """Ends it and what it started, which may hold its output open."""
    if sys.platform == "win32":
        child.kill()
    else:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
