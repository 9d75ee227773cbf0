"""From a Plan to text: the C library, and the PlatformIO project around it. Equal inputs give equal bytes.

`render` makes every file in memory; `write` puts them into a folder that did not exist, whole or not at all.
"""

from .example import Example
from .library import render_library
from .memory_text import memory_map
from .packages import PACKAGES
from .project import render, write
from .templates import keep_bytecode

__all__ = ["PACKAGES", "Example", "keep_bytecode", "memory_map", "render", "render_library", "write"]
