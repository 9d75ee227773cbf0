"""JUnit XML of a verification, which CI servers show: a test case for each thing that was compared.

The form is that of Jenkins' junit-10.xsd, which GitLab and the reporters of GitHub Actions read as well. As
in every document there is no time in it unless it was asked for: the same command gives the same bytes again.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from ..terminal.screen import neutral

INFER, READ_BACK = "infer", "read back"
REFUSED = "synapcc.verify"


def verify_xml(result: Mapping[str, Any]) -> bytes:
    """The file; `result` is what `pages.verify.evidence` gives.

    A failure says tensor, element, expected, got, and the op that made it. What a difference kept from being
    compared is skipped, not passed.
    """
    name = f"synapcc.{result['model']}"
    bad = result["difference"]
    cases = _cases(result)
    suite = ET.Element("testsuite", _attributes(name, cases, bad, result))
    suite.append(_properties(result))
    for case, texts in cases.items():
        suite.append(_case(f"{name}.{result['device']}", case, texts, bad, result))
    return _file(suite)


def refused_xml(line: str) -> bytes:
    """The file of a verification that could not be: one test case with an error, which is this line."""
    counts = {"tests": "1", "failures": "0", "errors": "1", "skipped": "0"}
    suite = ET.Element("testsuite", {"name": REFUSED, **counts})
    case = ET.SubElement(suite, "testcase", {"classname": REFUSED, "name": "start"})
    ET.SubElement(case, "error", {"type": "refused", "message": neutral(line, lines=False)})
    return _file(suite)


def _file(suite: ET.Element) -> bytes:
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root, " ")
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _cases(result: Mapping[str, Any]) -> dict[str, str]:
    """What was compared, by program; and what to say of each that is equal, or was not reached ("")."""
    bad = result["difference"]
    steps = f"{result['steps']} steps, {result['state_bytes']} persistent bytes after each"
    reached = {p: steps if i == 0 else "its persistent bytes" for i, p in enumerate(result["programs"])}
    cases = {p: reached.get(p, "") for p in result["entries"] if p != INFER}
    scores = f"{result['inferences']} inferences: class, margin, scores"
    cases |= {INFER: "" if bad else scores, READ_BACK: "" if bad else "the whole state"}
    return cases | ({bad["program"]: ""} if bad else {})


def _attributes(
    name: str, cases: Mapping[str, str], bad: Mapping[str, Any] | None, result: Mapping[str, Any]
) -> dict[str, str]:
    skipped = sum(not told and not (bad and bad["program"] == case) for case, told in cases.items())
    counts = {"tests": len(cases), "failures": int(bool(bad)), "errors": 0, "skipped": skipped}
    return {"name": name, **{k: str(v) for k, v in counts.items()}, **_time(result)}


def _time(result: Mapping[str, Any]) -> dict[str, str]:
    return {"time": f"{sum(result['seconds']):.6f}"} if "seconds" in result else {}


def _properties(result: Mapping[str, Any]) -> ET.Element:
    """On what it ran."""
    top = ET.Element("properties")
    for key in ("board", "core", "device", "digest", "engine"):
        ET.SubElement(top, "property", {"name": key, "value": str(result[key])})
    return top


def _case(
    where: str, case: str, told: str, bad: Mapping[str, Any] | None, result: Mapping[str, Any]
) -> ET.Element:
    element = ET.Element("testcase", {"classname": where, "name": case})
    if bad and bad["program"] == case:
        place = "".join(f"[{i}]" for i in bad["index"])
        line = f"step {bad['step']}: {bad['tensor']}{place} expected {bad['expected']}, got {bad['got']}"
        failure = ET.SubElement(element, "failure", {"type": "difference", "message": line})
        failure.text = f"{bad['op']}\n{bad['bytes']} of {result['state_bytes']} persistent bytes differ"
    elif not told:
        ET.SubElement(element, "skipped", {"message": "not reached: the first difference ends a run"})
    else:
        ET.SubElement(element, "system-out").text = told
    return element
