"""Packages: what each ecosystem demands of their form, and that each builds without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from ctools import run
from golden_nets import golden_plan
from packaged import STRICT, STUBS, cmake, cmake_path, example, package, sketch_compiles

from synapcc.gen.compile import compile_model
from synapcc.gen.emit import PACKAGES, render
from synapcc.gen.emit.example import MOST_BYTES, MOST_SAMPLES, chosen, drawn
from synapcc.gen.emit.packages import URL, check_name, wanted
from synapcc.gen.errors import CompileError
from synapcc.gen.ir.graph import Graph, Node, Tensor
from synapcc.gen.ir.plan import Plan
from synapcc.gen.spec import Keep, Loss, RuleSpec
from synapcc.gen.target.boards import load_board
from synapcc.host.run.emulator import Emulator

NO_GCC = pytest.mark.skipif(
    not (shutil.which("gcc") and shutil.which("g++")), reason="gcc and g++ are not installed"
)
XTENSA_HEADERS = Path("/usr/lib/xtensa-lx106-elf/include")
NO_ARM = pytest.mark.skipif(shutil.which("arm-none-eabi-g++") is None, reason="arm-none-eabi-g++ is missing")


def small_plan(name: str, spec: RuleSpec) -> Plan:
    """Two inputs, one of them a map, to three scores."""
    rng = np.random.default_rng(3)
    w = rng.normal(0, 0.3, (3, 10))
    tensors = {
        "a": Tensor("a", (1, 2, 3)),
        "b": Tensor("b", (4,)),
        "f": Tensor("f", (6,)),
        "j": Tensor("j", (10,)),
        "y": Tensor("y", (3,)),
        "w": Tensor("w", (3, 10), w),
        "o": Tensor("o", (3,), np.zeros(3)),
    }
    nodes = (
        Node("reshape", "flat", ("a",), "f", {"shape": (6,)}),
        Node("concat", "join", ("f", "b"), "j"),
        Node("dense", "fc", ("j", "w", "o"), "y"),
    )
    given = {"a": rng.normal(0, 1, (30, 1, 2, 3)), "b": rng.normal(0, 1, (30, 4))}
    given |= {"target": rng.normal(0, 1, (30, 3))} if spec.numbers else {"label": np.arange(30) % 3}
    return compile_model(Graph(name, ("a", "b"), "y", tensors, nodes), spec, given).plan


def autoencoder(name: str) -> Plan:
    """Four numbers to themselves, learned from no more than these."""
    rng = np.random.default_rng(4)
    tensors = {
        "x": Tensor("x", (4,)),
        "y": Tensor("y", (4,)),
        "w": Tensor("w", (4, 4), rng.normal(0, 0.3, (4, 4))),
        "o": Tensor("o", (4,), np.zeros(4)),
    }
    graph = Graph(name, ("x",), "y", tensors, (Node("dense", "fc", ("x", "w", "o"), "y"),))
    spec = RuleSpec("last", loss=Loss("mse", target="input"))
    return compile_model(graph, spec, {"x": rng.normal(0, 1, (30, 4))}).plan


@pytest.fixture(scope="module")
def plans() -> dict[str, Plan]:
    """A Plan of each way to learn: classes, numbers, the sample itself, nothing."""
    return {
        "learn": golden_plan("ring"),
        "learn_target": small_plan("numbers", RuleSpec("last", loss=Loss("mse"))),
        "learn_input": autoencoder("copies"),
        "": small_plan("still", RuleSpec("none")),
    }


@pytest.fixture(scope="module")
def folders(plans: dict[str, Plan], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each as a package of every kind."""
    root = tmp_path_factory.mktemp("packages")
    assert {p.learning for p in plans.values()} == set(plans)
    return {how: package(plan, root / plan.model) for how, plan in plans.items()}


def test_a_package_changes_nothing_else(plans: dict[str, Plan]) -> None:
    plan, board = plans["learn"], load_board("mps2_an386")
    plain = render(plan, board, "a test")
    for name in PACKAGES:
        files = render(plan, board, "a test", packages=(name,), example=example(plan))
        ini = files.pop("platformio.ini")
        assert ini.startswith(plain["platformio.ini"])
        assert (ini == plain["platformio.ini"]) == (name != "platformio")
        assert {path: files[path] for path in plain if path != "platformio.ini"} == {
            path: text for path, text in plain.items() if path != "platformio.ini"
        }
        assert files.keys() > plain.keys() - {"platformio.ini"}


