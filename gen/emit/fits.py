"""Does a Plan fit a board? Flash and RAM that it takes at least, the firmware's share included."""

from __future__ import annotations

from ..errors import CompileError
from ..ir.plan import Plan
from ..target.boards import Board
from .flash import stored
from .role import Inference

# The least that the firmware adds to a model, with either toolchain: what is refused here cannot fit, and
# `synapcc build` measures the sum exactly. In RAM: buffers of the link, and the guard below the stack.
FIRMWARE_FLASH, FIRMWARE_RAM, CODE_PER_OP = 3700, 2400, 350


def firmware_bytes(plan: Plan, board: Board) -> tuple[int, int]:
    """(flash, RAM) that the firmware adds at least; without a link or learning the library is alone."""
    alone = board.link is None or isinstance(plan, Inference)
    return (0, 0) if alone else (FIRMWARE_FLASH, FIRMWARE_RAM)


def least_flash(plan: Plan, board: Board, kernel_set: str) -> int:
    """Bytes of flash that this Plan takes at least on the board, printed by `kernel_set`."""
    return stored(plan, kernel_set).nbytes + CODE_PER_OP * len(plan.ops()) + firmware_bytes(plan, board)[0]


def least_ram(plan: Plan, board: Board) -> int:
    """Bytes of RAM that this Plan takes at least on the board, whose stack is included."""
    inputs = sum(plan[i].nbytes for i in plan.inputs)
    return plan.ram_bytes + inputs + firmware_bytes(plan, board)[1] + board.stack


def check_memory(plan: Plan, board: Board, kernel_set: str) -> None:
    """Raises CompileError, naming the largest tensors, if flash, or RAM beside the stack, is too small."""
    in_flash, flash, ram = (
        stored(plan, kernel_set).tensors,
        least_flash(plan, board, kernel_set),
        least_ram(plan, board),
    )
    in_ram = tuple(t for t in plan.tensors if t.space != "const")
    for what, need, room, there in (
        ("flash", flash, board.flash.size, in_flash),
        ("RAM", ram, board.ram.size, in_ram),
    ):
        if need > room:
            large = sorted(there, key=lambda t: -t.nbytes)[:3]
            listed = ", ".join(f"{t.name} {t.nbytes}" for t in large)
            raise CompileError(
                plan.model,
                f"needs at least {need} bytes of {what}, {board.name} has {room}: {need - room} too many",
                f"largest: {listed}; use a smaller network, "
                'weights = "int8", fewer stored samples or a larger board',
            )
