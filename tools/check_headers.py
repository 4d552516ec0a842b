#!/usr/bin/env python3
"""Checks that each header of src/ and tests/ compiles alone, so that no includer has to know what to include first.

  check_headers.py ROOT CHECKED COMPILER [FLAG...]    prints the first error of each header that does not; exits with 1 then

CHECKED is a file that remembers what compiled: a header is not compiled again while it, what it includes of ours, and the
command are the same.
"""
import concurrent.futures
import hashlib
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


def digest_of(root, include, command):
    """Of all that decides whether it compiles, but for the system's headers."""
    digest = hashlib.sha256(repr(command).encode())
    for name in sorted(includes_of(root, include, set())):
        path = next(root / top / name for top in ("src", "tests") if (root / top / name).exists())
        digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def check(root, checked, command):
    includes = [path.relative_to(root / top).as_posix()
                for top in ("src", "tests") for path in sorted((root / top).rglob("*.hpp"))]
    command = [*command, f"-I{root / 'src'}", f"-I{root / 'tests'}"]
    digests = {include: digest_of(root, include, command) for include in includes}
    good = set(checked.read_text().split()) if checked.exists() else set()
    unknown = [include for include in includes if digests[include] not in good]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        present = [include for include in HEAVY if include in includes and unknown]
        flags = dict(zip(present, pool.map(lambda include: precompile(command, include, folder), present)))

        def check_one(include):
            inner = includes_of(root, include, set()) - {include}
            shared = next((flags[heavy] for heavy in present if heavy in inner), [])
            return compile_alone([*command, *shared], include)

        faults = dict(zip(unknown, pool.map(check_one, unknown)))
    checked.write_text("\n".join(digests[include] for include in includes if not faults.get(include)))
    return len(includes), [fault for fault in faults.values() if fault]


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    count, faults = check(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]), sys.argv[3:])
    print("\n".join(faults) if faults else f"{count} headers compile alone")
    sys.exit(1 if faults or count == 0 else 0)


if __name__ == "__main__":
    main()
