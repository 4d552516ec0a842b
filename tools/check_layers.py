#!/usr/bin/env python3
"""Checks what docs/architecture.md and the style ask of the source and what a compiler does not see.

  check_layers.py ROOT            prints one line for each fault, "file:line: rule: what"; exits with 1 where there is one

Rules, each proven able to fail by check_layers_test.py:
  floor      an include points to a room of a strictly lower floor (the floors are read from add_room in CMakeLists.txt)
  room       a quoted include names a room, or tests/support in a test; never a path with ".."
  home       OpenSSL only in crypto, libpq only in pg/detail, Beast only in http, TOML only in app, CLI11 only in cli/command_line.cpp
  sleep      no thread sleeps; in a test no coroutine does either (tests/sim, where time is virtual, aside)
  detached   coroutines are spawned by a Gate; `detached` stands in aio and in tests only
  registered each .cpp, and each *_test.py of tests/, is built or run: its CMakeLists.txt names it outside of comments, and
             x_test, x_pgtest, x_simtest, x_bench and x_fuzz stand in the list of add_room that makes them run as what they are
  header     a header opens with a comment and has #pragma once
  length     a file has at most 500 lines, a function at most 70
  path       no path of somebody's machine

An exception stands beside its reason: `// long: reason` before a long function, `// long file: reason` in the first
lines of a long file, `// sleep: reason` in the line of a sleep or the one before it.
"""
import pathlib
import re
import sys

ROOM_LISTS = {"test": "TESTS", "pgtest": "PGTESTS", "simtest": "SIMTESTS", "crashtest": "CRASHTESTS",
              "bench": "BENCHES", "fuzz": "FUZZERS"}  # by the end of a file's name
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
SOURCE_SUFFIXES = {".cpp", ".hpp"}
TEST_NAME = re.compile(r"(^|_)(test|pgtest|crashtest|simtest|testing|bench|fuzz)(_tools)?\.[ch]pp$")

HOMES = [  # what, how an include or a name of it looks, where it may stand (beginning of the path inside src/)
    ("OpenSSL", re.compile(r'#include\s*[<"]openssl/'), ("crypto/",)),
    ("libpq", re.compile(r'#include\s*[<"](libpq|pg_config|postgres_ext)|\bPG(conn|result|cancel)\b'), ("pg/detail/",)),
    ("Beast", re.compile(r'#include\s*[<"]boost/beast'), ("http/",)),
    ("toml++", re.compile(r'#include\s*[<"]toml\+\+'), ("app/",)),
    ("CLI11", re.compile(r'#include\s*[<"]CLI/'), ("cli/command_line.cpp",)),
]
THREAD_SLEEP = re.compile(r"\bthis_thread::sleep_|\busleep\s*\(|\bnanosleep\s*\(|(?<!\w)::sleep\s*\(")
ANY_SLEEP = re.compile(THREAD_SLEEP.pattern + r"|\bsleep_(for|until)\s*\(")
MACHINE_PATH = re.compile(r"(?<![\w./-])/(home|work|root|Users|mnt)/\w")
TEXT_SUFFIXES = SOURCE_SUFFIXES | {".py", ".sh", ".md", ".txt", ".cmake", ".json", ".sql", ".toml", ".in", ".yml", ""}


class Faults:
    def __init__(self, root):
        self.root, self.lines = root, []

    def add(self, path, line, rule, what):
        self.lines.append(f"{path.relative_to(self.root)}:{line}: {rule}: {what}")


