"""Names of networks, layers and tensors as the emitted C can bear them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from ..errors import CompileError, shown

# C99, C11, C23 and C++ (the emitted header is read by both), and what the C library, DATA.npz or the learning
# programs already mean by a word.
_TAKEN = """
    alignas alignof and and_eq asm atomic_cancel auto bitand bitor bool break case catch char class
    compl concept const const_cast consteval constexpr constinit continue co_await co_return co_yield
    decltype default delete do double dynamic_cast else enum explicit export extern false float for
    friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq
    private protected public register reinterpret_cast requires restrict return short signed sizeof
    static static_assert static_cast struct switch template this thread_local throw true try typedef
    typeid typename typeof typeof_unqual union unsigned using virtual void volatile wchar_t while xor
    xor_eq int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t ptrdiff_t intptr_t
    uintptr_t main errno memcpy memset memmove linux unix label verdict step error taught
"""
RESERVED = frozenset(_TAKEN.split())
LONGEST = 48

# Every C name of a model begins with the model's name, and its header is called so: what the C library, the
# compiler or the firmware around the model already call so would be taken for it.
_FILES = """
    alloca assert complex ctype endian errno features fenv float inttypes iso646 limits locale malloc math
    memory newlib process reent sched setjmp signal stdalign stdarg stdatomic stdbit stdbool stdckdint
    stddef stdint stdio stdlib stdnoreturn string strings tgmath threads time uchar unistd values version
    wchar wctype
"""
# What POSIX and GNU add: a folder of ours lies before the system's. Headers of C++ alone have no suffix.
_POSIX = """
    aio aliases ar argp argz byteswap cpio crypt curses dirent dlfcn elf envz err error execinfo expat fcntl
    fmtmsg fnmatch fstab fts ftw gconv getopt glob grp iconv ifaddrs langinfo lastlog libgen libintl link
    mcheck mntent monetary mqueue ncurses ndbm netdb nl_types nss obstack paths poll printf proc_service
    pthread pty pwd re_comp regex regexp resolv search semaphore sgtty shadow spawn stab stropts syscall
    sysexits syslog tar term termio termios tgmath thread_db trace ttyent ucontext ulimit ustat utime utmp
    utmpx wait wordexp zconf zlib
"""
_FIRMWARE = """
    checksum crc32 crc32_add flash flash_shape frame frame_receiver hal machine model model_binding proto
    protocol reply request requests server server_counts sha256 stack startup store store_facts synapcc ticks
"""
_TYPES = """
    clock div fpos int8 int16 int32 int64 intmax intptr ldiv lldiv max_align mbstate off ptrdiff size ssize
"""
# No file of Windows can be called so, whatever its ending.
_DEVICES = "aux con nul prn " + " ".join(f"com{n} lpt{n}" for n in range(10))
RESERVED_MODELS = frozenset(
    (
        *RESERVED,
        *f"{_FILES} {_POSIX} {_FIRMWARE} {_TYPES} {_DEVICES}".split(),
        *(f"u{t}" for t in _TYPES.split()),
    )
)

# Words by which exporters name an operation and not a layer; a counter may follow ("Gemm_0", "MatMul__12").
_OPERATIONS = """
    gemm matmul fusedmatmul tensordot addmm mm add bias biasadd sub mul div batchnorm
    batchnormalization relu relu6 clip max min hardtanh flatten reshape view squeeze unsqueeze transpose
    concat cat softmax logsoftmax cast identity dropout conv conv1d conv2d convolution depthwise
    maxpool averagepool avgpool globalaveragepool globalmaxpool reducemean reducemax mean pad constantpad
    sigmoid tanh hardsigmoid hardswish leakyrelu prelu elu gelu erf softplus swish silu
    abs neg exp log sqrt convtranspose resize upsample layernorm layernormalization groupnormalization
    instancenormalization meanvariancenormalization rmsnormalization lpnormalization normalizer
"""
_AS_WRITTEN = """
    Atan Ceil Celu Cos DepthToSpace Expand Floor GRU Gather GatherElements GatherND LSTM LinearClassifier
    LinearRegressor Mish Pow RNN Reciprocal ReduceL1 ReduceL2 ReduceMin ReduceSum ReduceSumSquare Round Scaler
    Shrink Sign Sin Slice Softsign SpaceToDepth Split Sum ThresholdedRelu Tile
