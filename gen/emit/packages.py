"""Packages: thin wrappers around the library's folder, for what people build with, each with one example.

The library is the same files everywhere; a wrapper only says where they are. All may lie in one folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CompileError
from ..ir.inputs import TARGET
from ..ir.plan import Plan
from ..spec import INFER, LEARN
from ..target.board import Board
from ..version import VERSION
from .adapters import adapters, header
from .example import ROUNDS, Example, braced_rows, drawn, initialisers
from .interface import entry_views, label_type
from .package_names import NAMES_OF_PACKS, taken
from .role import Inference
from .templates import environment
from .views import Views

URL = "https://example.com/your-library"
"""Where ecosystems demand an address, until its user has one: RFC 2606 keeps this one free."""
VENDOR = "synapcc"
FIRST = "1.0.0"
"""The version of a library that was just emitted, as library.json has it."""


@dataclass(frozen=True)
class Package:
    """A kind of package.

    files: what it adds to the library's folder, template by path
    wrapper: which form of main its example has, `example` its folder
    """

    files: Callable[[str], dict[str, str]]
    example: str
    main: str
    wrapper: str
    use: str
    board: str = "board.c"


def _cmake(model: str) -> dict[str, str]:
    return {
        "CMakeLists.txt": "CMakeLists.txt",
        f"cmake/{model}-config.cmake": "config.cmake",
        "examples/cmake/CMakeLists.txt": "example_cmake.txt",
    }


def _arduino(model: str) -> dict[str, str]:
    return {"library.properties": "library.properties", "keywords.txt": "keywords.txt"}


def _zephyr(model: str) -> dict[str, str]:
    return {
        "zephyr/module.yml": "module.yml",
        "zephyr/CMakeLists.txt": "zephyr_CMakeLists.txt",
        "zephyr/Kconfig": "Kconfig",
        "samples/learn/CMakeLists.txt": "zephyr_sample.txt",
        "samples/learn/prj.conf": "prj.conf",
        "samples/learn/sample.yaml": "sample.yaml",
    }


def _esp_idf(model: str) -> dict[str, str]:
    return {
        "CMakeLists.txt": "CMakeLists.txt",
        "idf_component.yml": "idf_component.yml",
        "examples/esp-idf/CMakeLists.txt": "idf_example.txt",
        "examples/esp-idf/main/CMakeLists.txt": "idf_main.txt",
    }


def _cmsis_pack(model: str) -> dict[str, str]:
    return {
        f"{VENDOR}.{model}.pdsc": "pack.pdsc",
        "examples/cmsis-pack/README.md": "cmsis_README.md",
        "examples/cmsis-pack/learn.csolution.yml": "csolution.yml",
        "examples/cmsis-pack/learn.cproject.yml": "cproject.yml",
    }


def _platformio(model: str) -> dict[str, str]:
    return {"examples/platformio/platformio.ini": "platformio.ini"}


PACKAGES: dict[str, Package] = {
    "platformio": Package(
        _platformio,
        "examples/platformio/src",
        "main.c",
        "c",
        "copy this folder to `lib/` of a project; `pio run -t exec` in `examples/platformio` runs the "
        "example here",
    ),
    "arduino": Package(
        _arduino,
        "examples/Learn",
        "Learn.ino",
        "Learn.ino",
        "copy this folder to the sketchbook's `libraries/`; the sketch is File, Examples, Learn",
        "board.cpp",
    ),
    "cmake": Package(
        _cmake,
        "examples/cmake",
        "main.c",
        "c",
        "`add_subdirectory`, `FetchContent`, or `cmake --install` and `find_package(MODEL CONFIG REQUIRED)`; "
        "link `MODEL::MODEL`",
    ),
    "zephyr": Package(
        _zephyr,
        "samples/learn/src",
        "main.c",
        "zephyr",
        "name this folder in `ZEPHYR_EXTRA_MODULES` or the west manifest, and set `CONFIG_SYMBOL=y`; "
        "the example is `samples/learn`",
    ),
    "esp-idf": Package(
        _esp_idf,
        "examples/esp-idf/main",
        "main.c",
        "esp-idf",
        "copy this folder to `components/` of a project, and write `REQUIRES MODEL`; `idf.py build` in "
        "`examples/esp-idf` builds the example",
    ),
    "cmsis-pack": Package(
        _cmsis_pack,
        "examples/cmsis-pack",
        "main.c",
        "bare",
        "`zip -r VENDOR.MODEL.VERSION.pack .` in this folder makes a pack; "
        "`examples/cmsis-pack/learn.csolution.yml` takes it from here",
    ),
}
"""Every kind of package by its name."""

_DEVICES = {
    "cortex-m0": "ARMCM0",
    "cortex-m0plus": "ARMCM0P",
    "cortex-m3": "ARMCM3",
    "cortex-m4": "ARMCM4",
    "cortex-m7": "ARMCM7",
    "cortex-m33": "ARMCM33",
    "cortex-m55": "ARMCM55",
}
"""The devices of the pack ARM::Cortex_DFP that stand for a core alone."""


def wanted(options: Iterable[str], where: str = "--package") -> tuple[str, ...]:
    """The packages that lists such as "cmake,zephyr" name, each once, in the order of PACKAGES.

    Raises CompileError for one that there is not.
    """
    names = [word.strip() for option in options for word in option.split(",")]
    for name in names:
        if name not in PACKAGES:
            raise CompileError(where, f"there is no package {name!r}", f"packages: {', '.join(PACKAGES)}")
    return tuple(name for name in PACKAGES if name in names)


def check_name(model: str, packages: Sequence[str]) -> None:
    """Raises CompileError where the model's name is something else's in an ecosystem."""
    shortest, longest = NAMES_OF_PACKS
    if "cmsis-pack" in packages and not shortest <= len(model) <= longest:
        what = f"cmsis-pack takes names of {shortest} to {longest} characters, this one has {len(model)}"
        raise CompileError(model, what, "choose another one: --name NAME")
    for name in packages:
        if taken(model, name):
            what = f"{name} has something else of the name {model}"
            raise CompileError(model, what, "choose another one: --name NAME")


def render_packages(
    plan: Plan,
    packages: Sequence[str],
    board: Board | None,
    kernel_set: str,
    example: Example | None = None,
    quantiser: bool = False,
    keep: bool = False,
) -> dict[str, str]:
    """The files that the wrappers add to the library's folder, by path below it; nothing without a package.

    example: its samples; drawn where there are none
    quantiser, keep: whether <model>_quantise.h, and <model>_keep.{h,c} with its adapters, are there
    """
    check_name(plan.model, packages)
    if not packages:
        return {}
    context = _context(plan, packages, board, kernel_set, example or drawn(plan), quantiser, keep)
    env = environment()

    def text(template: str, **more: Any) -> str:
        return env.get_template(f"package/{template}.j2").render(context | more)

    files = {"README.md": text("README.md")}
    for name in packages:
        package = PACKAGES[name]
        files |= {path: text(template) for path, template in package.files(plan.model).items()}
        folder, ending = package.example, package.board.removeprefix("board.")
        files |= _example(text, folder, ending)
        template = {"bare": "main_bare.c", "Learn.ino": "Learn.ino"}.get(package.wrapper, "main.c")
        files[f"{folder}/{package.main}"] = text(template, wrapper=package.wrapper)
    return files


def render_example(
    plan: Plan, board: Board | None, kernel_set: str, example: Example | None = None, keep: bool = False
) -> dict[str, str]:
    """The example as firmware of a board that has a link: its files by name."""
    context = _context(plan, (), board, kernel_set, example or drawn(plan), quantiser=False, keep=keep)
    env = environment()

    def text(template: str, **more: Any) -> str:
        return env.get_template(f"package/{template}.j2").render(context | more)

    return {path.removeprefix("./"): content for path, content in _example(text, ".", "c").items()} | {
        "main.c": text("main_hal.c")
    }


def _example(text: Callable[..., str], folder: str, ending: str) -> dict[str, str]:
    """The part of an example that is the same everywhere, but for how its user's file is called."""
    return {
        f"{folder}/example-learn.h": text("example-learn.h", ending=ending),
        f"{folder}/example-learn.c": text("example-learn.c"),
        f"{folder}/board.{ending}": text("board.c"),
        f"{folder}/example-samples.h": text("example-samples.h"),
    }


