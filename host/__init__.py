"""What runs on the host: emulator, link, devices, verification, command line."""

from typing import TYPE_CHECKING

from synapcc.gen.errors import DataWarning, SynapccError
from synapcc.gen.lazy import exports

if TYPE_CHECKING:
    from .client import Client
    from .data import Samples, load_samples
    from .emulator import Emulator, Inference, classify, read_plan
    from .evaluation import Evaluation
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "Client": "client",
            "Emulator": "emulator",
            "Evaluation": "evaluation",
            "Inference": "emulator",
            "Samples": "data",
            "classify": "emulator",
            "load_samples": "data",
            "read_plan": "emulator",
        },
    )

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


def connect(project: str, device: str = "unicorn") -> "Client":
    """A session with the firmware of an output folder on `device` (process, unicorn, qemu, serial:PORT).

    The client owns the device: use it in a `with` block, or call close(). Raises SynapccError.
    """
    from pathlib import Path

    from .build import project_board
    from .client import connect as session
    from .devices import open_device
    from .emulator import read_plan

    folder = Path(project)
    plan = read_plan(folder)
    return session(open_device(device, folder, project_board(folder)), plan.digest)
