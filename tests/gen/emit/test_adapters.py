"""Adapters: each store that is there already, cut at every operation; each driver; and that all compile."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from ctools import HERE, run
from golden_nets import golden_plan
from packaged import STRICT, STUBS, package

from synapcc.gen.emit import PACKAGES, render
from synapcc.gen.emit.adapters import ADAPTERS, adapters
from synapcc.gen.emit.keep import kept_context
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import Keep
from synapcc.host.run.emulator import Emulator

pytestmark = pytest.mark.skipif(
    not (shutil.which("gcc") and shutil.which("g++")), reason="gcc and g++ are not installed"
)
C = HERE / "c"
UNDEFINED = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
EVERY = adapters(tuple(PACKAGES))
OF_CPP = ("in_preferences", "on_eeprom")
"""What is a class in the ecosystem."""
MODELS = ["ring", pytest.param("pair", marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {name: package(golden_plan(name), root / name, keep=Keep()) / "src" for name in ("ring", "pair")}


def language(adapter: str, standard: str = "c++11") -> list[str]:
    return ["g++", f"-std={standard}", "-x", "c++"] if adapter in OF_CPP else ["gcc", "-std=c99"]


def flags(folder: Path, model: str, *more: str) -> list[object]:
    names = [f"-DMODEL={model}", f"-DUPPER={model.upper()}", f"-D{model.upper()}_KEEP_IN_PIECE=32u"]
    posix = ["-D_POSIX_C_SOURCE=200809L", f"-D{model.upper()}_KEEP_EEPROM_WRITES_BYTES"]
    return [*STRICT, "-O1", "-fPIC", *names, *posix, *more, f"-I{folder}", f"-I{C}", f"-I{STUBS}"]


def library(folder: Path, model: str) -> list[Path]:
    """Its objects, made once."""
    objects = [folder / f"{model}.o", folder / f"{model}_keep.o"]
    for made in objects:
        if not made.exists():
            run(["gcc", "-std=c99", *flags(folder, model), "-c", made.with_suffix(".c"), "-o", made])
    return objects


def ran(adapter: str, source: Path, folder: Path, model: str, into: Path, *more: str) -> str:
    """What a program says that holds an adapter, in its ecosystem's language, and the library, in C."""
    objects = [into / "own.o", *library(folder, model)]
    own = flags(folder, model, f"-DHEADER={model}_keep_{adapter}.h", *UNDEFINED, *more)
    run([*language(adapter), *own, "-c", source, "-o", objects[0]])
    run(["g++", *UNDEFINED, *objects, "-o", into / "program"])
    done = subprocess.run([into / "program"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- which, and in what language --------------------------------------------------------------------------


def test_each_kind_of_package_brings_its_own() -> None:
    plan = golden_plan("pair")
    for kinds in ((), *((kind,) for kind in PACKAGES), tuple(PACKAGES)):
        there = {
            path.removeprefix("lib/pair/src/pair_keep_").removesuffix(".h")
            for path in render(plan, None, "t", packages=kinds, keep=Keep())
            if path.startswith("lib/pair/src/pair_keep_")
        }
        wanted = {"in", "in_littlefs"}.union(*(ADAPTERS.get(kind, ()) for kind in kinds))
        assert there == wanted
        assert not any("_keep" in path for path in render(plan, None, "t", packages=kinds))
    assert len(EVERY) == 10


@pytest.mark.parametrize("compiler", ["gcc -std=c99", "g++ -std=c++11 -x c++", "g++ -std=c++20 -x c++"])
def test_all_compile_alone_and_together(compiler: str, libraries: dict[str, Path], tmp_path: Path) -> None:
    """But NVS of Zephyr and of ESP-IDF, whose functions have the same names: never in one program."""
    own = [a for a in EVERY if compiler.startswith("g++") or a not in OF_CPP]
    for i, names in enumerate([[a] for a in own] + [[a for a in own if a != "in_zephyr_nvs"]]):
        source = tmp_path / f"{i}.c"
        source.write_text("".join(f'#include "ring_keep_{name}.h"\n' for name in names))
        run([*compiler.split(), "-fsyntax-only", *flags(libraries["ring"], "ring"), source])


@pytest.mark.parametrize("api", ["zms", "nvs"])
def test_the_headers_that_zephyr_moved_are_found_where_they_are(
    api: str, libraries: dict[str, Path], tmp_path: Path
) -> None:
    moved = tmp_path / "zephyr" / "kvss" / f"{api}.h"
    moved.parent.mkdir(parents=True)
    moved.write_text(f"#define MOVED\n#include <zephyr/fs/{api}.h>\n")
    source = tmp_path / "moved.c"
    adapter = "in_zms" if api == "zms" else "in_zephyr_nvs"
    source.write_text(f'#include "ring_keep_{adapter}.h"\n#ifndef MOVED\n#error "not found"\n#endif\n')
    run(["gcc", "-std=c99", "-fsyntax-only", *flags(libraries["ring"], "ring"), f"-I{tmp_path}", source])


@pytest.mark.parametrize("compiler", ["arm-none-eabi-gcc -mcpu=cortex-m0", "xtensa-lx106-elf-gcc"])
def test_those_in_c_compile_for_chips(compiler: str, libraries: dict[str, Path], tmp_path: Path) -> None:
    """Where size_t and uint32_t are other types than here."""
    tool, *cpu = compiler.split()
    headers = Path("/usr/lib/xtensa-lx106-elf/include")
    if shutil.which(tool) is None or (tool.startswith("xtensa") and not headers.is_dir()):
        pytest.skip(f"{tool} is not installed, or has no headers")
    system = ["-isystem", headers] if tool.startswith("xtensa") else []
    source = tmp_path / "all.c"
    names = [a for a in EVERY if a not in (*OF_CPP, "in_zephyr_nvs")]
    source.write_text("".join(f'#include "ring_keep_{name}.h"\n' for name in names))
    run([tool, *cpu, "-std=c99", *flags(libraries["ring"], "ring"), *system, "-fsyntax-only", source])


# ---- stores that are there already ------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("store", [a for a in EVERY if a.startswith("in_") and a != "in_littlefs"])
def test_every_cut_and_every_fault_leaves_the_old_or_the_new_state(
    store: str, model: str, libraries: dict[str, Path], tmp_path: Path
) -> None:
    """Items change whole or not at all, as stores promise; where a write fails, maybe at the next boot."""
    said = ran(
        store, C / "adapters.c", libraries[model], model, tmp_path, f"-DSTORE_{store.removeprefix('in_')}"
    )
    tried, old, new = (int(word) for word in said.split() if word.isdigit())
    assert tried == old + new > 150 and min(old, new) > 10


@pytest.mark.parametrize(
    ("what", "right", "wrong"),
    [
        ("the bank that counts is written", "1u ^ ((uint32_t)items->head", "((uint32_t)items->head"),
        ("a failed head is taken for the old one", "if (items->doubt) {", "if (false) {"),
        ("the head is written as it is there", "^= 2u;", "^= 0u;"),
        ("a failed item is written over", "(items->failed > 0u)", "false"),
        ("no CRC", "(crc != ring_keep_in_get32(&head[8]))", "false"),
        ("no check", "(ring_check(&m->state) != RING_OK)", "false"),
        ("a gap hides what lies behind it", "|| (number < own)", "|| (own == 0u)"),
        (
            "what failed comes back",
            "status = items->put(items->context, items->failed, items->head, 1u);",
            "status = RING_KEEP_OK;",
        ),
        ("one bank is not forgotten", "ring_keep_items_clear(items, 2u)", "RING_KEEP_OK"),
    ],
)
@pytest.mark.long
def test_the_world_finds_a_store_that_is_wrong(
    what: str, right: str, wrong: str, libraries: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(libraries["ring"], tmp_path / "src")
    text = (folder / "ring_keep_in.h").read_text()
    assert right in text, what
    (folder / "ring_keep_in.h").write_text(text.replace(right, wrong))
    with pytest.raises(AssertionError, match="line"):
        ran("in_zms", C / "adapters.c", folder, "ring", tmp_path, "-DSTORE_zms")


# ---- littlefs ---------------------------------------------------------------------------------------------

FILES = """
import ctypes, sys
import littlefs.lfs
ctypes.CDLL(littlefs.lfs.__file__, ctypes.RTLD_GLOBAL)  # PyPI's wheel holds littlefs itself
own, image, state = ctypes.CDLL(sys.argv[1]), sys.argv[2], ctypes.create_string_buffer(int(sys.argv[3]))
own.disk_cells.restype = ctypes.POINTER(ctypes.c_ubyte * (24 * 512))
cells = own.disk_cells().contents
if sys.argv[4] == "run":
    own.adapters()
    open(image, "wb").write(bytes(cells))
else:
    ctypes.memmove(cells, open(image, "rb").read(), len(cells))
status = own.restored(state)
print(status, state.raw.hex())
"""
GEOMETRY = {"block_size": 512, "block_count": 24, "read_size": 16, "prog_size": 16, "cache_size": 64}
"""Of filestore.h."""


def files(plan: Plan, folder: Path, into: Path, image: Path, how: str) -> tuple[list[str], int, bytes]:
    """What the program with the library in it says; the answer of a restore of the image, and the state."""
    made = into / "library.so"
    more = ["-DSTORE_littlefs", f"-DHEADER={plan.model}_keep_in_littlefs.h", "-DLFS_MULTIVERSION_FIELD"]
    build = ["gcc", "-std=c99", "-shared", *flags(folder, plan.model, *more)]
    run([*build, C / "adapters.c", library(folder, plan.model)[0], "-o", made])
    words = [sys.executable, "-c", FILES, made, image, str(plan.state_bytes), how]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *said, last = done.stdout.splitlines()
    status, state = last.split()
    return said, int(status), bytes.fromhex(state)


def packed(plan: Plan, keep: Keep, state: bytes) -> bytes:
    """The file as KEEP.md says it: what is kept, then the head."""
    context = kept_context(plan, keep)
    kept = b"".join(state[s.offset : s.offset + s.bytes] for s in context["spans"])
    crc, layout = zlib.crc32(kept), context["layout"]
    head = struct.pack("<4sIIIII", b"SKI1", len(kept), crc, plan.numeric_version, layout, 0) + plan.digest
    return kept + head + struct.pack("<I", zlib.crc32(head))


@pytest.mark.parametrize("model", MODELS)
def test_littlefs_itself_cut_at_every_operation_and_its_file_read_and_written_by_python(
    model: str, libraries: dict[str, Path], tmp_path: Path
) -> None:
    littlefs = pytest.importorskip(
        "littlefs", reason="littlefs is not installed: pip install littlefs-python"
    )
    assert littlefs.lfs.__LFS_VERSION__ == (2, 11)  # stubs/lfs.h has the structs of this one
    plan, keep, image = golden_plan(model), Keep(), tmp_path / "image"
    said, status, state = files(plan, libraries[model], tmp_path, image, "run")
    tried, old, new = (int(word) for word in said[0].split() if word.isdigit())
    assert tried == old + new > 400 and min(old, new) > 10
    context = littlefs.UserContext(buffer=bytearray(image.read_bytes()))
    disk = littlefs.LittleFS(context, mount=False, **GEOMETRY)
    disk.mount()
    assert disk.listdir("/") == ["kept"]
    with disk.open("kept", "rb") as file:
        content = file.read()
    assert status == 0 and content == packed(plan, keep, state)
    # The other way: what the emulator learned, written here, is what the library restores.
    machine = Emulator(plan)
    rng = np.random.default_rng(4)
    for i in range(9):
        inputs = {n: rng.integers(-99, 100, (1, plan[n].count)).astype(plan[n].dtype) for n in plan.inputs}
        machine.learn(inputs, [i % plan.classes])
    learned = machine.state[0].tobytes()
    with disk.open("kept", "wb") as file:
        file.write(packed(plan, keep, learned))
    image.write_bytes(bytes(context.buffer))
    _, status, back = files(plan, libraries[model], tmp_path, image, "read")
    assert status == 0 and packed(plan, keep, back) == packed(plan, keep, learned) != content


@pytest.mark.long
def test_littlefs_s_own_header_and_source(libraries: dict[str, Path], tmp_path: Path) -> None:
    """SYNAPCC_LITTLEFS: a folder with lfs.c and its headers, as the sdist of littlefs-python has one."""
    given = os.environ.get("SYNAPCC_LITTLEFS")
    if not given:
        pytest.skip("SYNAPCC_LITTLEFS names no folder with littlefs' source")
    source, folder, program = Path(given), libraries["ring"], tmp_path / "program"
    objects = []
    for name in ("lfs", "lfs_util"):
        objects.append(tmp_path / f"{name}.o")
        quiet = ["-w", "-O1", "-DLFS_NO_DEBUG", "-DLFS_NO_WARN", "-DLFS_NO_ERROR", "-DLFS_NO_MALLOC"]
        run(["gcc", "-std=c99", *quiet, "-c", source / f"{name}.c", "-o", objects[-1]])
    more = ["-DSTORE_littlefs", "-DALONE", "-DHEADER=ring_keep_in_littlefs.h", "-isystem", str(source)]
    own = [flag for flag in flags(folder, "ring", *more, *UNDEFINED) if str(STUBS) not in str(flag)]
    run(["gcc", "-std=c99", *own, C / "adapters.c", folder / "ring.c", *objects, "-o", program])
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "cuts" in done.stdout, done.stdout + done.stderr


# ---- drivers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", [a for a in EVERY if a.startswith("on_")])
def test_a_driver_takes_the_store_round_its_flash(
    driver: str, libraries: dict[str, Path], tmp_path: Path
) -> None:
    folder = libraries["pair"]
    assert ran(driver, C / "flashdrivers.c", folder, "pair", tmp_path, f"-DDRIVER_{driver}") == ""


EEPROM = """
#include "ring_keep_on_eeprom.h"
struct Copy {
    uint8_t read(int address);
    void write(int address, uint8_t value);
    uint16_t length();
    COMMIT
};
const ring_keep_flash_t *flash(ring_keep_eeprom_t<Copy> *own, Copy *copy);
const ring_keep_flash_t *flash(ring_keep_eeprom_t<Copy> *own, Copy *copy)
{
    return ring_keep_on_eeprom(own, copy, 0u);
}
"""


@pytest.mark.parametrize(
    ("commit", "promise", "said"),
    [
        ("", True, ""),
        ("", False, "define RING_KEEP_EEPROM_WRITES_BYTES"),
        ("bool commit();", True, "is a copy in RAM"),
    ],
)
def test_an_emulated_eeprom_is_refused(
    commit: str, promise: bool, said: str, libraries: dict[str, Path], tmp_path: Path
) -> None:
    source = tmp_path / "eeprom.cpp"
    source.write_text(EEPROM.replace("COMMIT", commit))
    own = [f for f in flags(libraries["ring"], "ring") if promise or "WRITES_BYTES" not in str(f)]
    words = ["g++", "-std=c++11", "-fsyntax-only", *map(str, own), str(source)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (said == "") and said in done.stderr, done.stderr


def test_the_head_says_what_is_kept_and_of_which_plan(libraries: dict[str, Path]) -> None:
    """Samples change what is kept, and so the layout: other firmware does not load it."""
    plan = golden_plan("ring")
    texts = {
        samples: render(plan, None, "t", keep=Keep(samples=samples))["lib/ring/src/ring_keep_in.h"].decode()
        for samples in (False, True)
    }
    for samples, text in texts.items():
        context = kept_context(plan, Keep(samples=samples))
        assert f"{context['layout']}u);" in text and all(line in text for line in context["digest"])
        assert f"RING_KEEP_IN_BYTES {context['bytes']}u" in text
        assert ("the wearer's samples included" in text) == samples
    assert len({json.dumps(kept_context(plan, Keep(samples=s))["layout"]) for s in texts}) == 2
