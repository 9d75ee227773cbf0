"""JUnit XML: of the form that CI servers read, and saying what differed, whatever that was."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from synapcc.host.pages.junit import refused_xml, verify_xml

pytestmark = pytest.mark.anywhere

CHILDREN = {
    "testsuites": ["testsuite"],
    "testsuite": ["properties", "testcase", "system-out", "system-err"],
    "testcase": ["skipped", "error", "failure", "system-out", "system-err"],
    "properties": ["property"],
}
"""junit-10.xsd of Jenkins' xUnit plug-in: what may stand in an element; of testsuite in this order."""
MUST = {"testsuite": {"name", "tests", "failures", "errors"}, "testcase": {"name", "classname"}}
MUST |= {"property": {"name", "value"}}
MAY = {"testsuite": {"skipped", "time", "timestamp", "hostname", "id", "package"}, "testcase": {"time"}}
MAY |= {"failure": {"type", "message"}, "error": {"type", "message"}, "skipped": {"type", "message"}}
TEXT = {"failure", "error", "skipped", "system-out", "system-err"}

ENTRIES = ["infer", "learn", "rehearse", "settle"]


def result(**more: Any) -> dict[str, Any]:
    """A verification as `evidence` tells it."""
    return {
        "model": "net", "device": "unicorn", "board": "mps2_an386", "core": "cortex-m4", "digest": "ab" * 32,
        "engine": "numpy", "steps": 30, "state_bytes": 420, "inferences": 120, "entries": ENTRIES,
        "programs": ENTRIES[1:], "difference": None, **more,
    }  # fmt: skip


def difference(program: str, **more: Any) -> dict[str, Any]:
    return {
        "step": 7, "program": program, "tensor": "fc2_weight", "index": [1, 2], "expected": -5, "got": 3,
        "bytes": 2, "op": "first op that differs: dense.update of fc2 (op 9) <&\">", **more,
    }  # fmt: skip


def checked(text: bytes) -> ET.Element:
    """The one suite of a file of the right form, whose counts are those of its cases."""
    root = ET.fromstring(text)
    assert root.tag == "testsuites" and text.startswith(b"<?xml")
    for element in root.iter():
        must, may = MUST.get(element.tag, set()), MAY.get(element.tag, set())
        assert must <= set(element.keys()) <= must | may, element.tag
        tags, allowed = [child.tag for child in element], CHILDREN.get(element.tag, [])
        assert set(tags) <= set(allowed)
        assert element.tag != "testsuite" or tags == sorted(tags, key=allowed.index)
        assert element.tag in TEXT or not (element.text or "").strip()
    (suite,) = root
    cases = suite.findall("testcase")
    counts = {"tests": len(cases), "errors": len(suite.findall(".//error"))}
    counts |= {"failures": len(suite.findall(".//failure")), "skipped": len(suite.findall(".//skipped"))}
    assert {key: int(suite.attrib[key]) for key in counts} == counts
    assert len({(c.attrib["classname"], c.attrib["name"]) for c in cases}) == len(cases)
    return suite


def test_what_is_equal() -> None:
    suite = checked(verify_xml(result()))
    assert suite.attrib == {
        "name": "synapcc.net",
        "tests": "5",
        "failures": "0",
        "errors": "0",
        "skipped": "0",
    }
    said = {c.attrib["name"]: c.findtext("system-out") for c in suite.findall("testcase")}
    assert said.keys() == {"learn", "rehearse", "settle", "infer", "read back"}
    assert said["learn"] == "30 steps, 420 persistent bytes after each"
    properties = {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")}
    assert properties["device"] == "unicorn" and properties["digest"] == "ab" * 32


@pytest.mark.parametrize("at", range(7))
def test_what_differs_fails_and_what_was_not_reached_is_skipped(at: int) -> None:
    """Of inferences before learning, each program, inferences behind it, what is read back, another name."""
    reached = [[], *(ENTRIES[1 : n + 1] for n in (1, 2, 3, 3, 3)), ENTRIES[1:2]][at]
    program = ["infer", "learn", "rehearse", "settle", "infer", "read back", "imprint"][at]
    told = result(programs=reached, difference=difference(program), inferences=0)
    suite = checked(verify_xml(told))
    (failed,) = (c for c in suite.findall("testcase") if c.find("failure") is not None)
    failure = failed.find("failure")
    assert failed.attrib["name"] == program and failure is not None
    assert failure.attrib["message"] == "step 7: fc2_weight[1][2] expected -5, got 3"
    assert failure.text == f"{difference(program)['op']}\n2 of 420 persistent bytes differ"
    passed = {c.attrib["name"] for c in suite.findall("testcase") if c.find("system-out") is not None}
    assert passed == set(reached) - {program}


def test_times_are_there_where_they_were_asked_for() -> None:
    assert checked(verify_xml(result(seconds=[0.5, 0.25]))).attrib["time"] == "0.750000"
    assert verify_xml(result()) == verify_xml(result())


def test_a_model_that_learns_nothing() -> None:
    suite = checked(verify_xml(result(entries=["infer"], programs=[], steps=0)))
    assert [c.attrib["name"] for c in suite.findall("testcase")] == ["infer", "read back"]


def test_what_could_not_be_is_an_error() -> None:
    suite = checked(refused_xml("dev\x1b: is <not> there; give\ud800 one"))
    assert suite.attrib["errors"] == "1" and suite.attrib["tests"] == "1"
    (error,) = suite.iter("error")
    assert error.attrib["message"] == "dev\\x1b: is <not> there; give\\ud800 one"
