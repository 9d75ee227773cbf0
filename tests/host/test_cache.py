"""One folder for what is kept between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from synapcc.host import cache
from synapcc.host.firmware import platformio


@pytest.mark.parametrize("given", [None, "", "cache", "./a/b", "../c", "~/d"])
def test_what_is_no_absolute_path_counts_for_nothing(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("PLATFORMIO_CORE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if given is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert cache.folder() == tmp_path / ".cache" / "synapcc"
    assert platformio.core_dir() == tmp_path / ".cache" / "synapcc" / "platformio"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    assert cache.folder() == tmp_path / "kept" / "synapcc"


def test_who_has_no_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ("PLATFORMIO_CORE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OSError, match="home"):
        cache.folder()
    with pytest.raises(platformio.BuildError, match="home"):
        platformio.core_dir()