def blank_out(text):
    """The code with the content of comments, strings and characters replaced by blanks; line ends stay."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^()\\ ]*)\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'',
        re.S)

    def blank(match):
        found = match.group(0)
        kept = '""' if found[0] in '"R' else ""
        return kept + re.sub(r"[^\n]", " ", found[len(kept):])

    return pattern.sub(blank, text)


def read_floors(root):
    floors = {}
    for file in sorted((root / "src").glob("*/CMakeLists.txt")):
        for name, floor in re.findall(r"add_room\(\s*(\w+)\s+FLOOR\s+(\d+)", file.read_text()):
            floors[name] = int(floor)
    return floors


def check_includes(path, inside, lines, floors, faults):
    room = inside.split("/")[0]
    for number, line in enumerate(lines, 1):
        match = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        if not match:
            continue
        target = match.group(1)
        other = target.split("/")[0]
        if ".." in target.split("/"):
            faults.add(path, number, "room", f'"{target}" climbs; includes begin at src/')
        elif "/" not in target or other == room:
            continue
        elif other == "support":
            if not TEST_NAME.search(path.name):
                faults.add(path, number, "room", f'"{target}" is for tests only')
        elif other not in floors:
            faults.add(path, number, "room", f'"{target}" is in no room that a CMakeLists.txt adds')
        elif floors[other] >= floors.get(room, -1):
            faults.add(path, number, "floor",
                       f"{room} (floor {floors.get(room, '?')}) includes {other} (floor {floors[other]})")


def check_names(path, inside, lines, code, faults):
    """Rules that a single line breaks. `inside` is the path inside src/, or None in tests/."""
    for number, (line, bare) in enumerate(zip(lines, code), 1):
        if inside is not None:
            for what, pattern, homes in HOMES:
                # Blanked code has lost the names of quoted includes, and has no names from comments.
                text = line if line.lstrip().startswith("#") else bare
                if pattern.search(text) and not inside.startswith(homes):
                    faults.add(path, number, "home", f"{what} is used in {', '.join(homes)} only")
            if re.search(r"\bdetached\b", bare) and not inside.startswith("aio/") and not TEST_NAME.search(path.name):
                faults.add(path, number, "detached", "a Gate owns each spawned coroutine (aio/gate.hpp)")
        # In tests/sim time is virtual: a coroutine's sleep takes none.
        is_test = (inside is None and path.parent.name != "sim") or (inside and TEST_NAME.search(path.name))
        if (ANY_SLEEP if is_test else THREAD_SLEEP).search(bare):
            if not any("// sleep: " in near for near in lines[max(0, number - 2):number]):
                faults.add(path, number, "sleep", "wait for the event instead, with a deadline")


def check_header(path, lines, faults):
    if not lines or not lines[0].startswith("//"):
        faults.add(path, 1, "header", "opens without a comment that says what it promises")
    if "#pragma once" not in lines:
        faults.add(path, 1, "header", "has no #pragma once")


CONTAINER = re.compile(r"^(inline\s+)?(namespace|class|struct|union|enum|extern)\b")


def is_function(header):
    """Whether a block at namespace or class scope that this text introduces is a function's body."""
    header = re.sub(r"operator\s*[^\s\w(]+", "operator", " ".join(header.split()))
    while re.match(r"template\s*<", header):  # a template's parameters, nested brackets included
        depth, end = 0, len(header)
        for at, c in enumerate(header):
            depth += (c == "<") - (c == ">")
            if c == ">" and depth == 0:
                end = at + 1
                break
        header = header[end:].strip()
    paren, assign = header.find("("), header.find("=")
    # `struct stat read()` is a function; `struct Name : Base {` and `extern "C" {` are not.
    if CONTAINER.match(header) and paren < 0:
        return False
    return paren >= 0 and not (0 <= assign < paren)


def functions_of(code_text):
    """(first line, last line) of each function that is no lambda or local class."""
    stack, start, line, start_line = [], 0, 1, 1
    for at, c in enumerate(code_text):
        if c == "\n":
            line += 1
        elif c in "{;}":
            if c == "{":
                header = re.sub(r"^\s*#.*$", "", code_text[start:at], flags=re.M)
                header = re.sub(r"^\s*(public|private|protected)\s*:", "", header)
                kind = "inner" if "function" in stack or "inner" in stack else (
                    "function" if is_function(header) else
                    "container" if CONTAINER.match(re.sub(r"template\s*<.*>\s*", "", " ".join(header.split())))
                    else "inner")
                stack.append(kind)
                if kind == "function":
                    begin = line - code_text[start:at].strip().count("\n")
                    start_line = begin
            elif c == "}" and stack:
                if stack.pop() == "function":
                    yield start_line, line
            start = at + 1


