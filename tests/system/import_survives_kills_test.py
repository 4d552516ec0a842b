#!/usr/bin/env python3
"""PostgreSQL, Pgpool-II and the daemon are each killed -9 while a real trace is imported; every sum is right after."""
import signal
import subprocess

from citadel_process import TRACE, Citadel, trace_sums, usage_by_hour, wait_until


def imported(citadel):
    # Beside the state file lies for moments the one that will replace it.
    state = [file for file in (citadel.folder / "state").glob("citadel/import-*") if file.suffix != ".new"]
    return int(state[0].read_text().split()[0]) if state else 0


def main():
    wanted = trace_sums()
    rows = sum(sums[0] for sums in wanted.values())
    with Citadel() as citadel:
        # 57 minutes of trace in about 12 seconds.
        # A pipe that nobody reads would stop the import, so its progress goes to a file.
        with open(citadel.folder / "import.log", "wb") as log:
            importer = citadel.popen("import", str(TRACE), "--model", "mixtral-8x7b", "--rate", "300x", stdout=log,
                                     stderr=log)
        try:
            wait_until(lambda: imported(citadel) > rows // 10, "a tenth is imported")
            citadel.kill_server("postgres")
            wait_until(lambda: imported(citadel) > rows * 3 // 10, "the import goes on while PostgreSQL is away")
            citadel.kill_server("pgpool")
            wait_until(lambda: imported(citadel) > rows // 2, "the import goes on while Pgpool-II is away")
            citadel.kill_daemon()
            assert importer.poll() is None, "the import ended before the daemon was killed: nothing was tested"
            citadel.start()
            assert importer.wait(timeout=120) == 0, (citadel.folder / "import.log").read_text()
        finally:
            if importer.poll() is None:
                importer.send_signal(signal.SIGKILL)
                importer.wait()
        citadel.wait_drained()
        found = usage_by_hour(citadel)
        assert found == wanted, f"found {found}, wanted {wanted}"

        # Sent once more, whole: every row is known, and nothing is counted twice.
        citadel.run("import", str(TRACE), "--model", "mixtral-8x7b", "--again")
        citadel.wait_drained()
        assert usage_by_hour(citadel) == wanted
        assert citadel.run_json("status")["drain"]["repeated_total"] >= rows
        # And a third time, from the state that it kept: nothing is sent.
        assert citadel.run_json("import", str(TRACE), "--model", "mixtral-8x7b")["sent"] == 0
        assert citadel.stop() == 0
        citadel.start()
        assert usage_by_hour(citadel) == wanted, "the data is kept across a restart"


main()
