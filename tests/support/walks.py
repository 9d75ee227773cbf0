"""Pages that are walked through: files and commands of a page of docs/, and what it says they print.

A fenced block with a title is a file, one of `sh` is commands, one of `text` is what the commands print.
The tests walk through the pages of the tree, a release through those of what was installed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
WALKED = ("START", "OWN_NETWORK", "OWN_DATA", "OWN_RULE", "OWN_BOARD")
ELSEWHERE = {
    "make setup": ("house/test_walks.py", "test_what_setup_installs"),
    "pip install 'synapcc[virtual,fast]'":
        ("house/test_packaging.py", "test_an_installed_wheel_compiles_builds_and_learns"),
    "synapcc flash board":
        ("host/firmware/test_flash.py", "def test_platformio_uploads_by_the_command_of_the_board"),
    "synapcc verify board --data learn.npz --steps 1000 --device serial:/dev/ttyACM0":
        ("host/devices/test_devices.py", "def test_serial_over_a_pty"),
}  # fmt: skip
"""Commands that change the environment, or want a board: which test runs them, or what they are made of."""
NEEDS = {"--device qemu": "qemu-system-arm"}
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"\n]+)")?\n(.*?)^```$', re.M | re.S)


@dataclass(frozen=True)
class Block:
    """`title`: of a file, else ""."""

    kind: str
    title: str
    text: str

    @property
    def lines(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.strip()]


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page of the tree, in their order."""
    yield from blocks_of((DOCS / f"{page}.md").read_text(encoding="utf-8"))


def blocks_of(text: str) -> Iterator[Block]:
    """The fenced blocks of a page's text, in their order."""
    for kind, title, content in _BLOCK.findall(text):
        yield Block(kind, title, content)


def walk(text: str, folder: Path, run: Callable[[str], str]) -> list[str]:
    """Writes a page's files into a folder and runs its commands there; the commands that ran.

    run(line) gives what a command prints. AssertionError: it is not what the page says.
    """
    ran, printed = [], ""
    for block in blocks_of(text):
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8", newline="\n")
        elif block.kind == "sh":
            printed = ""
            for line in block.lines:
                tools = [tool for option, tool in NEEDS.items() if option in line]
                if line not in ELSEWHERE and all(shutil.which(tool) for tool in tools):
                    printed += run(line)
                    ran.append(line)
        elif block.kind == "text" and printed:
            for line in block.lines:
                assert says(printed, line), f"{line!r} is not printed, but\n{printed}"
    return ran


def says(printed: str, line: str) -> bool:
    """Whether a line of `printed` is `line`, however wide its columns are; "..." stands for anything."""
    form = re.escape(" ".join(line.split())).replace(r"\.\.\.", ".*")
    return any(re.fullmatch(form, " ".join(p.split())) for p in printed.splitlines())
