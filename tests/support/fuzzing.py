"""What fuzzers of model files share: damage to bytes, and a process that tries files under hard limits.

    python tests/support/fuzz_FORMAT.py FIRST LAST           tries files FIRST .. LAST - 1, a line each
    python tests/support/fuzz_FORMAT.py FIRST --write PATH   writes file FIRST

File number n is a function of n alone, so what is found can be made again.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synapcc.gen.compile import compile_model
from synapcc.gen.errors import CompileError
from synapcc.gen.importers import load_model
from synapcc.gen.rules import options, rules
from synapcc.gen.spec import INFERENCE_ONLY, parse_spec

SECONDS, MEMORY = 5, 1 << 30
SAMPLES = 3

Rng = np.random.Generator
INTEGERS = (0, 1, -1, 2, 3, 5, 7, 100, 4097, 2**31 - 1, 2**31, -(2**31), 2**40, 2**63 - 1, -(2**63))
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan)
WORDS = ("", "x", "SAME_UPPER", "VALID", "edge", "constant", "*/", "\n", "é\u202e", "a" * 300, "ai.onnx.ml")


def change_bytes(g: Rng, data: bytearray) -> bytes:
    for _ in range(int(g.integers(1, 6))):
        at, to = sorted(int(i) for i in g.integers(0, len(data) + 1, 2))
        match int(g.integers(4)):
            case 0:
                data[min(at, len(data) - 1)] ^= 1 << int(g.integers(8))
            case 1:
                data[min(at, len(data) - 1)] = int(g.integers(256))
            case 2 if g.random() < 0.3:
                del data[at : min(to, at + 64)]
            case _ if g.random() < 0.2:
                data[at:at] = data[at : min(to, at + 64)]
        if not data:
            break
    return bytes(data if g.random() < 0.8 else data[: int(g.integers(len(data) + 1))])


def pick(g: Rng, items: Sequence[Any]) -> Any:
    return items[int(g.integers(len(items)))]


def integer(g: Rng) -> int:
    return int(pick(g, INTEGERS)) if g.random() < 0.6 else int(g.integers(-3, 12))


def compiled(path: Path, g: Rng) -> str:
    """Compiles the file for any rule, calibrated with noise: "plan", or the message of a CompileError."""
    names = sorted(rules())
    rule = pick(g, (INFERENCE_ONLY, *names))
    text = f'rule = "{rule}"\n'
    if rule != INFERENCE_ONLY:
        text += f'weights = "{pick(g, ("int8", "int16"))}"\n' + pick(g, ("", "", 'layers = "all"\n'))
    try:
        graph = load_model(path)
        if g.random() < 0.2:
            text += f"untied = {[n.name for n in graph.nodes if n.op == 'conv2d']}\n"
        data = {
            name: g.standard_normal((SAMPLES, *graph.tensors[name].shape)).astype(np.float32)
            for name in graph.inputs
        }
        bare = path.suffix == ".tflite" and rule == INFERENCE_ONLY and g.random() < 0.5
        plan = compile_model(graph, parse_spec(text, "fuzz", options()), None if bare else data).plan
        assert plan.ops()
    except CompileError as error:
        message = str(error)
        if "\n" in message or not error.what:
            raise AssertionError(f"no single line: {message!r}") from error
        return message
    return "plan"


def limit_cpu(seconds: int) -> None:
    """The kernel ends this process after so many seconds from now."""
    soft = int(time.process_time()) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def limit_memory() -> None:
    """Allocations beyond MEMORY fail in this process."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


Damaged = Callable[[int], bytes]


def tried(script: str, first: int, last: int) -> Iterator[tuple[int, str]]:
    """What became of the files first .. last - 1 of a fuzzer beside this file, tried in processes of their
    own; one that was ended is replaced behind the file that ended it."""
    here = Path(__file__).parent
    paths = os.pathsep.join(str(p) for p in (here / "_ns", here))
    environment = {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
    while first < last:
        words = [sys.executable, str(here / script), str(first), str(last)]
        run = subprocess.run(words, env=environment, capture_output=True, text=True)
        ended = [line.split(" ", 3) for line in run.stdout.splitlines() if " ends " in line]
        yield from ((int(number), said) for number, _, _, said in ended)
        first = int(ended[-1][0]) + 1 if ended else first
        if run.returncode:
            yield first, f"FAILED the process was ended ({run.returncode}): {run.stderr[-500:]}"
            first += 1


def trial(damaged: Damaged, suffix: str, first: int, last: int) -> None:
    """Tries the files, a line before and behind each."""
    limit_memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"net{suffix}"
        for number in range(first, last):
            path.write_bytes(damaged(number))
            print(f"{number} begins", flush=True)
            limit_cpu(SECONDS)
            start = time.process_time()
            try:
                said = compiled(path, np.random.default_rng(number))
            except BaseException:
                said = "FAILED " + traceback.format_exc().replace("\n", " | ")
            print(f"{number} ends {time.process_time() - start:.2f} {said}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak {peak >> 10} MB", flush=True)


def command(damaged: Damaged, suffix: str) -> None:
    """What a fuzzer does when it is run."""
    if sys.argv[2] == "--write":
        Path(sys.argv[3]).write_bytes(damaged(int(sys.argv[1])))
    else:
        trial(damaged, suffix, int(sys.argv[1]), int(sys.argv[2]))