"""  # in small letters some of them are words of which layers have their names
_OPERATION = re.compile(rf"(?:(?i:{'|'.join(_OPERATIONS.split())})|{'|'.join(_AS_WRITTEN.split())})?_*\d*")
_WRAPPERS = ("", "StatefulPartitionedCall", "PartitionedCall")
_GENERATED = re.compile(r"(?:node_|n\d+(?:_\d+)?$|val_|onnx::|(?:Ma|Ad|Re)_)")
_PARAMETER = re.compile(
    r"[./_](?:weight|kernel|bias|w|b|(?:MatMul|BiasAdd|Add|Cast)(?:/Cast)?/ReadVariableOp)(?::\d+)?(?:__\d+)?$",
    re.IGNORECASE,
)


def identifier(text: str, prefix: str) -> str:
    """`text` as a lower-case C identifier; `prefix` in front where that would be none, or a reserved word."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    word = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:LONGEST].rstrip("_")
    if not word:
        return prefix
    return f"{prefix}_{word}" if word[0].isdigit() or word in RESERVED else word


def input_identifiers(sources: Sequence[str]) -> dict[str, str]:
    """A name for each input of a file; none of them is what the file calls another input."""
    words = {source: identifier(source, "input") for source in sources}
    out = {source: word for source, word in words.items() if source == word}
    for source, word in words.items():
        name, n = word, 1
        while source != word and name in {*sources, *out.values()} - {source}:
            n += 1
            name = f"{word}_{n}"
        out[source] = name
    return out


def chosen_output(where: str, names: Sequence[str], chosen: str | None) -> int:
    """Which of a file's outputs the network ends with: `chosen` by name, or the only one."""
    listed = ", ".join(f'"{shown(n)}"' for n in names)
    if chosen is not None:
        if names.count(chosen) != 1:
            how_many = "several outputs are" if chosen in names else "no output is"
            raise CompileError(where, f'{how_many} called "{shown(chosen)}"', f"the outputs are {listed}")
        return names.index(chosen)
    if len(names) != 1:
        hint = "choose the one with the class scores: --scores NAME"
        raise CompileError(where, f"has {len(names)} outputs: {listed}", hint)
    return 0


def model_identifier(text: str) -> str:
    """`text` as the prefix of a model's C names."""
    word = identifier(text, "net")
    return f"net_{word}" if word in RESERVED_MODELS or word.startswith(("int_", "uint_")) else word


def from_node(name: str) -> str:
    """The layer that a node's name tells ("/model/fc1/Gemm": "model_fc1"), or "" if it names an operation."""
    if _GENERATED.match(name):
        return ""
    path = [part for part in re.sub(r":\d+$", "", name).split("/") if part not in _WRAPPERS]
    if path and _OPERATION.fullmatch(path[-1]):
        path.pop()
    return _joined(path)


def _joined(path: list[str]) -> str:
    parts: list[str] = []
    for part in path:
        if parts and part.startswith(parts[-1] + "."):  # torch writes "/net/net.0/Gemm" for net[0]
            parts.pop()
        parts.append(part)
    return identifier("_".join(parts), "layer") if parts else ""


def from_parameter(name: str) -> str:
    """The layer that a parameter's name belongs to ("fc1.weight": "fc1"), or ""."""
    cut = _PARAMETER.sub("", name)
    if cut == name or _GENERATED.match(name):
        return ""
    return _joined([part for part in cut.split("/") if part not in _WRAPPERS])


class Names:
    """Hands out names, each once."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def take(self, hints: Iterable[str], kind: str) -> str:
        """The first hint that says something, else `kind` and a count.

        If something of another kind has that name (dense/Relu behind dense/MatMul) the kind is added, and a
        number at last.
        """
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        word = next((h for h in hints if h), f"{kind}{count}")
        if self._taken.get(word, kind) != kind:
            word = f"{word}_{kind}"
        name, n = word, 1
        while name in self._taken:
            n += 1
            name = f"{word}_{n}"
        self._taken[name] = kind
        return name
