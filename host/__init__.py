"""What runs on the host: emulator, link, devices, verification, command line."""

from synapcc.gen.errors import DataWarning, SynapccError

from .client import Client
from .client import connect as _connect
from .data import Samples, load_samples
from .emulator import Emulator, Inference, classify, read_plan
from .evaluation import Evaluation

__all__ = [
    "Client",
    "DataWarning",
    "Emulator",
    "Evaluation",
    "Inference",
    "Samples",
    "SynapccError",
    "classify",
    "connect",
    "load_samples",
    "read_plan",
]


def connect(project: str, device: str = "unicorn") -> Client:
    """A session with the firmware of an output folder on `device` (process, unicorn, qemu, serial:PORT).

    The client owns the device: use it in a `with` block, or call close(). Raises SynapccError.
    """
    from pathlib import Path

    from .build import project_board
    from .devices import open_device

    folder = Path(project)
    plan = read_plan(folder)
    return _connect(open_device(device, folder, project_board(folder)), plan.digest)
