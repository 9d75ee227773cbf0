"""Builds with both toolchains: what comes out, what is told when it fails, and that nothing is done twice."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from echo_firmware import echo_project
from projects import compiled

from synapcc.gen.errors import SynapccError
from synapcc.gen.target.boards import Region, load_board
from synapcc.host import doctor
from synapcc.host.cli import main
from synapcc.host.firmware import platformio
from synapcc.host.firmware.build import BuildError, build, project_board

GCC = shutil.which("arm-none-eabi-gcc")
TOOLCHAINS = (
    pytest.param("gcc", marks=pytest.mark.skipif(GCC is None, reason="arm-none-eabi-gcc is not installed")),
    "zig",
)
USES = "#include <stdint.h>\nuint32_t extra(uint32_t x);\n"


@pytest.mark.parametrize("board", ["mps2_an385", "mps2_an386"])
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_a_build_tells_what_it_needs(tmp_path: Path, toolchain: str, board: str) -> None:
    project = echo_project(tmp_path / "a folder", board)
    result = build(project, toolchain)
    assert result.elf.is_file() and result.elf.with_suffix(".bin").stat().st_size == result.flash
    assert result.toolchain.startswith({"gcc": "arm-none-eabi-gcc ", "zig": "zig "}[toolchain])
    assert 500 < result.flash < 2000 and 260 <= result.ram <= 272 and result.board == board
    assert result.linked.offending == () and "memcpy" in result.linked.copy
    assert (
        result.stack.bytes is not None and json.loads(json.dumps(result.to_dict()))["flash"] == result.flash
    )
    assert project_board(project) == load_board(board)


def test_the_second_build_does_nothing_and_a_change_builds_again(tmp_path: Path) -> None:
    project = echo_project(tmp_path / "echo")
    first = build(project)
    begin = time.monotonic()
    assert build(project) == first and time.monotonic() - begin < 0.25
    (project / "src" / "extra.c").write_text(USES + "uint32_t extra(uint32_t x) { return x * 77u + 1u; }\n")
    second = build(project)
    assert second.flash != first.flash
    second.elf.write_bytes(b"not what was built")
    assert build(project) == second


def test_what_another_synapcc_said_of_a_build_is_not_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = echo_project(tmp_path / "echo")
    first = build(project)
    stamp = project / ".pio" / "build" / first.board / "synapcc.json"
    stamp.write_text(stamp.read_text().replace('"libc": []', '"libc": ["memcmp"]'))
    assert build(project).linked.libc == ("memcmp",)
    monkeypatch.setattr("synapcc.host.firmware.build._judges", lambda: b"of another one")
    assert build(project).linked.libc == ()


def test_a_moved_folder_builds_to_the_same_bytes(tmp_path: Path) -> None:
    result = build(echo_project(tmp_path / "here"), "zig")
    image = result.elf.with_suffix(".bin").read_bytes()
    (tmp_path / "here").rename(tmp_path / "over there")
    moved = tmp_path / "over there"
    assert build(moved).elf.is_relative_to(moved)
    (moved / "src" / "main.c").write_text((moved / "src" / "main.c").read_text() + "\n")
    assert build(moved, "zig").elf.with_suffix(".bin").read_bytes() == image


def test_concurrent_builds_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "new core"))
    projects = [echo_project(tmp_path / str(n), ("mps2_an385", "mps2_an386")[n % 2]) for n in range(3)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(build, [*projects, *projects]))
    assert [r.board for r in results[:3]] == ["mps2_an385", "mps2_an386", "mps2_an385"]
    assert results[:3] == results[3:]


def test_variables_of_the_users_do_not_change_the_firmware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATFORMIO_BUILD_FLAGS", "-DNONSENSE=(")
    monkeypatch.setenv("PLATFORMIO_SRC_DIR", str(tmp_path))
    assert build(echo_project(tmp_path / "echo")).flash > 0


def fails(project: Path, toolchain: str | None = None) -> BuildError:
    with pytest.raises(BuildError) as caught:
        build(project, toolchain)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_an_error_of_the_compiler_is_one_line_and_a_log(tmp_path: Path, toolchain: str) -> None:
    project = echo_project(tmp_path / "echo", extra="int extra(int x) { return y; }\n")
    error = fails(project, toolchain)
    assert "extra.c:1" in error.what and "undeclared" in error.what
    log = Path(error.hint.removeprefix("whole output: "))
    assert log.is_file() and "extra.c" in log.read_text()


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_a_warning_is_an_error(tmp_path: Path, toolchain: str) -> None:
    project = echo_project(
        tmp_path / "echo",
        extra=USES + "uint32_t extra(uint32_t x) { int8_t y = (int)x; return (uint32_t)y; }\n",
    )
    assert "conversion" in fails(project, toolchain).what


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_an_undefined_function_is_named(tmp_path: Path, toolchain: str) -> None:
    text = USES + "uint32_t absent(void);\nuint32_t extra(uint32_t x) { return x + absent(); }\n"
    assert "absent" in fails(echo_project(tmp_path / "echo", extra=text), toolchain).what


BIG = USES + "{0} uint8_t big[70000]{1};\nuint32_t extra(uint32_t x) {{ return big[x]{2}; }}\n"


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_too_much_ram_in_bytes(tmp_path: Path, toolchain: str) -> None:
    board = dataclasses.replace(load_board("mps2_an386"), ram=Region(0x20000000, 0x10000))
    project = echo_project(tmp_path / "echo", board, BIG.format("static", "", "++"))
    error = fails(project, toolchain)
    # 70000 in extra.c, 256 + 4 in main.c, up to 7 for alignment, 4096 for the stack, 256 for its guard
    missing = int(error.what.split(" bytes more RAM")[0].split()[-1])
    assert 0 <= missing - (70000 + 260 + 4096 + 256 - 65536) <= 12
    assert (
        "65536 bytes, 4096 kept for the stack" in error.what
        and "largest: big 70000, buffer 256" in error.hint
    )


@pytest.mark.parametrize("region", ["ram", "flash"])
def test_what_the_store_takes_is_told_where_it_does_not_fit(tmp_path: Path, region: str) -> None:
    small = Region(0x20000000, 0x10000) if region == "ram" else Region(0, 0x10000)
    board = dataclasses.replace(load_board("mps2_an386"), **{region: small})
    project = echo_project(tmp_path / "echo", board)
    ini = project / "platformio.ini"
    line = f"board = {board.name}\n"
    assert ini.read_text().count(line) == 1
    ini.write_text(ini.read_text().replace(line, f"{line}custom_store = 65000\ncustom_store_in = {region}\n"))
    said = fails(project).what
    assert said.endswith(", 65000 set aside for the store)") and "65536 bytes" in said


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_too_much_flash_in_bytes(tmp_path: Path, toolchain: str) -> None:
    board = dataclasses.replace(load_board("mps2_an386"), flash=Region(0, 0x10000))
    error = fails(echo_project(tmp_path / "echo", board, BIG.format("const", " = {1}", "")), toolchain)
    assert "bytes more flash than the board has (65536 bytes)" in error.what and "big 70000" in error.hint


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_too_much_stack_in_bytes(tmp_path: Path, toolchain: str) -> None:
    board = dataclasses.replace(load_board("mps2_an386"), ram=Region(0x20000000, 0x4000))
    text = USES + (
        "uint32_t extra(uint32_t x)\n"
        "{ volatile uint8_t deep[20000]; deep[x] = 1; deep[x + 1] = 2; return deep[2 * x]; }\n"
    )
    error = fails(echo_project(tmp_path / "echo", board, text), toolchain)
    assert (
        "the stack may need 20" in error.what and "keeps 4096: 16" in error.what and "too few" in error.what
    )
    assert "extra 200" in error.hint


def test_heap_and_floating_point_are_found(tmp_path: Path) -> None:
    floats = (
        USES + "uint32_t extra(uint32_t x) { volatile float y = (float)x; return (uint32_t)(y * 1.5f); }\n"
    )
    hard = build(echo_project(tmp_path / "hard", "mps2_an386", floats), "zig")
    assert hard.linked.floats == ("extra",)
    soft = build(echo_project(tmp_path / "soft", "mps2_an385", floats), "zig").linked
    assert any("mul" in name for name in soft.offending) and "floating point" in soft.text()
    wide = USES + "uint32_t extra(uint32_t x) { volatile uint64_t y = x, z = 7; return (uint32_t)(y / z); }\n"
    linked = build(echo_project(tmp_path / "wide", extra=wide), "zig").linked
    assert linked.offending == () and linked.wide


@pytest.mark.skipif(GCC is None, reason="arm-none-eabi-gcc is not installed")
def test_heap_and_libc_are_found(tmp_path: Path) -> None:
    heap = USES + (
        "#include <stdio.h>\n#include <stdlib.h>\n"
        "uint32_t extra(uint32_t x)\n"
        '{ uint8_t *p = malloc(x); p[0] = 1; printf("%p", (void *)p); free(p); return p[1]; }\n'
    )
    linked = build(echo_project(tmp_path / "heap", extra=heap), "gcc").linked
    assert {"malloc", "free"} <= set(linked.heap) and "printf" in " ".join(linked.libc)
    floats = USES + "uint32_t extra(uint32_t x) { volatile double y = x; return (uint32_t)(y * 1.5); }\n"
    linked = build(echo_project(tmp_path / "soft", "mps2_an385", floats), "gcc").linked
    assert "__aeabi_dmul" in linked.floats and "__aeabi_dmul" in linked.offending


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_firmware_that_keeps_builds(
    toolchain: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command, which asks what was linked: a store compares whose state it holds."""
    _, out = compiled(tmp_path, more="[keep]\n")
    assert main(["build", str(out), "--toolchain", toolchain]) == 0
    assert "no libc beyond memcpy, memset and memcmp" in capsys.readouterr().out


