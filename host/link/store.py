"""The store in flash of a firmware: what it answers, in words, and the flash of a virtual chip in a file.

A virtual device starts as a new chip for each command, its flash erased. So a file can stand for that flash:
its bytes go to the chip, which looks at them as at a start, and come back when the command is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.gen.files.userfile import read_file
from synapcc.gen.target.messages import Kept, Region

from ..devices import DeviceError
from ..terminal.files import check_target, write_whole
from .client import Client
from .greeting import MOST_FLASH

ANSWERS: Mapping[Kept, tuple[str, str]] = {
    Kept.EMPTY: (
        "nothing is kept: it was never saved, or erased",
        "synapcc save keeps what the device has learned",
    ),
    Kept.OTHER: (
        "what is kept is of another compilation, and stays until the next save",
        "flash the firmware that saved it, or save anew",
    ),
    Kept.MIGRATED: (
        "what another compilation had kept was taken over as far as it fits",
        "synapcc save keeps it for this one",
    ),
    Kept.UNUSABLE: ("the store does not fit the device's flash", "build and flash this project"),
    Kept.IO: ("the flash could not be read or changed", "check the supply and repeat the command"),
    Kept.CORRUPT: (
        "the flash does not hold what was written to it",
        "repeat the command; if it stays, the flash is damaged",
    ),
    Kept.WORN: (
        "the flash is worn: no block is left to save to",
        "take another device; what is kept can still be restored",
    ),
}
"""What a store answers, by what it means and what to do."""

BEGAN: Mapping[Kept, str] = {
    Kept.OTHER: "as compiled: its flash held what another compilation had learned",
    Kept.MIGRATED: "with what could be taken over of another compilation's state",
    Kept.CORRUPT: "as compiled: its flash did not hold what was written to it",
}
"""How a device began whose flash held something else than its state, which a save takes the place of."""


def demand(client: Client) -> None:
    """Raises DeviceError where the firmware has no store."""
    if client.info.keep_bytes == 0:
        what = "its firmware has no store in flash"
        hint = "compile with --keep for a board whose [flash] has a driver, build and flash it"
        raise DeviceError(client.device.name, what, hint)


def refusal(client: Client, request: str, answer: Kept) -> DeviceError:
    """What a store answers that did not do what was asked."""
    what, hint = ANSWERS[answer]
    return DeviceError(client.device.name, f"{request}: {what}", hint)


class FlashFile:
    """The flash of a virtual device, in a file; `path` None: it has none.

    `found`: what the store held when the command began.
    """

    def __init__(self, client: Client, path: Path | None) -> None:
        """Gives the chip what the file holds, if there is one. Raises SynapccError, DeviceError."""
        self._client, self._path = client, path
        found = Kept.find(client.info.found)
        self.found = Kept.NONE if found is None else found
        size = client.info.flash_bytes
        if path is None:
            return
        if size == 0:
            what = f"{client.device.name} keeps its own flash"
            raise SynapccError("--flash", what, "leave --flash out: it is for virtual devices")
        check_target(path)
        if not path.exists():
            return
        content = read_file(path, MOST_FLASH, SynapccError, "give a file that synapcc save --flash wrote")
        if len(content) != size:
            what = f"holds {len(content)} bytes, the flash of this project's virtual devices has {size}"
            raise SynapccError(str(path), what, "give the file of this project, or a new name")
        client.write(Region.FLASH, 0, content)
        self.found, _ = client.restore(None)

    def keep(self) -> None:
        """Writes the file, whole: what the chip's flash holds now."""
        if self._path is not None:
            size = self._client.info.flash_bytes
            write_whole(self._path, self._client.read(Region.FLASH, 0, size))

    def lost(self) -> bool:
        """Whether what is kept goes with the device."""
        return self._path is None and self._client.info.flash_bytes > 0


def kept(client: Client, flash: FlashFile, ask: Callable[[], tuple[Kept, bytes]]) -> tuple[Kept, bytes]:
    """Asks a store, and writes the file whatever it answers: as a flash, it holds what was done so far.

    The proof is held against what the chip says of its state afterwards.
    """
    answer, proof = ask()
    flash.keep()
    if proof != client.digest():
        what = "the state is not the one that the answer was about"
        raise DeviceError(client.device.name, what, "the link or the device's memory is unreliable")
    return answer, proof
