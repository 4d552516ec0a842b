#!/usr/bin/env python3
"""The README's tour of the audit trail, as it stands there: record, prove, tamper, detected."""
import os
import re
import subprocess
import time

from citadel_process import BINARY, SOURCE, Citadel


def blocks():
    """The commands of the tour's section, in their order."""
    section = re.search(r"\n\*\*The audit trail\.\*\*(.*?)\n\*\*", (SOURCE / "README.md").read_text(), re.S).group(1)
    found = re.findall(r"```sh\n(.*?)```", section, re.S)
    assert len(found) == 2, found
    return found


def main():
    with Citadel(first=True) as citadel:
        commands = citadel.folder / "bin"
        commands.mkdir()
        (commands / "citadel").symlink_to(os.path.abspath(BINARY))
        text = f"data={citadel.data}\n" + "".join(blocks())
        assert text.count("-p 5434 ") == 1, "the port that the tour names"
        text = text.replace("-p 5434 ", f"-p {citadel.postgres} ")
        environment = dict(citadel.client_environment(), PATH=f"{commands}:{os.environ['PATH']}")
        begun = time.monotonic()
        done = subprocess.run(["bash", "-c", text + '\necho "exit $?, entry $index"\n'], cwd=citadel.folder, env=environment,
                              capture_output=True, text=True, check=False, timeout=300)
        print(f"{time.monotonic() - begun:.1f} s\n{done.stdout}{done.stderr}")
        assert done.returncode == 0, done
        index = re.search(r"exit 1, entry (\d+)\n", done.stdout).group(1)
        for said in ("model_version.promote", f"good: entry {index} of", "entries of citadel.local/audit/", "UPDATE 1", "FAULT after",
                     f"  entry {index}: "):
            assert said in done.stdout, said


main()