def test_what_is_no_project(tmp_path: Path) -> None:
    assert "is not an output folder" in fails(tmp_path).what
    (tmp_path / "platformio.ini").write_text("[env:x]\n")
    assert "synapcc compile" in fails(tmp_path).hint
    with pytest.raises(SynapccError, match='no toolchain "clang"'):
        build(tmp_path, "clang")


def test_no_toolchain_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    project = echo_project(tmp_path / "echo")
    error = fails(project, "gcc")
    assert error.what == "no arm-none-eabi-gcc is there" and "pip install ziglang" in error.hint


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise platformio.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(platformio.metadata, "version", absent)
    error = fails(echo_project(tmp_path / "echo"))
    assert "pip install platformio scons" in error.hint


def test_a_real_scons_package_is_left_alone(tmp_path: Path) -> None:
    package = tmp_path / "packages" / "tool-scons"
    package.mkdir(parents=True)
    (package / ".piopm").write_text("{}")
    platformio.prepare(tmp_path)
    assert [p.name for p in package.iterdir()] == [".piopm"]


def test_plain_pio_run_works_in_the_folder(tmp_path: Path) -> None:
    project = echo_project(tmp_path / "echo")
    platformio.prepare(tmp_path / "core")
    env = {
        **os.environ,
        "PLATFORMIO_CORE_DIR": str(tmp_path / "core"),
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
    }
    env["PLATFORMIO_SETTING_ENABLE_TELEMETRY"] = "no"
    command = [sys.executable, "-m", "platformio", "run"]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_doctor_reports_and_never_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checks = {check.name: check for check in doctor.report()}
    assert checks["unicorn"].found and checks["zig"].found and "mps2_an386" in checks["boards"].detail
    json.dumps([check.to_dict() for check in checks.values()])
    assert len(doctor.table(checks.values()).splitlines()) == len(checks)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", "/proc/none")
    broken = {check.name: check for check in doctor.report()}
    assert not broken["arm-none-eabi-gcc"].found and not broken["platformio folder"].found
    assert "MISSING" in doctor.table(broken.values())
