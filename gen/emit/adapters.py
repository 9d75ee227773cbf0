"""Adapters: what a library keeps, in stores that are there already; and drivers of its own store.

Headers alone, beside `<model>_keep.h`: no build file knows of them, and none includes what it does not need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir.plan import Plan
from ..spec.keep import Keep
from ..version import VERSION
from .keep import kept_context
from .templates import environment

CORE, FILES = "in", "in_littlefs"
ADAPTERS: Mapping[str, tuple[str, ...]] = {
    "arduino": ("in_preferences", "on_eeprom"),
    "zephyr": ("in_settings", "in_zms", "in_zephyr_nvs", "on_flash_area"),
    "esp-idf": ("in_esp_nvs", "on_esp_partition"),
}
"""By kind of package what comes with it: `in` a store, `on` a flash. littlefs comes with any."""


def adapters(packages: Sequence[str]) -> tuple[str, ...]:
    """The adapters of a library that keeps its state, by the names of their templates."""
    return (CORE, FILES, *(name for package in packages for name in ADAPTERS.get(package, ())))


def header(model: str, adapter: str) -> str:
    return f"{model}_keep_{adapter}.h"


def render_adapters(plan: Plan, keep: Keep, command: str, packages: Sequence[str] = ()) -> dict[str, str]:
    """The adapters' headers by name. Of the state they keep what [keep] says; what another Plan kept they do
    not take over, whatever `keep.migrate` says."""
    context = kept_context(plan, keep) | {"prefix": plan.model, "command": command, "version": VERSION}
    env = environment()
    return {
        header(plan.model, name): env.get_template(f"adapters/{name}.h.j2").render(context)
        for name in adapters(packages)
    }
