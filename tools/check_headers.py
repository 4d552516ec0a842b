#!/usr/bin/env python3
"""Checks that each header of src/ and tests/ compiles alone, so that no includer has to know what to include first.

  check_headers.py ROOT COMPILER [FLAG...]    prints the first error of each header that does not; exits with 1 then
"""
import concurrent.futures
import os
import pathlib
import subprocess
import sys


def compile_alone(command, include):
    done = subprocess.run([*command, "-fsyntax-only", "-x", "c++", "-"], input=f'#include "{include}"\n',
                          capture_output=True, text=True)
    return None if done.returncode == 0 else f"{include} does not compile alone:\n{done.stderr[:2000]}"


def check(root, command):
    includes = [path.relative_to(root / top).as_posix()
                for top in ("src", "tests") for path in sorted((root / top).rglob("*.hpp"))]
    command = [*command, f"-I{root / 'src'}", f"-I{root / 'tests'}"]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        faults = [fault for fault in pool.map(lambda include: compile_alone(command, include), includes) if fault]
    return len(includes), faults


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    count, faults = check(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:])
    print("\n".join(faults) if faults else f"{count} headers compile alone")
    sys.exit(1 if faults or count == 0 else 0)


if __name__ == "__main__":
    main()