def check_length(path, lines, code_text, faults):
    if len(lines) > FILE_LINES_MAX and not any("// long file: " in line for line in lines[:40]):
        faults.add(path, 1, "length", f"{len(lines)} lines; at most {FILE_LINES_MAX}")
    for first, last in functions_of(code_text):
        count = last - first + 1
        if count > FUNCTION_LINES_MAX and not any("// long: " in line for line in lines[max(0, first - 5):first + 2]):
            faults.add(path, first, "length", f"a function of {count} lines; at most {FUNCTION_LINES_MAX}")


def listed_files(text):
    """{file: the lists of add_room that it stands in}, None for a file of another command; comments name nothing."""
    listed, lists = {}, {"SOURCES", *ROOM_LISTS.values()}
    for command, arguments in re.findall(r"(\w+)\s*\(([^()]*)\)", re.sub(r"#[^\n]*", "", text)):
        keyword = None
        for word in arguments.split():
            if command == "add_room" and word.isupper():
                keyword = word if word in lists else None
            elif command != "add_room" or keyword:
                listed.setdefault(word, set()).add(keyword)
    return listed


def check_registered(folder, faults):
    cmake = folder / "CMakeLists.txt"
    listed = listed_files(cmake.read_text()) if cmake.exists() else {}
    where = cmake.relative_to(faults.root / folder.relative_to(faults.root).parts[0])
    for file in sorted(folder.rglob("*.cpp")):
        name = file.relative_to(folder).as_posix()
        kind = re.search(rf"_({'|'.join(ROOM_LISTS)})\.cpp$", name)
        wanted = ROOM_LISTS[kind.group(1)] if kind else "SOURCES"
        if name not in listed:
            faults.add(file, 1, "registered", f"{where} does not name {name}")
        elif kind and not listed[name] & {None, wanted}:
            faults.add(file, 1, "registered", f"{where} has {name} among its {', '.join(sorted(listed[name]))}, not its {wanted}")
    for file in sorted(folder.glob("*_test.py")):
        if not any(word == file.stem.removesuffix("_test") or word.endswith(f"/{file.name}") for word in listed):
            faults.add(file, 1, "registered", f"{where} does not name {file.stem.removesuffix('_test')}")


def check_paths(root, faults):
    skipped = {".git", "build", "data"}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if parts[0] in skipped or "seeds" in parts or "node_modules" in parts:
            continue
        if not path.is_file() or path.is_symlink() or path.suffix not in TEXT_SUFFIXES:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if match := MACHINE_PATH.search(line):
                faults.add(path, number, "path", f"'{match.group(0)}…' is a path of one machine")


def check(root):
    faults = Faults(root)
    floors = read_floors(root)
    for top in ("src", "tests"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in SOURCE_SUFFIXES or not path.is_file():
                continue
            text = path.read_text(errors="replace")
            lines, code_text = text.splitlines(), blank_out(text)
            inside = path.relative_to(root / "src").as_posix() if top == "src" else None
            if inside is not None:
                check_includes(path, inside, lines, floors, faults)
            check_names(path, inside, lines, code_text.splitlines(), faults)
            check_length(path, lines, code_text, faults)
            if path.suffix == ".hpp":
                check_header(path, lines, faults)
    for folder in sorted([*root.glob("src/*"), *root.glob("tests/*")]):
        if folder.is_dir() and folder.name not in ("data", "__pycache__"):
            check_registered(folder, faults)
    check_paths(root, faults)
    if not floors:
        faults.lines.append("src: floor: no add_room(NAME FLOOR n) was found")
    return faults.lines


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = check(pathlib.Path(sys.argv[1]).resolve())
    print("\n".join(found) if found else "layers and style: no fault")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
