"""docs/CI.md: workflows that are YAML of the form that servers read, commands and options that there are."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from synapcc.gen.target.boards import board_names
from synapcc.host import pytest_plugin
from synapcc.host.cli import parser
from synapcc.host.devices import device_kinds

pytestmark = pytest.mark.anywhere
REPO = Path(__file__).resolve().parents[2]
PAGE = (REPO / "docs" / "CI.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.M | re.S)
PROJECT = (REPO / "pyproject.toml").read_text(encoding="utf-8")


def documents() -> dict[str, dict[str, Any]]:
    """GitHub's two workflows and GitLab's, by name. YAML 1.1 reads GitHub's key `on` as true."""
    first, second, third = (yaml.safe_load(text) for text in BLOCKS)
    return {"github": first, "anywhere": second, "gitlab": third}


def commands() -> list[str]:
    """Every line that a workflow runs."""
    docs = documents()
    jobs = [job for name in ("github", "anywhere") for job in docs[name]["jobs"].values()]
    lines = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    return lines + docs["gitlab"]["exact"]["script"]


def test_workflows_of_github() -> None:
    docs = documents()
    for name in ("github", "anywhere"):
        assert True in docs[name] and set(docs[name]) == {"name", True, "jobs"}
        for job in docs[name]["jobs"].values():
            assert set(job) <= {"runs-on", "env", "steps", "strategy"} and job["runs-on"]
            for step in job["steps"]:
                assert ("uses" in step) != ("run" in step) and set(step) <= {"uses", "run", "with", "if"}
                assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
    steps = docs["github"]["jobs"]["exact"]["steps"]
    cached = next(s["with"]["path"] for s in steps if s.get("uses", "").startswith("actions/cache@"))
    places = docs["github"]["jobs"]["exact"]["env"].values()
    assert all(f"/{cached}" in place for place in places)


def test_the_workflow_of_gitlab() -> None:
    job = documents()["gitlab"]["exact"]
    assert set(job) == {"image", "variables", "cache", "script", "artifacts"}
    (cached,) = job["cache"]["paths"]
    assert all(place.startswith(f"$CI_PROJECT_DIR/{cached}") for place in job["variables"].values())
    assert job["artifacts"]["reports"]["junit"] == ["verify.xml", "tests.xml"]


def test_every_command_is_one() -> None:
    """Parsed by the command line itself; what is made is what the reports are."""
    whole, seen = parser(), set()
    for line in commands() + re.findall(r"^    (synapcc .*)$", PAGE, flags=re.M):
        words = shlex.split(line)
        if words[0] != "synapcc":
            assert words[:2] == ["python", "-m"] and words[2] in ("pip", "pytest"), line
            continue
        args = whole.parse_args(words[1:])
        assert isinstance(args, argparse.Namespace)
        seen.add(args.command)
        assert getattr(args, "board", "nucleo_f446re") in board_names()
    assert {"compile", "build", "verify", "doctor"} <= seen


def test_options_of_pytest_are_those_of_the_plug_in() -> None:
    said = set(re.findall(r"--(synapcc-[a-z]+)", PAGE))
    assert said == {name.replace("_", "-") for name in pytest_plugin._TOLD}
    assert {f"`{kind}`" for kind in device_kinds() if kind != "serial"} <= set(re.findall(r"`\w+`", PAGE))
    for name in ("synapcc_plan", "synapcc_device", "assert_exact"):
        assert f"`{name}" in PAGE and hasattr(pytest_plugin, name)


def test_versions_and_extras_are_those_of_the_package() -> None:
    for version in re.findall(r'"(3\.\d+)"|python:(3\.\d+)', PAGE):
        assert f"Python :: {version[0] or version[1]}" in PROJECT
    extras = set(re.findall(r"^([a-z]+) = \[", PROJECT, flags=re.M))
    for names in re.findall(r"synapcc\[([a-z,]+)\]|`\[([a-z]+)\]` adds", PAGE):
        assert set((names[0] or names[1]).split(",")) <= extras
