"""SCons script of the local platform: compiler, flags, linker script, ELF and BIN, with nothing from a
registry.

The compiler is the one `custom_toolchain` (or SYNAPCC_TOOLCHAIN, which wins) names: gcc, zig or auto.
"""

import json
import os
import re
import shutil
import subprocess
import sys

from SCons.Script import AlwaysBuild, Builder, Default, DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
cpu, fpu, mve = (board.get(f"synapcc.core.{key}") for key in ("cpu", "fpu", "mve"))
build_dir = env.subst("$BUILD_DIR")
platform_dir = env.PioPlatform().get_dir()
os.makedirs(build_dir, exist_ok=True)

# zig's models of the cores come without FPU, DSP and vectors unless these are named
ZIG_FPU = {"fpv4-sp-d16": "+vfp4d16sp", "fpv5-sp-d16": "+fp_armv8d16sp", "fpv5-d16": "+fp_armv8d16"}
ZIG_CORE = {"cortex-m33": "+dsp", "cortex-m55": "+dsp"}
ZIG_MVE = "+mve_fp"
# gcc's Cortex-M55 has vectors unless they are taken away, and then names its FPU by itself
GCC_WITHOUT_MVE = {"cortex-m55": "+nomve"}
GCC_KNOWS_FPU = ("cortex-m55",)


def stop(message):
    sys.stderr.write(f"Error: {message}\n")
    env.Exit(1)


def write_if_changed(path, text):
    if os.path.isfile(path):
        with open(path, encoding="utf8") as fp:
            if fp.read() == text:
                return
    with open(path, "w", encoding="utf8") as fp:
        fp.write(text)


