"""PlatformIO without its registry: the one package it insists on is SCons, which PyPI has too.

A private core folder (in the user's cache folder, unless PLATFORMIO_CORE_DIR is set) holds a `tool-scons`
that forwards to the installed SCons, and the stamps that keep PlatformIO from asking the network for updates.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from synapcc.gen.errors import SynapccError

from .. import cache
from ..terminal.files import locked
from . import tools

# PlatformIO looks for updates and prunes once a day: stamps are renewed before that.
STAMP_SECONDS = 12 * 3600
# of the user's PlatformIO variables, those that say where things are; flags and folders of a project would
# change the build
_KEPT = ("PLATFORMIO_PACKAGES_DIR", "PLATFORMIO_PLATFORMS_DIR", "PLATFORMIO_CACHE_DIR", "PLATFORMIO_SETTING_")
SCONS = "import SCons.Script\nSCons.Script.main()\n"


class BuildError(SynapccError):
    """The firmware cannot be built, or does not fit the board."""


def core_dir() -> Path:
    """PlatformIO's core folder: the user's if PLATFORMIO_CORE_DIR is set, else one of our own."""
    chosen = os.environ.get("PLATFORMIO_CORE_DIR")
    try:
        return Path(chosen).expanduser().absolute() if chosen else cache.folder() / "platformio"
    except OSError as error:
        raise BuildError("build", str(error), "set PLATFORMIO_CORE_DIR or XDG_CACHE_HOME") from None


def prepare(core: Path) -> None:
    """Lays down in `core` what PlatformIO would download, and marks its daily look-ups as done.

    A tool-scons that came from PlatformIO's registry is left alone. Raises BuildError if PlatformIO or SCons
    is missing.
    """
    try:
        version = metadata.version("platformio")
        metadata.version("scons")
        from platformio.dependencies import get_core_dependencies  # type: ignore[import-untyped,unused-ignore]
    except (ImportError, metadata.PackageNotFoundError) as error:
        missing = error.name or "platformio"
        raise BuildError(
            "build", f"the Python package {missing} is missing", "pip install platformio scons"
        ) from None
    wanted = get_core_dependencies()["tool-scons"].lstrip("~^=")
    try:
        with locked(core / "synapcc.lock"):
            _shim(core / "packages" / "tool-scons", wanted)
            _stamp(core / "appstate.json", version)
    except OSError as error:
        hint = "set PLATFORMIO_CORE_DIR to a folder that can be written"
        raise BuildError(str(core), f"cannot prepare PlatformIO's folder: {error.strerror}", hint) from None


def _shim(package: Path, version: str) -> None:
    name = package.name
    if (package / ".piopm").is_file() and not (package / ".shim").is_file():
        return
    spec = {"owner": "platformio", "id": None, "name": name, "requirements": None, "uri": None}
    files = {
        "scons.py": SCONS,
        "package.json": json.dumps(
            {"name": name, "version": version, "description": "forwards to the SCons of PyPI"}
        ),
        ".shim": "",
        ".piopm": json.dumps({"type": "tool", "name": name, "version": version, "spec": spec}),
    }
    package.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        if not (package / file).is_file() or (package / file).read_text(encoding="utf-8") != text:
            _replace(package / file, text)


def _stamp(path: Path, version: str) -> None:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        state = {}
    now = int(time.time())
    checks = state.get("last_check", {})
    fresh = all(now - checks.get(k, 0) < STAMP_SECONDS for k in ("platformio_upgrade", "prune_system"))
    if fresh and state.get("last_version") == version:
        return
    state["last_version"] = version
    state["last_check"] = {**checks, "platformio_upgrade": now, "prune_system": now}
    _replace(path, json.dumps(state))


def _replace(path: Path, text: str) -> None:
    """Writes whole or not at all: another process may be reading."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8", newline="\n")
    part.replace(path)


def environment(project: Path) -> dict[str, str]:
    """The environment variables under which PlatformIO needs no network and two projects do not meet."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PLATFORMIO_") or k.startswith(_KEPT)}
    env["PLATFORMIO_CORE_DIR"] = str(core_dir())
    env["PLATFORMIO_SETTING_ENABLE_TELEMETRY"] = "no"
    env["PLATFORMIO_DISABLE_UPGRADE_CHECK"] = "true"
    env["PLATFORMIO_NO_ANSI"] = "true"
    if (project / "platforms").is_dir() and "symlink://" in (project / "platformio.ini").read_text(
        encoding="utf-8"
    ):
        # the link to the project's own platform has one name in all projects: it must not lie in the shared
        # folder
        env.setdefault("PLATFORMIO_PLATFORMS_DIR", str(project / ".pio" / "platforms"))
    return env


def run(
    project: Path, *words: str, extra: Mapping[str, str] | None = None, seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    """`pio WORDS` in `project`, prepared to work offline; output captured, return code not checked.

    Raises tools.Hung after `seconds`.
    """
    prepare(core_dir())
    command = [sys.executable, "-m", "platformio", *words]
    return tools.run(command, project, {**environment(project), **(extra or {})}, seconds)