def _context(
    plan: Plan,
    packages: Sequence[str],
    board: Board | None,
    kernel_set: str,
    example: Example,
    quantiser: bool,
    keep: bool,
) -> dict[str, Any]:
    model, views = plan.model, Views(plan, ()).all
    learning = plan.learning
    entries = {e.name: e for e in entry_views(plan, views)}
    symbol = f"SYNAPCC_{model.upper()}"
    words = {"MODEL": model, "VENDOR": VENDOR, "VERSION": FIRST, "SYMBOL": symbol}
    headers = [f"{model}.h", *([f"{model}_quantise.h"] if quantiser else [])]
    headers += [f"{model}_keep.h", *(header(model, a) for a in adapters(packages))] if keep else []
    verb = "infers and keeps learning" if learning else "infers"
    role = INFER if isinstance(plan, Inference) else LEARN
    functions = [
        "init",
        "infer",
        "check",
        *([learning] if learning else []),
        *(["take"] if role == INFER else []),
    ]
    return {
        "plan": plan,
        "model": model,
        "packages": packages,
        "target": f"synapcc_{model}",
        "symbol": symbol,
        "version": FIRST,
        "vendor": VENDOR,
        "url": URL,
        "tool_version": VERSION,
        "digest": plan.digest.hex(),
        "kernel_set": kernel_set,
        "headers": headers,
        "sources": [f"{model}.c", *([f"{model}_keep.c"] if keep else [])],
        "keep": keep,
        "device": _DEVICES.get(board.core.cpu if board else "", "ARMCM4"),
        "title": f"The example of {model}: samples{', learns from a button' if learning else ''}",
        "sentence": f"A neural network in fixed point that {verb} on a microcontroller.",
        "paragraph": "Plain C99 without heap and float; the same bytes on every chip.",
        "types": [f"{model}_{t}" for t in ("t", "state_t", "inputs_t", "outputs_t", "status")],
        "functions": [f"{model}_{f}" for f in functions],
        "literals": [f"{model.upper()}_{e}" for e in ("OK", "BAD_LABEL", "BAD_STATE", "BUSY")],
        "uses": {name: _named(PACKAGES[name].use, words) for name in packages},
        "role": role,
        "learning": learning,
        "label_type": label_type(plan),
        "entry": entries.get(learning),
        "target_view": views.get(TARGET),
        "quantiser": quantiser,
        "rounds": ROUNDS,
        "says_class": not plan.numbers and (plan.scores > 1 or plan.classes == 2),
        "ram_bytes": plan.ram_bytes,
        "samples": initialisers(plan, example),
        "count": len(example),
        "labels": example.labels.tolist(),
        "targets": braced_rows(example.targets) if example.targets is not None else [],
        "given": example.given,
        "drawn": example.drawn,
    }


def _named(text: str, words: dict[str, str]) -> str:
    """`text` with words in capitals replaced."""
    for word, value in words.items():
        text = text.replace(word, value)
    return text
