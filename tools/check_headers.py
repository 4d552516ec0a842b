#!/usr/bin/env python3
"""Checks that each header of src/ and tests/ compiles alone, so that no includer has to know what to include first.

  check_headers.py ROOT COMPILER [FLAG...]    prints the first error of each header that does not; exits with 1 then
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

# Ours that take seconds because of Asio; compiled once and shared by the headers that include them. Widest first.
HEAVY = ["aio/wait.hpp", "aio/task.hpp"]


def compile_alone(command, include):
    done = subprocess.run([*command, "-fsyntax-only", "-x", "c++", "-"], input=f'#include "{include}"\n',
                          capture_output=True, text=True)
    return None if done.returncode == 0 else f"{include} does not compile alone:\n{done.stderr[:2000]}"


def includes_of(root, include, seen):
    """Every header of ours that this one includes, itself included."""
    path = next((root / top / include for top in ("src", "tests") if (root / top / include).exists()), None)
    if path is None or include in seen:
        return seen
    seen.add(include)
    for target in re.findall(r'^\s*#\s*include\s*"([^"]+)"', path.read_text(), re.M):
        includes_of(root, target, seen)
    return seen


def precompile(command, include, folder):
    """A precompiled header of `include` alone. It hides nothing from a header that includes it anyway."""
    file = pathlib.Path(folder) / (include.replace("/", "_") + ".pch")
    done = subprocess.run([*command, "-x", "c++-header", "-o", file, "-"], input=f'#include "{include}"\n',
                          capture_output=True, text=True)
    return ["-include-pch", str(file)] if done.returncode == 0 else []


def check(root, command):
    includes = [path.relative_to(root / top).as_posix()
                for top in ("src", "tests") for path in sorted((root / top).rglob("*.hpp"))]
    command = [*command, f"-I{root / 'src'}", f"-I{root / 'tests'}"]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        present = [include for include in HEAVY if include in includes]
        flags = dict(zip(present, pool.map(lambda include: precompile(command, include, folder), present)))

        def check_one(include):
            inner = includes_of(root, include, set()) - {include}
            shared = next((flags[heavy] for heavy in present if heavy in inner), [])
            return compile_alone([*command, *shared], include)

        faults = [fault for fault in pool.map(check_one, includes) if fault]
    return len(includes), faults


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    count, faults = check(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:])
    print("\n".join(faults) if faults else f"{count} headers compile alone")
    sys.exit(1 if faults or count == 0 else 0)


if __name__ == "__main__":
    main()
