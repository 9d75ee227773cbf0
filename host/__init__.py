"""What runs on the host: emulator, link, devices, verification, command line."""

from typing import TYPE_CHECKING

from synapcc.gen.errors import DataWarning, SynapccError
from synapcc.gen.lazy import exports

if TYPE_CHECKING:
    from .link.client import Client
    from .run.emulator import Emulator, Inference, classify
    from .run.evaluation import Evaluation, Regression
    from .run.plans import read_plan
    from .run.samples import Samples, load_samples
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "Client": "link.client",
            "Emulator": "run.emulator",
            "Evaluation": "run.evaluation",
            "Regression": "run.evaluation",
            "Inference": "run.emulator",
            "Samples": "run.samples",
            "classify": "run.emulator",
            "load_samples": "run.samples",
            "read_plan": "run.plans",
        },
    )

__all__ = [
    "Client",
    "DataWarning",
    "Emulator",
    "Evaluation",
    "Inference",
    "Regression",
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

    from .devices import open_device
    from .firmware.build import project_board
    from .link.client import connect as session
    from .run.plans import read_plan

    folder = Path(project)
    plan = read_plan(folder)
    opened = open_device(device, folder, project_board(folder))
    try:
        return session(opened, plan)
    except BaseException:  # nobody else could close it
        opened.close()
        raise
