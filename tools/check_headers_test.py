#!/usr/bin/env python3
"""Proves that check_headers.py names the header that does not compile alone.  check_headers_test.py COMPILER"""
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

import check_headers

COMPILER = sys.argv.pop()


class Headers(unittest.TestCase):
    def check(self, content, heavy=""):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder).resolve()
            (root / "src/base").mkdir(parents=True)
            (root / "tests").mkdir()
            (root / "src/base/a.hpp").write_text("#pragma once\nstruct A {};\n")
            if heavy:
                (root / "src/aio").mkdir()
                (root / "src/aio/task.hpp").write_text("#pragma once\n" + heavy)
            (root / "src/base/b.hpp").write_text("#pragma once\n" + content)
            return check_headers.check(root, root / "checked", [COMPILER, "-std=c++23"])

    def test_a_header_that_includes_what_it_uses(self):
        self.assertEqual(self.check('#include "base/a.hpp"\ninline A a;\n'), (2, []))

    def test_a_header_that_does_not(self):
        count, faults = self.check("inline A a;\n")
        self.assertEqual((count, len(faults)), (2, 1))
        self.assertIn("base/b.hpp does not compile alone", faults[0])

    def test_a_precompiled_header_hides_nothing_from_who_does_not_include_it(self):
        self.assertEqual(self.check('#include "aio/task.hpp"\ninline T t;\n', "struct T {};\n"), (3, []))
        count, faults = self.check("inline T t;\n", "struct T {};\n")
        self.assertEqual((count, len(faults)), (3, 1))

    def test_what_compiled_is_not_compiled_again_until_it_or_what_it_includes_changes(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder).resolve()
            (root / "src").mkdir()
            (root / "src/a.hpp").write_text("#pragma once\nstruct A {};\n")
            (root / "src/b.hpp").write_text('#pragma once\n#include "a.hpp"\ninline A a;\n')
            checked, good, broken = root / "checked", [COMPILER, "-std=c++23"], ["false"]
            self.assertEqual(len(check_headers.check(root, checked, broken)[1]), 2)
            self.assertEqual(check_headers.check(root, checked, good), (2, []))
            with unittest.mock.patch.object(check_headers, "compile_alone", side_effect=AssertionError):
                self.assertEqual(check_headers.check(root, checked, good), (2, []))
            (root / "src/a.hpp").write_text("#pragma once\n")
            self.assertEqual(len(check_headers.check(root, checked, good)[1]), 1)


if __name__ == "__main__":
    unittest.main()
