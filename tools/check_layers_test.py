#!/usr/bin/env python3
"""Proves that each rule of check_layers.py fails where it is broken, and only there."""
import pathlib
import tempfile
import unittest

import check_layers

GOOD = {
    "src/CMakeLists.txt": "add_subdirectory(base)\n",
    "src/base/CMakeLists.txt": "add_room(base FLOOR 0\n  SOURCES a.cpp\n  TESTS a_test.cpp)\n",
    "src/base/a.hpp": "// A: what it promises.\n#pragma once\n",
    "src/base/a.cpp": '#include "base/a.hpp"\n\nint twice(int x) {\n  return 2 * x;  // not a detached usleep(1)\n}\n',
    "src/base/a_test.cpp": '#include "support/ports.hpp"\n',
    "src/aio/CMakeLists.txt": "add_room(aio FLOOR 1 SOURCES b.cpp)\n",
    "src/aio/b.cpp": '#include "base/a.hpp"\nauto x = asio::detached;\n',
    "src/crypto/CMakeLists.txt": "add_room(crypto FLOOR 1 SOURCES hash.cpp)\n",
    "src/crypto/hash.cpp": "#include <openssl/evp.h>\n",
    "src/pg/CMakeLists.txt": "add_room(pg FLOOR 2 SOURCES detail/wire.cpp)\n",
    "src/pg/detail/wire.cpp": "#include <libpq-fe.h>\nPGconn* connection;\n",
    "src/http/CMakeLists.txt": "add_room(http FLOOR 6 SOURCES server.cpp)\n",
    "src/http/server.cpp": "#include <boost/beast/core.hpp>\n",
    "src/cli/CMakeLists.txt": "add_room(cli FLOOR 8 SOURCES command_line.cpp)\n",
    "src/cli/command_line.cpp": "#include <CLI/CLI.hpp>\n",
    "tests/support/CMakeLists.txt": "add_library(support STATIC ports.cpp)\n",
    "tests/support/ports.hpp": "// Ports.\n#pragma once\n",
    "tests/support/ports.cpp": "\n",
    "tests/system/CMakeLists.txt": "foreach(test up verify)\n  add_test(NAME ${test} COMMAND python3 ${test}_test.py)\nendforeach()\n",
    "tests/system/up_test.py": "\n",
    "tests/sim/CMakeLists.txt": "add_executable(sim_test sim_test.cpp)\n",
    "tests/sim/sim_test.cpp": "\n",
    "README.md": "# Citadel\n",
}
FUNCTION_70 = "int f() {\n" + "  step();\n" * 68 + "}\n"
FUNCTION_71 = "int f() {\n" + "  step();\n" * 69 + "}\n"