def output_of(command):
    try:
        return subprocess.check_output(command, env=env["ENV"], text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def find_zig():
    """The words that start zig and its version: the one from PyPI first, it has a known version."""
    for words in ([sys.executable, "-m", "ziglang"], [shutil.which("zig", path=env["ENV"]["PATH"]) or "zig"]):
        version = output_of([*words, "version"])
        if version:
            return words, version
    return [], ""


def gcc(version):
    prefix = "arm-none-eabi-"
    env.Replace(AR=prefix + "gcc-ar", AS=prefix + "gcc", CC=prefix + "gcc", RANLIB=prefix + "gcc-ranlib")
    machine = ["-mcpu=" + cpu + ("" if mve else GCC_WITHOUT_MVE.get(cpu, "")), "-mthumb"]
    machine += ["-mfloat-abi=" + ("hard" if fpu else "soft")]
    machine += ["-mfpu=" + ("auto" if cpu in GCC_KNOWS_FPU else fpu)] if fpu else []
    env.Append(
        CCFLAGS=[*machine, "-fstack-usage"],
        LINKFLAGS=[
            *machine,
            "-nostartfiles",
            "--specs=nano.specs",
            "--specs=nosys.specs",
            "-Wl,-Map=${TARGET.dir}/firmware.map",
        ],
        LIBS=["c", "gcc"],
    )
    if int(version.split(".")[0]) >= 12:
        # gcc 12's store motion can repeat a volatile store after a loop, e.g. the last byte to a UART
        env.Append(CCFLAGS=["-fno-move-loop-stores"])


def zig(words):
    command = " ".join(f'"{w}"' if " " in w else w for w in words)
    env.Replace(AR=command + " ar", AS=command + " cc", CC=command + " cc", RANLIB=command + " ranlib")
    features = ZIG_CORE.get(cpu, "") + ZIG_FPU.get(fpu, "") + (ZIG_MVE if mve else "")
    machine = ["-target", "thumb-freestanding-" + ("eabihf" if fpu else "eabi")]
    machine += ["-mcpu=" + cpu.replace("-", "_") + features]
    env.Append(
        # loops stay loops: vectorised and unrolled code grows fast and a Cortex-M gains nothing from it
        CCFLAGS=[
            *machine,
            "-fstack-size-section",
            "-fomit-frame-pointer",
            "-fno-sanitize=all",
            "-fno-stack-protector",
            "-fno-vectorize",
            "-fno-slp-vectorize",
            "-fno-unroll-loops",
            "-isystem",
            os.path.join(platform_dir, "include"),
        ],
        # without -rtlib, -nostdlib drops memcpy and __aeabi_* too; without -e zig brings an entry of its own
        LINKFLAGS=[*machine, "-nostdlib", "-rtlib=compiler-rt", "-Wl,-e,Reset_Handler"],
    )


def choose():
    wanted = os.environ.get("SYNAPCC_TOOLCHAIN") or env.GetProjectOption("custom_toolchain", "auto")
    if wanted not in ("auto", "gcc", "zig"):
        stop(f"custom_toolchain = {wanted}: it is auto, gcc or zig")
    if wanted in ("auto", "gcc"):
        version = output_of(["arm-none-eabi-gcc", "-dumpfullversion"])
        if version:
            gcc(version)
            return {"name": "gcc", "version": "arm-none-eabi-gcc " + version}
    if wanted in ("auto", "zig"):
        words, version = find_zig()
        if words:
            zig(words)
            return {"name": "zig", "version": "zig " + version}
    names = {"auto": "neither arm-none-eabi-gcc nor zig", "gcc": "no arm-none-eabi-gcc", "zig": "no zig"}
    return stop(f"{names[wanted]} is there: pip install ziglang, or put arm-none-eabi-gcc on PATH")


def elf_to_bin(source, target, env):  # pyelftools comes with PlatformIO, so no objcopy is needed
    from elftools.elf.elffile import ELFFile

    with open(str(source[0]), "rb") as fp:
        segments = [s for s in ELFFile(fp).iter_segments() if s["p_type"] == "PT_LOAD" and s["p_filesz"]]
        parts = sorted((s["p_paddr"], s.data()) for s in segments)
    image = bytearray()
    for address, data in parts:
        image += b"\xff" * (address - parts[0][0] - len(image)) + data
    with open(str(target[0]), "wb") as fp:
        fp.write(image)


env.Replace(PROGNAME="firmware", PROGSUFFIX=".elf", ARFLAGS=["rc"])
env.Append(
    CCFLAGS=[
        "-O2",
        "-g",
        "-ffreestanding",
        "-fno-common",
        "-ffunction-sections",
        "-fdata-sections",
        "-fno-unwind-tables",
        "-fno-asynchronous-unwind-tables",
        "-ffile-prefix-map=" + env.subst("$PROJECT_DIR") + "=.",  # the same bytes wherever the folder lies
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
    ],
    CFLAGS=["-std=c99"],
    LINKFLAGS=["-Wl,--gc-sections"],
    BUILDERS={"ElfToBin": Builder(action=env.VerboseAction(elf_to_bin, "Building $TARGET"), suffix=".bin")},
)
toolchain = choose()
write_if_changed(os.path.join(build_dir, "toolchain.json"), json.dumps(toolchain))

with open(os.path.join(platform_dir, "ldscripts", "cortexm.ld.in"), encoding="utf8") as fp:
    script = fp.read()
values = {
    f"{region.upper()}_{key.upper()}": board.get(f"synapcc.{region}.{key}")
    for region in ("flash", "ram")
    for key in ("origin", "size")
}
# the store of the state lies behind what the linker fills
store, region = (
    int(env.GetProjectOption("custom_store", "0")),
    env.GetProjectOption("custom_store_in", "flash"),
)
values[f"{region.upper()}_SIZE"] -= store
values["STACK"], values["STORE_SIZE"] = board.get("synapcc.stack"), store
values["STORE_ORIGIN"] = values[f"{region.upper()}_ORIGIN"] + values[f"{region.upper()}_SIZE"]
script = re.sub(r"@(\w+)@", lambda m: hex(values[m[1]]), script)
script_path = os.path.join(build_dir, "firmware.ld")
write_if_changed(script_path, script)
env.Replace(LDSCRIPT_PATH=script_path)

elf = env.BuildProgram()
env.Depends(elf, script_path)
binary = env.ElfToBin(os.path.join("$BUILD_DIR", "firmware"), elf)
AlwaysBuild(env.Alias("buildprog", binary, binary))
AlwaysBuild(env.Alias("nobuild", binary))
if env.subst("$UPLOAD_PROTOCOL") == "custom":
    AlwaysBuild(env.Alias("upload", elf, [env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE")]))
Default([elf, binary])
