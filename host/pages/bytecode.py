"""The byte code of templates, kept between runs: compiling them is most of what a small network's files cost.

A file a template in the folder `templates` of host/cache.py: which versions and
sources made it, the SHA-256 of its byte code, the byte code. What differs in either is compiled again and
written over, so that nothing old, foreign or broken runs; where nothing can be kept, nothing is.
"""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

from .. import cache

BYTES = hashlib.sha256().digest_size


class Kept(jinja2.BytecodeCache):
    """Of one environment. sources: files that its options and filters stand in, which byte code depends on"""

    def __init__(self, *sources: str) -> None:
        made = hashlib.sha256(f"{sys.version} {metadata.version('jinja2')}".encode())
        for source in sources:
            made.update(Path(source).read_bytes())
        self.made = made.digest()

    def load_bytecode(self, bucket: Bucket) -> None:
        try:
            kept = _file(bucket).read_bytes()
        except OSError:
            return
        made, proof, code = kept[:BYTES], kept[BYTES : 2 * BYTES], kept[2 * BYTES :]
        if made == self.made and proof == hashlib.sha256(code).digest():
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        code = bucket.bytecode_to_string()
        with suppress(OSError):
            file = _file(bucket)
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}")
            try:
                with part.open("wb") as out:
                    out.write(self.made + hashlib.sha256(code).digest() + code)
                part.replace(file)
            finally:
                part.unlink(missing_ok=True)


def _file(bucket: Bucket) -> Path:
    return cache.folder() / "templates" / bucket.key