class Rules(unittest.TestCase):
    def faults(self, changes):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder).resolve()
            for name, content in {**GOOD, **changes}.items():
                file = root / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
            return check_layers.check(root)

    def expect(self, changes, rule, name):
        found = self.faults(changes)
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(name + ":"), found)
        self.assertIn(f": {rule}: ", found[0])

    def expect_none(self, changes):
        self.assertEqual(self.faults(changes), [])

    def source(self, code, name="src/base/a.cpp"):
        return {name: code}

    def test_a_good_tree_has_no_fault(self):
        self.expect_none({})

    def test_an_include_upwards_or_sideways(self):
        self.expect(self.source('#include "aio/b.hpp"\n'), "floor", "src/base/a.cpp")
        self.expect(self.source('#include "crypto/h.hpp"\n', "src/aio/b.cpp"), "floor", "src/aio/b.cpp")

    def test_an_include_of_no_room(self):
        self.expect(self.source('#include "cellar/a.hpp"\n'), "room", "src/base/a.cpp")
        self.expect(self.source('#include "../aio/b.hpp"\n'), "room", "src/base/a.cpp")
        self.expect(self.source('#include "support/ports.hpp"\n'), "room", "src/base/a.cpp")

    def test_a_library_outside_its_home(self):
        for include in ("openssl/evp.h", "libpq-fe.h", "boost/beast/http.hpp", "toml++/toml.h", "CLI/CLI.hpp"):
            with self.subTest(include):
                self.expect(self.source(f"#include <{include}>\n"), "home", "src/base/a.cpp")
        self.expect(self.source("void f(PGconn*);\n"), "home", "src/base/a.cpp")
        self.expect({"src/pg/CMakeLists.txt": "add_room(pg FLOOR 2 SOURCES x.cpp detail/wire.cpp)\n",
                     "src/pg/x.cpp": "#include <libpq-fe.h>\n"}, "home", "src/pg/x.cpp")
        self.expect({"src/cli/CMakeLists.txt": "add_room(cli FLOOR 8 SOURCES command_line.cpp up_command.cpp)\n",
                     "src/cli/up_command.cpp": "#include <CLI/CLI.hpp>\n"}, "home", "src/cli/up_command.cpp")

    def test_a_sleep(self):
        for call in ("std::this_thread::sleep_for(1s)", "usleep(5)", "::sleep(1)", "nanosleep(&a, &b)"):
            with self.subTest(call):
                self.expect(self.source(f"void f() {{ {call}; }}\n"), "sleep", "src/base/a.cpp")
                self.expect(self.source(f"void f() {{ {call}; }}\n", "tests/support/ports.cpp"), "sleep", "tests/support/ports.cpp")
        wait = "void f() { co_await aio::sleep_for(1s); }\n"
        self.expect_none(self.source(wait, "src/aio/b.cpp"))
        self.expect(self.source(wait, "src/base/a_test.cpp"), "sleep", "src/base/a_test.cpp")
        self.expect(self.source(wait, "tests/support/ports.cpp"), "sleep", "tests/support/ports.cpp")
        self.expect_none(self.source(wait, "tests/sim/sim_test.cpp"))
        self.expect(self.source("void f() { usleep(5); }\n", "tests/sim/sim_test.cpp"), "sleep", "tests/sim/sim_test.cpp")
        self.expect_none(self.source("void f() {\n  // sleep: the reason\n  usleep(5);\n}\n"))

    def test_a_detached_coroutine(self):
        self.expect(self.source("auto x = asio::detached;\n"), "detached", "src/base/a.cpp")
        self.expect_none(self.source("auto x = asio::detached;\n", "src/base/a_test.cpp"))

    def test_a_source_that_nobody_builds(self):
        for name in ("b.cpp", "b_test.cpp", "b_pgtest.cpp", "b_bench.cpp", "b_fuzz.cpp", "detail/b_test.cpp"):
            with self.subTest(name):
                self.expect({f"src/base/{name}": "\n"}, "registered", f"src/base/{name}")
        self.expect({"tests/support/b_test.cpp": "\n"}, "registered", "tests/support/b_test.cpp")
        self.expect({"tests/system/down_test.py": "\n"}, "registered", "tests/system/down_test.py")

    def test_a_test_that_is_named_where_nobody_runs_it(self):
        def room(lists):
            return {"src/base/CMakeLists.txt": f"add_room(base FLOOR 0\n  SOURCES a.cpp\n  TESTS a_test.cpp\n  {lists})\n",
                    "src/base/b_pgtest.cpp": "\n"}
        self.expect_none(room("PGTESTS b_pgtest.cpp"))
        for lists in ("# b_pgtest.cpp\n", "b_pgtest.cpp", "DEPS b_pgtest.cpp", "BENCHES b_pgtest.cpp"):
            with self.subTest(lists):
                self.expect(room(lists), "registered", "src/base/b_pgtest.cpp")

    def test_a_header_without_comment_or_guard(self):
        self.expect({"src/base/a.hpp": "#pragma once\n"}, "header", "src/base/a.hpp")
        self.expect({"src/base/a.hpp": "// A.\n"}, "header", "src/base/a.hpp")
        self.expect({"tests/support/ports.hpp": "// Ports.\n"}, "header", "tests/support/ports.hpp")

    def test_a_long_file(self):
        self.expect_none(self.source("int x;\n" * 500))
        self.expect(self.source("int x;\n" * 501), "length", "src/base/a.cpp")
        self.expect_none(self.source("// long file: a reason\n" + "int x;\n" * 501))

    def test_a_long_function(self):
        self.expect_none(self.source(FUNCTION_70))
        self.expect(self.source(FUNCTION_71), "length", "src/base/a.cpp")
        self.expect(self.source("namespace a::b {\nclass C : D {\n public:\n" + FUNCTION_71 + "};\n}\n"), "length",
                    "src/base/a.cpp")
        self.expect(self.source("template <class T = std::vector<int>>\n" + FUNCTION_71), "length", "src/base/a.cpp")
        self.expect(self.source(FUNCTION_71.replace("int f()", "TEST(Room, Does)")), "length", "src/base/a.cpp")
        self.expect(self.source(FUNCTION_71.replace("int f()", "bool operator==(A, B)")), "length", "src/base/a.cpp")
        self.expect_none(self.source("// long: a reason\n" + FUNCTION_71))

    def test_what_only_looks_like_a_long_function(self):
        rows = '    {"key", f(1), 2},\n' * 100
        self.expect_none(self.source("const auto rows = std::to_array<Row>({\n" + rows + "});\n"))
        self.expect_none(self.source("struct A {\n" + "  int f();\n" * 100 + "};\n"))
        self.expect_none(self.source("namespace {\n" + "int f() { return 1; }\n" * 100 + "}\n"))
        self.expect_none(self.source('const char text[] = R"(\nint f() {\n' + "  step();\n" * 100 + '}\n)";\n'))

    def test_a_brace_in_a_string_or_comment_is_no_block(self):
        self.expect(self.source("const char a = '{';  // {\nconst char* b = \"{\";\n" + FUNCTION_71), "length",
                    "src/base/a.cpp")

    def test_a_path_of_one_machine(self):
        for start in ("/ho" + "me/", "/wo" + "rk/", "/ro" + "ot/"):
            with self.subTest(start):
                self.expect({"README.md": f"See {start}somebody/file.\n"}, "path", "README.md")

    def test_a_tree_without_rooms(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "src").mkdir()
            self.assertEqual(len(check_layers.check(pathlib.Path(folder).resolve())), 1)


if __name__ == "__main__":
    unittest.main()
