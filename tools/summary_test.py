#!/usr/bin/env python3
"""Proves that a test that was skipped does not count as one that passed, and that a name that no test has is refused."""
import contextlib
import io
import pathlib
import subprocess
import tempfile
import unittest

import summary

SETUP = pathlib.Path(__file__).resolve().parent / "setup.sh"
# The last of these skips a part of what it tests and says why; the one before fails and says the same.
TESTS = """add_test(good "true")
add_test(bad "false")
add_test(bad_and_skipped sh -c "echo 'SKIPPED: no tmpfs'; exit 1")
add_test(skipped sh -c "echo 'SKIPPED: no tmpfs'; exit 77")
set_tests_properties(skipped bad_and_skipped PROPERTIES SKIP_RETURN_CODE 77)
"""
GTEST = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="2" failures="0"><testsuite name="Suite" tests="2" failures="0" skipped="1">
<testcase name="Runs" status="run" result="completed" classname="Suite" />
<testcase name="Needs" file="x.cpp" line="7" status="run" result="skipped" classname="Suite">
<skipped message="x.cpp:8&#x0A;needs root&#x0A;"><![CDATA[x.cpp:8
needs root
]]></skipped></testcase></testsuite></testsuites>
"""


class Summary(unittest.TestCase):
    def setUp(self):
        self.holder = tempfile.TemporaryDirectory()
        self.addCleanup(self.holder.cleanup)
        self.preset = pathlib.Path(self.holder.name) / "release"
        (self.preset / "gtest").mkdir(parents=True)

    def run_tests(self, tests=TESTS):
        (self.preset / "CTestTestfile.cmake").write_text(tests)
        subprocess.run(["ctest", "--test-dir", str(self.preset), "--output-junit", str(self.preset / "junit.xml")],
                       capture_output=True, check=False)

    def shown(self):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            summary.main([str(self.preset)])
        return out.getvalue()

    def test_each_is_counted_as_what_it_is(self):
        self.run_tests()
        shown = self.shown()
        self.assertEqual(shown.splitlines()[-1], "total: 1 passed, 2 failed, 1 skipped")
        self.assertIn("failed: bad, bad_and_skipped", shown)
        self.assertIn("skipped: skipped: no tmpfs", shown)

    def test_a_skip_inside_a_program_is_named(self):
        self.run_tests('add_test(good "true")\n')
        (self.preset / "gtest" / "local_test.xml").write_text(GTEST)
        shown = self.shown()
        self.assertEqual(shown.splitlines()[-1], "total: 1 passed, 0 failed, 1 skipped")
        self.assertIn("skipped: local_test: Suite.Needs: needs root", shown)

    def test_nothing_is_said_of_skips_where_there_are_none(self):
        self.run_tests('add_test(good "true")\n')
        self.assertEqual(self.shown().splitlines()[-1], "total: 1 passed, 0 failed")

    def test_a_preset_that_did_not_run_is_a_failure(self):
        self.assertEqual(self.shown().splitlines()[-1], "total: 0 passed, 1 failed")

    def match(self, pattern):
        return subprocess.run(["bash", "-c", f'set -euo pipefail; source "{SETUP}"; require_match "$1" "$2"', "-", pattern,
                               str(self.preset)], capture_output=True, text=True, check=False)

    def test_a_name_that_no_test_has_is_refused(self):
        self.run_tests()
        self.assertEqual(self.match("ood").returncode, 0)
        for wrong in ("no_such_test", "*"):
            done = self.match(wrong)
            self.assertEqual(done.returncode, 1, done)
            self.assertIn(f"'{wrong}'", done.stderr)
            self.assertIn("bad_and_skipped", done.stderr)


unittest.main()
