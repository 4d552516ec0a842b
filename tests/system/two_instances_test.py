#!/usr/bin/env python3
"""Two instances side by side do not touch each other; a port in use and a folder in use are said plainly."""
import socket
import subprocess

from citadel_process import BINARY, Citadel, TRACE, reserve_port, usage_by_hour


def start_refused(*arguments):
    done = subprocess.run([BINARY, "up", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and "ready" not in done.stdout, done
    return done.stderr


def check_taken_ports(one):
    """Each port is looked at before anything is made, and then nothing is."""
    fresh = one.folder / "fresh"
    ports = {"--http": 0, "--pgpool-port": 0, "--postgres-port": 0}
    for taken in ports:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            ports = {option: reserve_port() for option in ports} | {taken: listener.getsockname()[1]}
            said = start_refused("--data", str(fresh), "--http", f"127.0.0.1:{ports['--http']}", "--pgpool-port",
                                 str(ports["--pgpool-port"]), "--postgres-port", str(ports["--postgres-port"]))
            assert str(ports[taken]) in said and taken in said and "in use" in said, said
            assert not fresh.exists(), list(fresh.iterdir())

    # A folder that has its cluster is told of before its ports: whoever holds it has them, too.
    same = start_refused("--data", str(one.data), "--http", f"127.0.0.1:{one.http}", "--pgpool-port", str(one.pgpool),
                         "--postgres-port", str(one.postgres))
    assert "another citadel" in same and str(one.data) in same, same


def main():
    # The other one with passwords and keys of its own.
    with Citadel() as one, Citadel(first=True) as other:
        one.run("import", str(TRACE), "--model", "mixtral-8x7b")
        one.wait_drained()
        assert len(usage_by_hour(one)) == 2
        assert usage_by_hour(other) == {}

        same = start_refused("--data", str(one.data), "--http", "127.0.0.1:0")
        assert str(one.data) in same, same
        check_taken_ports(one)

        health = one.get("/healthz", key=False)
        assert health == '{"status":"alive"}', health
        ready = one.get("/readyz", key=False)
        assert '"status":"ready"' in ready, ready
        one.run("status")


main()
