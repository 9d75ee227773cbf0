"""Byte code of templates that is kept between runs: it saves time, and nothing that lies there matters."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from synapcc.host.pages.bytecode import Kept

SOURCE = "{% for i in range(3) %}{{ i * n }},{% endfor %}"


def _said(made: str, source: str = SOURCE) -> str:
    environment = jinja2.Environment(loader=jinja2.DictLoader({"t": source}), bytecode_cache=Kept(made))
    return environment.get_template("t").render(n=2)


def test_whatever_lies_in_the_cache_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made, other = tmp_path / "made.py", tmp_path / "other.py"
    made.write_text("one")
    other.write_text("two")
    assert _said(str(made)) == "0,2,4,"
    (file,) = (tmp_path / "synapcc" / "templates").iterdir()
    whole = file.read_bytes()
    compiled: list[str] = []
    usual = jinja2.Environment.compile
    monkeypatch.setattr(
        jinja2.Environment, "compile", lambda *a, **k: compiled.append("") or usual(*a, **k), raising=True
    )
    assert _said(str(made)) == "0,2,4," and not compiled
    broken = [
        b"",
        whole[:10],
        whole[:-1],
        whole + b"x",
        *(_flipped(whole, i) for i in range(0, len(whole), 7)),
    ]
    for content in broken:
        file.write_bytes(content)
        before = len(compiled)
        assert _said(str(made)) == "0,2,4," and len(compiled) == before + 1
        assert file.read_bytes() == whole
    assert _said(str(other)) == "0,2,4," and file.read_bytes() != whole, "of other sources"
    assert _said(str(made), SOURCE + "!") == "0,2,4,!", "of another template"


def _flipped(content: bytes, i: int) -> bytes:
    return content[:i] + bytes([content[i] ^ 16]) + content[i + 1 :]


def test_where_nothing_can_be_kept_nothing_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made.py"
    made.write_text("one")
    monkeypatch.setenv("XDG_CACHE_HOME", str(made))  # a file where a folder should be
    assert _said(str(made)) == "0,2,4,"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _said(str(made)) == "0,2,4,"
    (file,) = (tmp_path / "synapcc" / "templates").iterdir()
    file.unlink()
    file.mkdir()  # a folder where a file should be
    (file / "x").touch()
    assert _said(str(made)) == "0,2,4,"
    assert [p.name for p in file.parent.iterdir()] == [file.name], "what was not kept lies around"
