#!/usr/bin/env python3
"""summary.py JUNIT...: one line a preset from ctest's JUnit files, and the total as 'N passed, N failed'."""
import os
import sys
import xml.etree.ElementTree as tree


def count(path):
    suite = tree.parse(path).getroot()
    total, failed = int(suite.get("tests", 0)), int(suite.get("failures", 0))
    skipped = int(suite.get("skipped", 0)) + int(suite.get("disabled", 0))
    names = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    return total - failed - skipped, failed, skipped, names


def main(paths):
    passed = failed = skipped = 0
    for path in paths:
        if not os.path.exists(path):
            print(f"{path}: did not run")
            failed += 1
            continue
        p, f, s, names = count(path)
        print(f"{os.path.basename(os.path.dirname(path)):8} {p:4} passed {f:4} failed {s:4} skipped"
              + (f"   failed: {', '.join(names)}" if names else ""))
        passed, failed, skipped = passed + p, failed + f, skipped + s
    print(f"total: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))


main(sys.argv[1:])
