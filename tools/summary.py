#!/usr/bin/env python3
"""summary.py PRESET_FOLDER...: one line a preset, and the total as 'N passed, N failed', with ', N skipped' where there are
any. What was skipped is named with its reason: a test that ended with ctest's skip code, and a single test inside a
GoogleTest program, which passes as a whole. Each folder has ctest's junit.xml and, in gtest/, the programs' own reports."""
import collections
import pathlib
import sys
import xml.etree.ElementTree as tree

Counts = collections.namedtuple("Counts", "passed failed failures skipped")


def skipped_inside(folder):
    """'program: Suite.Test: reason' of each single test that said GTEST_SKIP()."""
    found = []
    for report in sorted(folder.glob("*.xml")):
        try:
            cases = list(tree.parse(report).getroot().iter("testcase"))
        except tree.ParseError:  # of a program that was killed while it wrote; ctest has its failure
            continue
        for case in cases:
            if case.get("result") == "skipped" or case.find("skipped") is not None:
                skip = case.find("skipped")
                reason = "" if skip is None else (skip.get("message") or "").strip()
                # GoogleTest puts the place before the reason.
                reason = reason.splitlines()[-1] if reason else ""
                found.append(f"{report.stem}: {case.get('classname')}.{case.get('name')}" + (f": {reason}" if reason else ""))
    return found


def count(preset):
    suite = tree.parse(preset / "junit.xml").getroot()
    passed, failures, skipped = 0, [], []
    for case in suite.iter("testcase"):
        if case.find("failure") is not None:
            failures.append(case.get("name"))
        elif case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
            output = case.findtext("system-out") or ""
            reasons = [line.removeprefix("SKIPPED: ") for line in output.splitlines() if line.startswith("SKIPPED: ")]
            skipped.append(": ".join([case.get("name"), *reasons]))
        else:
            passed += 1
    return Counts(passed, len(failures), failures, skipped + skipped_inside(preset / "gtest"))


def main(folders):
    passed = failed = skipped = 0
    for preset in map(pathlib.Path, folders):
        if not (preset / "junit.xml").exists():
            print(f"{preset}: did not run")
            failed += 1
            continue
        found = count(preset)
        print(f"{preset.name:8} {found.passed:4} passed {found.failed:4} failed {len(found.skipped):4} skipped"
              + (f"   failed: {', '.join(found.failures)}" if found.failures else ""))
        for name in found.skipped:
            print(f"{'':8} skipped: {name}")
        passed, failed, skipped = passed + found.passed, failed + found.failed, skipped + len(found.skipped)
    print(f"total: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))


if __name__ == "__main__":
    main(sys.argv[1:])
