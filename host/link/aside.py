"""What a chip has learned, put aside while something else runs on the chip, and put back whatever comes."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.gen.ir.plan import Plan
from synapcc.gen.target.messages import Region

from ..devices import Device, DeviceError
from ..terminal.files import write_whole
from . import state
from .client import Client, connect
from .state import Tensors

Again = Callable[[Path], str]


@contextmanager
def put_aside(device: Device, client: Client, plan: Plan, again: Again) -> Iterator[None]:
    """Within it, anything may happen to state and arena of a chip; behind it both are as they were.

    Where the session of `client` has ended by then, another one is opened. Where that fails too, the state is
    written into a file. again: the command that puts that onto the chip; the error then ends with it, and is
    the one that was raised within, if there was one. Raises DeviceError, and what state.pull does.
    """
    tensors = state.pull(plan, client)
    arena = client.read(Region.ARENA, 0, client.info.arena_bytes)
    try:
        yield
        _put_back(device, client, plan, tensors, arena)
    except BaseException as error:
        try:
            _put_back(device, client, plan, tensors, arena)
        except BaseException as failed:
            error.add_note(_saved(plan, client, tensors, again, failed))
        raise


def _put_back(device: Device, client: Client, plan: Plan, tensors: Tensors, arena: bytes) -> None:
    block = state.joined(plan, tensors)
    try:
        _write(client, block, arena)
    except DeviceError:
        _write(connect(device, plan), block, arena)


def _write(client: Client, block: bytes, arena: bytes) -> None:
    client.write(Region.STATE, 0, block)
    client.write(Region.ARENA, 0, arena)
    if client.digest() != hashlib.sha256(block).digest():
        what = "does not hold the state that was put back"
        raise DeviceError(client.device.name, what, "the link or the device's memory is unreliable")


def _saved(plan: Plan, client: Client, tensors: Tensors, again: Again, failed: BaseException) -> str:
    """Where the state is that could not be put back, and how it gets onto the chip."""
    why = failed.what if isinstance(failed, DeviceError) else "interrupted"
    lost = f"what the chip had learned could not be put back ({why})"
    content = state.save(plan, tensors, client.device.name, client.info.board)
    for folder in (Path(), Path(tempfile.gettempdir())):
        path = _free(folder, plan.model)
        try:
            write_whole(path, content)
        except SynapccError:
            continue
        kept = state.kept_samples(plan, tensors)
        samples = f", with {kept} samples of the wearer" if kept else ""
        return f"{lost}: it is in {path}{samples}; {again(path)}"
    return f"{lost}, and no file could be written: it is lost"


def _free(folder: Path, model: str) -> Path:
    """A name that no file there has."""
    number = 1
    while (path := folder / f"{model}_put_aside_{number}.npz").exists():
        number += 1
    return path
