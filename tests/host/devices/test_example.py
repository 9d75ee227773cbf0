"""The example of a package on a virtual Cortex-M: what its button teaches it is what the emulator learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from projects import case

from synapcc.gen.target.boards import load_board
from synapcc.host.cli import main
from synapcc.host.devices import DeviceError
from synapcc.host.devices.unicorn import UnicornDevice
from synapcc.host.firmware import platformio
from synapcc.host.run.emulator import Emulator

BUTTON = """/* As a user would fill it in: samples of a table, and the button is a key of the terminal. */
#include "example-learn.h"

#include <stddef.h>

#include "../hal/hal.h"
#include "example-samples.h"

static uint32_t turns;

const net_inputs_t *example_sample(void)
{
    const net_inputs_t *x = NULL;

    if (turns < 40u) {
        x = &example_samples[turns % (sizeof example_samples / sizeof example_samples[0])];
        turns++;
    }
    return x;
}

int example_button(uint8_t *label)
{
    const uint8_t key = hal_rx();

    *label = (uint8_t)(key - (uint32_t)'0');
    return (key != (uint8_t)'.') ? 1 : 0;
}
"""
BOARD = "mps2_an386"


def lines(device: UnicornDevice, keys: bytes) -> list[str]:
    """What the firmware says while these keys are pressed, until it wants another one."""
    text = b""
    device.write(keys)
    while more := device.read(1.0):
        text += more
    return text.decode().splitlines()


def test_the_example_learns_from_its_button(tmp_path: Path) -> None:
    made = case(tmp_path, more="[store]\nsamples = 4\n[replay]\nsamples = 2\n")
    project = tmp_path / "packaged"

    assert main(made.words(project, "--package", "platformio", "--board", BOARD)) == 0
    (project / "src" / "learn" / "board.c").write_text(BUTTON)
    done = platformio.run(project, "run", "-e", "learn-example")
    assert done.returncode == 0 and "warning" not in done.stdout, done.stdout[-2000:]
    elf = project / ".pio" / "build" / "learn-example" / "firmware.elf"

    machine = Emulator(project)
    rng = np.random.default_rng(2)
    keys = rng.choice(list(b"...012"), 40).astype(np.uint8).tobytes()
    samples = embedded(project / "src" / "learn" / "example-samples.h")
    with UnicornDevice(elf, load_board(BOARD)) as device:
        said = lines(device, keys)
        wanted = []
        for i, key in enumerate(keys):
            x = {"input": samples[i % len(samples)][None]}
            y = machine.infer(x)
            learns = key != ord(".")
            wanted.append(f"class {y.winner[0]}, margin {y.margin[0]}{', learned' if learns else ''}")
            if learns:
                machine.learn(x, [key - ord("0")])
        assert said == wanted and sum("learned" in line for line in said) > 10
        state = machine.state[0].tobytes()
        assert device.content("example_model", len(state)) == state
        assert state != Emulator(project).state[0].tobytes()
        with pytest.raises(DeviceError, match="0 symbols of the firmware are called nobody"):
            device.content("nobody", 4)


def embedded(path: Path) -> np.ndarray:
    """The samples of example-samples.h, int8 [n, size]."""
    text = path.read_text().split("example_samples", 1)[1].split("= {", 1)[1].split("};", 1)[0]
    rows = [row for row in text.replace("}", "{").split("{") if row.strip(" ,\n")]
    return np.array([[int(v) for v in row.split(",") if v.strip()] for row in rows], np.int8)
