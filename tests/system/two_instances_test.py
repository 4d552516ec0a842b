#!/usr/bin/env python3
"""Two instances side by side do not touch each other; a port in use and a folder in use are said plainly."""
import subprocess

from citadel_process import BINARY, Citadel, TRACE, usage_by_hour


def start_refused(*arguments):
    done = subprocess.run([BINARY, "up", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and "ready" not in done.stdout, done
    return done.stderr


def main():
    with Citadel() as one, Citadel() as other:
        one.run("import", str(TRACE), "--model", "mixtral-8x7b")
        one.wait_drained()
        assert len(usage_by_hour(one)) == 2
        assert usage_by_hour(other) == {}

        same = start_refused("--data", str(one.data), "--http", "127.0.0.1:0")
        assert str(one.data) in same, same
        fresh = one.folder / "fresh"
        taken = start_refused("--data", str(fresh), "--http", "127.0.0.1:0", "--pgpool-port", str(one.pgpool),
                              "--postgres-port", str(one.postgres))
        assert str(one.postgres) in taken or str(one.pgpool) in taken, taken

        health = one.get("/healthz", key=False)
        assert health == '{"status":"alive"}', health
        ready = one.get("/readyz", key=False)
        assert '"status":"ready"' in ready, ready
        one.run("status")


main()