def test_every_example_is_one_text(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        for name in ("example-learn.c", "example-samples.h"):
            texts = [path.read_text() for path in folder.rglob(name)]
            assert len(texts) == len(PACKAGES) and len(set(texts)) == 1
        boards = [path.read_text() for path in folder.rglob("board.c*")]
        assert len(boards) == len(PACKAGES) and len(set(boards)) == 1
        heads = [path.read_text().replace("board.cpp", "board.c") for path in folder.rglob("example-learn.h")]
        assert len(heads) == len(PACKAGES) and len(set(heads)) == 1


# ---- forms ------------------------------------------------------------------------------------------------


def test_arduino_library_specification(folders: dict[str, Path]) -> None:
    """https://arduino.github.io/arduino-cli/library-specification, format 1.5."""
    for folder in folders.values():
        lines = (folder / "library.properties").read_text().splitlines()
        fields = dict(line.split("=", 1) for line in lines)
        wanted = "name version author maintainer sentence paragraph category url architectures includes"
        assert list(fields) == wanted.split() and all(fields.values())
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", fields["name"])
        assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
        assert fields["category"] == "Data Processing" and "avr" not in fields["architectures"].split(",")
        header = (folder / "src" / fields["includes"]).read_text()
        assert (folder / "examples" / "Learn" / "Learn.ino").is_file()
        for line in (folder / "keywords.txt").read_text().splitlines():
            word, kind = line.split("\t")
            assert kind in ("KEYWORD1", "KEYWORD2", "LITERAL1") and re.search(rf"\b{word}\b", header), word


def test_pack_description(folders: dict[str, Path]) -> None:
    """As PACK.xsd 1.7 demands: elements, required attributes; and each file and reference is there."""
    for how, folder in folders.items():
        (path,) = folder.glob("*.pdsc")
        package = ET.parse(path).getroot()
        vendor, name = (package.findtext(key) or "" for key in ("vendor", "name"))
        assert path.name == f"{vendor}.{name}.pdsc" and package.attrib["schemaVersion"] == "1.7.7"
        assert package.find("conditions") is None  # the set ref is C99
        assert all(re.fullmatch(r"[-_A-Za-z0-9]+", text) for text in (vendor, name))
        assert package.findtext("description") and package.findtext("url") == URL
        release = package.find("releases/release")
        assert release is not None and re.fullmatch(r"\d+\.\d+\.\d+", release.attrib["version"])
        conditions = {c.attrib["id"] for c in package.findall("conditions/condition")}
        components = package.findall("components/component")
        ids = {(c.attrib["Cclass"], c.attrib["Cgroup"]) for c in components}
        assert len(components) == 1 and all(2 <= len(part) <= 32 for part in next(iter(ids)))
        assert all(c.attrib.get("condition") in (None, *conditions) for c in components)
        files = {f.attrib["name"]: f.attrib["category"] for f in package.findall(".//component/files/file")}
        assert all((folder / file).exists() for file in files)
        assert {f"src/{p.name}" for p in (folder / "src").iterdir()} < files.keys()
        for found in package.findall("examples/example"):
            kinds = [child.tag for child in found]
            assert kinds == ["description", "board", "project", "attributes"]
            inside = folder / found.attrib["folder"]
            assert (inside / found.attrib["doc"]).is_file()
            environment = found.find("project/environment")
            assert environment is not None and (inside / environment.attrib["load"]).is_file()
            used = found.find("attributes/component")
            assert used is not None and (used.attrib["Cclass"], used.attrib["Cgroup"]) in ids
        project = yaml.safe_load((folder / "examples/cmsis-pack/learn.cproject.yml").read_text())["project"]
        listed = [entry["file"] for group in project["groups"] for entry in group["files"]]
        assert all((folder / "examples" / "cmsis-pack" / file).is_file() for file in listed)
        assert any(f"{vendor}::Machine Learning:{name}" == c["component"] for c in project["components"]), how


def test_a_pack_of_gnu_c_says_so_in_words_that_its_schema_has(plans: dict[str, Plan], tmp_path: Path) -> None:
    """PACK.xsd: 1.7.16 has "Clang" of compilers, 1.7.27 and later ones "CLANG"."""
    folder = package(plans["learn"], tmp_path, ("cmsis-pack",), "dsp")
    found = ET.parse(folder / "synapcc.ring.pdsc").getroot()
    (condition,) = found.findall("conditions/condition")
    assert {a.attrib["Tcompiler"] for a in condition.findall("accept")} == {"GCC", "CLANG", "ARMCC"}
    assert tuple(map(int, found.attrib["schemaVersion"].split("."))) >= (1, 7, 27)
    (component,) = found.findall("components/component")
    assert component.attrib["condition"] == condition.attrib["id"]


def test_yaml_of_zephyr_and_esp_idf(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        module = yaml.safe_load((folder / "zephyr" / "module.yml").read_text())
        assert module["name"] == folder.name
        build = module["build"]
        assert (folder / build["cmake"] / "CMakeLists.txt").is_file() and (
            folder / build["kconfig"]
        ).is_file()
        sample = yaml.safe_load((folder / "samples" / "learn" / "sample.yaml").read_text())
        (test,) = sample["tests"].values()
        assert test["harness"] == "console" and re.compile(test["harness_config"]["regex"][0])
        symbol = f"SYNAPCC_{folder.name.upper()}"
        assert f"config {symbol}\n" in (folder / "zephyr" / "Kconfig").read_text()
        assert f"CONFIG_{symbol}=y" in (folder / "samples" / "learn" / "prj.conf").read_text()
        component = yaml.safe_load((folder / "idf_component.yml").read_text())
        assert component["version"] == "1.0.0" and component["dependencies"]["idf"] == ">=4.4"


STUB_CMAKE = """
cmake_minimum_required(VERSION 3.16)
foreach(name {functions})
  cmake_language(EVAL CODE "function(${{name}})
  string(REPLACE \\";\\" \\" \\" words \\"\\${{ARGV}}\\")
  message(STATUS \\"${{name}} \\${{words}}\\")
  endfunction()")
endforeach()
{setting}
include("{file}")
"""


def called(file: Path, functions: str, setting: str, tmp_path: Path) -> list[str]:
    """What a CMake file asks of an ecosystem's functions, which are stubs here, in order."""
    script = tmp_path / "stub.cmake"
    script.write_text(STUB_CMAKE.format(functions=functions, setting=setting, file=file.as_posix()))
    done = subprocess.run([cmake_path(), "-P", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [line.removeprefix("-- ") for line in done.stdout.splitlines()]


def test_the_cmake_of_zephyr_and_esp_idf_calls_what_it_should(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders["learn"]
    zephyr = "zephyr_library_named zephyr_library_sources zephyr_include_directories"
    inside = folder / "zephyr" / "CMakeLists.txt"
    told = called(inside, zephyr, "set(CONFIG_SYNAPCC_RING y)", tmp_path)
    assert [line.split()[0] for line in told] == zephyr.split()
    assert told[0] == "zephyr_library_named synapcc_ring"
    assert Path(told[1].split()[1]).samefile(folder / "src" / "ring.c")
    assert Path(told[2].split()[1]).samefile(folder / "src")
    assert called(inside, zephyr, "", tmp_path) == []
    esp = "idf_component_register"
    told = called(folder / "CMakeLists.txt", esp, "set(ESP_PLATFORM 1)", tmp_path)
    assert told == [f"{esp} SRCS src/ring.c INCLUDE_DIRS src"]
    main = folder / "examples" / "esp-idf" / "main"
    (line,) = called(main / "CMakeLists.txt", esp, "", tmp_path)
    assert line == f"{esp} SRCS main.c example-learn.c board.c INCLUDE_DIRS . REQUIRES ring"
    assert all((main / name).is_file() for name in ("main.c", "example-learn.c", "board.c"))


# ---- samples ----------------------------------------------------------------------------------------------


def test_samples_are_few_and_spread_and_never_none(plans: dict[str, Plan]) -> None:
    plan = plans["learn"]
    many = np.arange(700, dtype=np.int16).astype(np.int8).reshape(100, 7)
    found = chosen(plan, {"x": many}, np.arange(100) % 3)
    assert len(found) == MOST_SAMPLES and found.given and not found.drawn
    at = np.arange(MOST_SAMPLES) * 100 // MOST_SAMPLES
    assert np.array_equal(found.inputs["x"], many[at]) and np.array_equal(found.labels, at % 3)
    without = chosen(plan, {"x": many[:5]})
    assert without.labels.tolist() == [0, 1, 2, 0, 1] and not without.given
    for size in (3000, 9000):  # the second is larger than all that there is room for
        x = replace(plan["x"], shape=(size,), row=size)
        others = tuple(t for t in plan.tensors if t.name != "x")
        wide = replace(plan, tensors=(*others, x), _by_name={})
        assert MOST_BYTES // size < 2 and len(chosen(wide, {"x": np.zeros((9, size), np.int8)})) == 1


@pytest.mark.parametrize("how", ["learn", "learn_target", "learn_input", ""])
def test_all_that_is_kept_of_samples_is_within_its_bytes(
    how: str, plans: dict[str, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs and what the button says: as many samples as fit, whatever the bytes."""
    plan = plans[how]
    x = {name: np.zeros((40, plan[name].count), plan[name].dtype) for name in plan.inputs}
    targets = np.zeros((40, plan.scores), np.int16) if how == "learn_target" else None
    told = {"learn": 1, "learn_target": 2 * plan.scores}.get(how, 0)
    each = sum(values[0].nbytes for values in x.values()) + told
    for most in range(each, 16 * each + 2):
        monkeypatch.setattr("synapcc.gen.emit.example.MOST_BYTES", most)
        assert len(chosen(plan, x, np.zeros(40, np.int64), targets)) == min(most // each, MOST_SAMPLES)


def test_without_data_samples_are_drawn_and_say_so(plans: dict[str, Plan]) -> None:
    for plan in plans.values():
        files = render(plan, None, "a test", packages=("cmake",))
        lib = f"lib/{plan.model}"
        assert "Numbers that no sensor measured" in files[f"{lib}/examples/cmake/example-samples.h"].decode()
        assert "These numbers were drawn." in files[f"{lib}/README.md"].decode()
        assert files == render(plan, None, "a test", packages=("cmake",))
        for name in plan.inputs:
            values = drawn(plan).inputs[name]
            assert (
                values.min() >= plan[name].lo
                and values.max() <= plan[name].hi
                and len(np.unique(values)) > 30
            )


# ---- refusals ---------------------------------------------------------------------------------------------


def test_kinds_that_there_are_not_and_names_that_are_taken() -> None:
    assert wanted(["zephyr, cmake", "arduino", "cmake"]) == ("arduino", "cmake", "zephyr")
    with pytest.raises(
        CompileError, match="there is no package 'keil'; packages: platformio, arduino, cmake"
    ):
        wanted(["cmake,keil"])
    names = (
        "wire arduino, freertos esp-idf, esp_https_ota esp-idf, esp_driver_gpio esp-idf, esp32s3 esp-idf, "
    )
    names += "esp_system arduino, mcuboot zephyr, hal_nordic zephyr, cmsis_6 zephyr, tinycrypt zephyr"
    for model, kind in (pair.split() for pair in names.split(", ")):
        with pytest.raises(CompileError, match=f"{kind} has something else of the name {model}; .*--name"):
            check_name(model, [kind])
        check_name(model, ["cmake", "platformio", "cmsis-pack"])
    for kind in PACKAGES.keys() - {"cmake"}:
        for model in ("esp", "err", "fr"):  # ESP_OK, ERR_OK, FR_OK
            with pytest.raises(CompileError, match=f"{kind} has something else of the name {model}"):
                check_name(model, [kind])
    with pytest.raises(CompileError, match="cmake has something else of the name example_turn"):
        check_name("example_turn", ["cmake"])
    check_name("example_turn", [])
    for model in ("e", "a" * 33):
        with pytest.raises(CompileError, match="takes names of 2 to 32 characters"):
            check_name(model, ["cmsis-pack"])


@NO_GCC
@pytest.mark.parametrize("kept", [None, Keep()])
def test_no_file_of_an_example_is_a_model_s(
    kept: Keep | None, plans: dict[str, Plan], tmp_path: Path
) -> None:
    """Headers lie beside each other: of one name, the example's would be taken for the model's."""
    written = package(plans["learn"], tmp_path / "any", keep=kept)
    stems = {p.name.removesuffix(".h").replace("-", "_") for p in written.glob("**/example*/**/*.h")}
    assert stems == {"example_learn", "example_samples"}
    for model in (*stems, "learn", "samples", "board", "example"):
        folder = package(replace(plans["learn"], model=model), tmp_path / model, ("cmake",), keep=kept)
        for source in sources(folder, "cmake"):
            run(["gcc", "-std=c99", *STRICT, f"-I{folder / 'src'}", "-fsyntax-only", source])


@pytest.mark.parametrize("model", ["yes", "no", "on", "off", "null", "true", "n", "y", "e1", "nan"])
def test_a_name_that_is_a_word_of_yaml_stays_one(model: str, plans: dict[str, Plan]) -> None:
    kinds = ("zephyr", "esp-idf", *(["cmsis-pack"] if len(model) > 1 else []))
    files = render(replace(plans["learn"], model=model), None, "a test", packages=kinds)
    texts = {path: text.decode() for path, text in files.items() if path.endswith((".yml", ".yaml"))}
    read = {path: yaml.safe_load(text) for path, text in texts.items()}
    assert read[f"lib/{model}/zephyr/module.yml"]["name"] == model and len(read) > 2
    for (
        path,
        text,
    ) in texts.items():  # some readers take more words than others: what bears the name has quotes
        lines = [line for line in text.splitlines() if re.search(rf"\b{model}\b", line)]
        assert all(re.search(rf'"[^"]*\b{model}\b[^"]*"', line) for line in lines), path


# ---- builds -----------------------------------------------------------------------------------------------


def sources(folder: Path, kind: str) -> list[Path]:
    """The C of an example, and the library's."""
    inside = folder / PACKAGES[kind].example
    return [
        *sorted(p for p in inside.iterdir() if p.suffix in (".c", ".cpp")),
        folder / "src" / f"{folder.name}.c",
    ]


@NO_GCC
@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("kind", [k for k in PACKAGES if k not in ("cmake", "platformio")])
def test_no_warning_in_c_and_as_cplusplus(
    kind: str, language: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """cmake's and platformio's mains are those of the others, or run below."""
    compiler = ["gcc", "-std=c99"] if language == "c" else ["g++", "-x", "c++", "-std=c++11"]
    for folder in folders.values():
        for source in sources(folder, kind):
            if language == "c" and source.suffix == ".cpp":
                continue
            flags = [*STRICT, f"-I{folder / 'src'}", f"-I{STUBS}", "-fsyntax-only"]
            run([*compiler, *flags, source])


def test_the_sketch_builds_with_a_stub_of_arduino(folders: dict[str, Path], tmp_path: Path) -> None:
    sketch_compiles(folders["learn_target"], tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("cpu", ["cortex-m0plus", "cortex-m4"])
def test_every_sketch_builds_for_every_core(cpu: str, folders: dict[str, Path], tmp_path: Path) -> None:
    for folder in folders.values():
        sketch_compiles(folder, tmp_path, cpu)


@pytest.mark.long
def test_the_component_builds_for_risc_v(folders: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("ziglang", reason="zig is not installed: pip install ziglang")
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", "riscv32-linux-musl", "-std=c99", "-Os"]
    for folder in folders.values():
        for source in sources(folder, "esp-idf"):
            flags = [*STRICT, f"-I{folder / 'src'}", f"-I{source.parent}"]
            run([*zig, *flags, "-c", source, "-o", tmp_path / "o"])


def test_the_component_builds_for_xtensa(folders: dict[str, Path], tmp_path: Path) -> None:
    """Library and example, with Debian's compiler for the lx106 and picolibc's headers."""
    gcc = shutil.which("xtensa-lx106-elf-gcc")
    if gcc is None:
        pytest.skip("xtensa-lx106-elf-gcc is not installed: apt install gcc-xtensa-lx106")
    if not XTENSA_HEADERS.is_dir():
        pytest.skip("it has no headers: apt install picolibc-xtensa-lx106-elf")
    for folder in folders.values():
        for source in sources(folder, "esp-idf"):
            flags = [*STRICT, "-isystem", XTENSA_HEADERS, f"-I{folder / 'src'}", f"-I{source.parent}"]
            run([gcc, "-std=c99", "-Os", *flags, "-c", source, "-o", tmp_path / "o"])


def said(plan: Plan, rounds: int = 2) -> list[str]:
    """What the example must print: its stub's samples, inferred and learned from in the emulator."""
    machine, given, lines = Emulator(plan), example(plan), []
    for i in [i for _ in range(rounds) for i in range(len(given))]:
        x = {name: values[i : i + 1] for name, values in given.inputs.items()}
        y = machine.infer(x)
        learned = ", learned" if plan.learning else ""
        answer = f"class {y.winner[0]}, margin {y.margin[0]}"
        lines.append(f"{f'score {y.scores[0, 0]}' if plan.numbers else answer}{learned}")
        if plan.learning == "learn":
            machine.learn(x, [int(given.labels[i])])
        elif plan.learning == "learn_input":
            machine.run("learn_input", inputs=x)
        elif plan.learning == "learn_target":
            assert given.targets is not None
            machine.run("learn_target", inputs=x | {"target": given.targets[i : i + 1]})
    return lines


@NO_GCC
def test_the_example_runs_as_it_is(folders: dict[str, Path], plans: dict[str, Plan], tmp_path: Path) -> None:
    """Of each way to learn, and one compiled as C++, too: every line is the emulator's."""
    for how, folder in folders.items():
        for compiler in (
            ["gcc", "-std=c99"],
            *([["g++", "-x", "c++", "-std=c++20"]] if how == "learn" else []),
        ):
            program = tmp_path / "learn"
            run([*compiler, "-O1", *STRICT, f"-I{folder / 'src'}", *sources(folder, "cmake"), "-o", program])
            done = subprocess.run([program], capture_output=True, text=True, check=True)
            assert done.stdout.splitlines() == said(plans[how]), how


ROUND = {
    "zephyr": """
#include <stdarg.h>
#include <stdio.h>
#include <zephyr/sys/printk.h>

void printk(const char *format, ...)
{
    va_list given;

    va_start(given, format);
    (void)vprintf(format, given);
    va_end(given);
}
""",
    "esp-idf": "void app_main(void);\n\nint main(void)\n{\n    app_main();\n    return 0;\n}\n",
}
"""What an ecosystem has around an example, on this computer."""
ONE_AND_ALL = [
    "learn",
    *(pytest.param(h, marks=pytest.mark.long) for h in ("learn_target", "learn_input", "")),
]


@NO_GCC
@pytest.mark.parametrize("how", ONE_AND_ALL)
@pytest.mark.parametrize("kind", ROUND)
def test_the_examples_of_zephyr_and_esp_idf_run_within_a_stub(
    kind: str, how: str, folders: dict[str, Path], plans: dict[str, Plan], tmp_path: Path
) -> None:
    (tmp_path / "round.c").write_text(ROUND[kind])
    objects = []
    for i, source in enumerate([*sources(folders[how], kind), tmp_path / "round.c"]):
        objects.append(tmp_path / f"{i}.o")
        flags = [*STRICT, f"-I{folders[how] / 'src'}", f"-I{STUBS}", "-O2", "-std=c99"]
        run(["gcc", *flags, "-c", source, "-o", objects[-1]])
    run(["gcc", *objects, "-o", tmp_path / "program"])
    done = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == said(plans[how])


@NO_ARM
@pytest.mark.parametrize("how", ONE_AND_ALL)
def test_the_example_of_a_pack_links_for_a_cortex_m(
    how: str, folders: dict[str, Path], plans: dict[str, Plan], tmp_path: Path
) -> None:
    """Without stdio: it needs no call of a system. Start-up code is the device's pack's."""
    core = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-O2", "-std=c99"]
    objects = []
    for i, source in enumerate(sources(folders[how], "cmsis-pack")):
        objects.append(tmp_path / f"{i}.o")
        run([*core, *STRICT, f"-I{folders[how] / 'src'}", "-c", source, "-o", objects[-1]])
    run([*core, "-nostartfiles", "-Wl,-e,main", "-Wl,--fatal-warnings", *objects, "-o", tmp_path / "elf"])
    size = subprocess.run(
        ["arm-none-eabi-size", tmp_path / "elf"], capture_output=True, text=True, check=True
    )
    text, _, bss = map(int, size.stdout.splitlines()[1].split()[:3])
    assert text > 500 and bss >= plans[how].ram_bytes


FLASH = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t file_bytes[12 * 1024];

static void file_written(void)
{
    FILE *file = fopen("flash.bin", "wb");
    if (file == NULL || fwrite(file_bytes, 1u, sizeof file_bytes, file) != sizeof file_bytes) exit(3);
    if (fclose(file) != 0) exit(3);
}

static pair_keep_status file_read(void *context, uint32_t address, uint8_t *to, uint32_t count)
{
    (void)context;
    memcpy(to, &file_bytes[address], count);
    return PAIR_KEEP_OK;
}

static pair_keep_status file_program(void *context, uint32_t address, const uint8_t *from, uint32_t count)
{
    (void)context;
    for (uint32_t i = 0u; i < count; i++) {
        if (file_bytes[address + i] != 0xFFu) exit(4); /* programmed twice */
        file_bytes[address + i] = from[i];
    }
    return PAIR_KEEP_OK;
}

static pair_keep_status file_erase(void *context, uint32_t address)
{
    (void)context;
    memset(&file_bytes[address], 0xFF, 1024u);
    return PAIR_KEEP_OK;
}

static const pair_keep_flash_t *file_flash(void)
{
    static uint8_t word[4];
    static const pair_keep_flash_t flash = {
        file_read, file_program, file_erase, NULL, word, 4u, 1024u, 12u, 0u, 0xFFu
    };
    FILE *file = fopen("flash.bin", "rb");

    memset(file_bytes, 0xFF, sizeof file_bytes);
    if (file != NULL) {
        if (fread(file_bytes, 1u, sizeof file_bytes, file) != sizeof file_bytes) exit(5);
        (void)fclose(file);
    }
    (void)atexit(file_written);
    return &flash;
}
"""


@NO_GCC
def test_the_example_goes_on_where_it_was_when_the_power_went(tmp_path: Path) -> None:
    """With [keep]: a flash in a file in place of the stub's none; the second run goes on from the first."""
    plan = golden_plan("pair")
    folder = package(plan, tmp_path / "kept", ("cmake", "zephyr", "esp-idf", "cmsis-pack"), keep=Keep())
    for name in ("CMakeLists.txt", "zephyr/CMakeLists.txt", "synapcc.pair.pdsc"):
        assert "src/pair_keep.c" in (folder / name).read_text(), name
    board = folder / "examples" / "cmake" / "board.c"
    text = board.read_text()
    head, stub = text.split("const pair_keep_flash_t *example_flash(void)\n{\n    return NULL;\n}")
    used = "const pair_keep_flash_t *example_flash(void)\n{\n    return file_flash();\n}"
    every = [*sources(folder, "cmake"), folder / "src" / "pair_keep.c"]
    lines = []
    for written in (text, f"{head}{FLASH}{used}{stub}"):
        board.write_text(written)
        program = tmp_path / "learn"
        run(["gcc", "-std=c99", "-O1", *STRICT, f"-I{folder / 'src'}", *every, "-o", program])
        for _ in range(2):
            done = subprocess.run([program], capture_output=True, text=True, check=True, cwd=tmp_path)
            lines.append(done.stdout.splitlines())
    whole, once = said(plan, 4), len(lines[0])
    assert lines[0] == lines[1] == lines[2] == whole[:once] != whole[once:]
    assert lines[3] == whole[once:]


BOTH = """
#include "byte.h"
#include "pair.h"
#include <stdio.h>

static byte_t first;
static pair_t second;

static void show(const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++) printf("%02x", ((const unsigned char *)p)[i]);
    printf("\\n");
}

int main(void)
{
    byte_init(&first);
    pair_init(&second);
    for (int i = 0; i < 20; i++) {
        byte_inputs_t a;
        pair_inputs_t b;
        for (int j = 0; j < 7; j++) {
            a.x[j] = (int8_t)(i * 37 + j * 11 - 100);
            b.x[j] = (int8_t)(i * 23 + j * 19 - 90);
        }
        byte_learn(&first, &a, (uint8_t)(i % 3));
        pair_learn(&second, &b, (uint8_t)((i + 1) % 3));
    }
    show(&first.state, sizeof first.state);
    show(&second.state, sizeof second.state);
    return 0;
}
"""
PARENT = """
cmake_minimum_required(VERSION 3.16)
project(both LANGUAGES C)
{bring}
add_executable(both main.c)
target_compile_options(both PRIVATE -Wall -Wextra -Wconversion -Werror)
target_link_libraries(both PRIVATE byte::byte pair::pair)
"""
SUBDIRECTORIES = 'add_subdirectory("{byte}" byte)\nadd_subdirectory("{pair}" pair)'
FETCHED = (
    "include(FetchContent)\n"
    'FetchContent_Declare(byte SOURCE_DIR "{byte}")\nFetchContent_Declare(pair SOURCE_DIR "{pair}")\n'
    "FetchContent_MakeAvailable(byte pair)"
)
INSTALLED = "find_package(byte 1.0 CONFIG REQUIRED)\nfind_package(pair 1.0 CONFIG REQUIRED)"


def both(plan: Plan, step: int, start: int, turn: int) -> str:
    """The state that one of the two models must have after BOTH, alone."""
    machine = Emulator(plan)
    for i in range(20):
        x = (i * (37 if plan.model == "byte" else 23) + np.arange(7) * step - start).astype(np.int8)
        machine.learn({"x": x[None]}, [(i + turn) % 3])
    return machine.state[0].tobytes().hex()


@NO_GCC
@pytest.mark.parametrize(
    "way", ["subdirectories", *(pytest.param(w, marks=pytest.mark.long) for w in ("fetched", "installed"))]
)
def test_two_models_of_different_sets_in_one_program(way: str, tmp_path: Path) -> None:
    """By every way that CMake has; the state of each is what it is alone."""
    flags = "-DCMAKE_C_FLAGS=-Wall -Wextra -Wconversion -Werror"
    libraries = {
        name: package(golden_plan(name), tmp_path / name, ("cmake",), kernel_set)
        for name, kernel_set in (("byte", "ref"), ("pair", "dsp"))
    }
    more: list[str] = []
    if way == "installed":
        for name, folder in libraries.items():
            cmake("-S", folder, "-B", tmp_path / "b" / name, flags)
            cmake("--build", tmp_path / "b" / name)
            cmake("--install", tmp_path / "b" / name, "--prefix", tmp_path / "prefix")
        more = [f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}"]
    bring = {"subdirectories": SUBDIRECTORIES, "fetched": FETCHED, "installed": INSTALLED}[way]
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "main.c").write_text(BOTH)
    (parent / "CMakeLists.txt").write_text(PARENT.format(bring=bring.format(**libraries)))
    cmake("-S", parent, "-B", parent / "build", flags, *more)
    cmake("--build", parent / "build")
    done = subprocess.run([parent / "build" / "both"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        both(golden_plan("byte"), 11, 100, 0),
        both(golden_plan("pair"), 19, 90, 1),
    ]


@NO_GCC
@pytest.mark.long
def test_a_package_alone_in_an_empty_folder_builds_its_example(
    folders: dict[str, Path], plans: dict[str, Plan], tmp_path: Path
) -> None:
    for how, folder in folders.items():
        cmake("-S", folder, "-B", tmp_path / how / "b", f"-DCMAKE_C_FLAGS={' '.join(STRICT)}")
        cmake("--build", tmp_path / how / "b")
        program = tmp_path / how / "b" / "examples" / "cmake" / f"synapcc_{folder.name}_learn"
        done = subprocess.run([program], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == said(plans[how])


ZIG = f"-DCMAKE_C_COMPILER={sys.executable};-m;ziglang;cc"
"""CMake takes words behind a compiler as a list."""


@pytest.mark.long  # where zig has not been used before, a minute for its own runtime
def test_cmake_builds_with_zig_and_the_example_runs(
    folders: dict[str, Path], plans: dict[str, Plan], tmp_path: Path
) -> None:
    pytest.importorskip("ziglang", reason="zig is not installed: pip install ziglang")
    cmake("-S", folders["learn"], "-B", tmp_path, ZIG, f"-DCMAKE_C_FLAGS={' '.join(STRICT)}")
    cmake("--build", tmp_path)
    done = subprocess.run(
        [tmp_path / "examples" / "cmake" / "synapcc_ring_learn"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == said(plans["learn"])


@pytest.mark.long
@pytest.mark.parametrize("how", ONE_AND_ALL)
def test_cmake_builds_for_risc_v_with_zig(how: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """The library for RV32IMC, by what a plain cross-build makes."""
    pytest.importorskip("ziglang", reason="zig is not installed: pip install ziglang")
    target = ("-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY", ZIG)
    headers = Path(__file__).parents[3] / "firmware" / "platform" / "include"
    flags = f"-target riscv32-freestanding-none -mcpu=generic_rv32+m+c -isystem {headers} {' '.join(STRICT)}"
    cmake("-S", folders[how], "-B", tmp_path, *target, f"-DCMAKE_C_FLAGS={flags}")
    cmake("--build", tmp_path)
    (library,) = tmp_path.rglob("*.a")
    assert library.name == f"libsynapcc_{folders[how].name}.a"


@NO_ARM
@pytest.mark.parametrize("how", ONE_AND_ALL)
def test_cmake_builds_for_a_cortex_m(how: str, folders: dict[str, Path], tmp_path: Path) -> None:
    """All that a user's plain build makes: the library, and no program that such a chip could not link."""
    target = ("-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_C_COMPILER=arm-none-eabi-gcc")
    target += ("-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",)
    flags = f"-DCMAKE_C_FLAGS=-mcpu=cortex-m3 -mthumb {' '.join(STRICT)}"
    cmake("-S", folders[how], "-B", tmp_path, *target, flags)
    cmake("--build", tmp_path)
    assert [p.name for p in tmp_path.rglob("*.a")] == [f"libsynapcc_{folders[how].name}.a"]


@NO_GCC
def test_within_another_project_nothing_is_installed_and_no_example_built(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    parent, ring = tmp_path / "parent", folders["learn"]
    parent.mkdir()
    (parent / "CMakeLists.txt").write_text(
        f'cmake_minimum_required(VERSION 3.16)\nproject(p LANGUAGES C)\nadd_subdirectory("{ring}" ring)\n'
    )
    for more, installs in ((), False), (("-DRING_EXAMPLES=ON", "-DRING_INSTALL=ON"), True):
        build = tmp_path / f"b{installs}"
        cmake("-S", parent, "-B", build, "-DCMAKE_INSTALL_LIBDIR=lib/multi", *more)
        listed = (build / "ring" / "cmake_install.cmake").read_text()
        assert ("ring.h" in listed) == ("lib/multi/cmake/ring" in listed) == installs
        assert (build / "ring" / "examples").exists() == installs


def test_a_component_of_esp_idf_alone_is_no_project_of_cmake(plans: dict[str, Plan], tmp_path: Path) -> None:
    folder = package(plans["learn"], tmp_path, ("esp-idf",))
    done = subprocess.run(
        [cmake_path(), "-P", folder / "CMakeLists.txt"], capture_output=True, text=True, check=False
    )
    assert done.returncode and "ring is a component of ESP-IDF, and no project of CMake" in done.stderr
    assert (
        len(called(folder / "CMakeLists.txt", "idf_component_register", "set(ESP_PLATFORM 1)", tmp_path)) == 1
    )
