#!/usr/bin/env python3
"""The daemon dies as by kill -9 at every named step of append, acknowledge, drain, cursor and unlink while a real trace
is imported; started again, every sum is right: each acknowledged record is in the database exactly once. The steps of the
drain: in its first batch and in later ones."""
import json
import os
import re
import signal
import subprocess

from citadel_process import BINARY, SOURCE, TRACE, Citadel, reserve_port, trace_sums, wait_until

# Reached only after a torn start, an error of the disk, or a cursor file that has grown long; the journal's own crash test
# passes them.
ELSEWHERE = ("journal.recovery.", "journal.seal.", "journal.cursor.before_replace", "journal.cursor.after_replace",
             # The audit trail is off here: audit_crash_points_test.py. Statement by statement: src/audit/audit_crashtest.cpp.
             "checkpoint.", "publisher.", "pg.")


# A batch of the drain is one of some eighteen in an import: the first meets an empty table, later ones a watermark, a cursor
# and segments to remove.
DRAIN_PASSINGS = (1, 2, 5, 11)


def crash_points():
    text = (SOURCE / "src" / "base" / "crash_point.hpp").read_text()
    return [name for name in re.findall(r'"([a-z_.]+)",', text) if not name.startswith(ELSEWHERE)]


class Daemon:
    """`citadel serve` against the servers of another instance."""

    def __init__(self, servers):
        self.folder = servers.folder / "serve"
        self.folder.mkdir()
        self.port = reserve_port()
        # Made here, because a daemon that dies at its start makes none.
        key = self.folder / "admin.key"
        key.write_text("k" * 40)
        key.chmod(0o600)
        self.config = self.folder / "citadel.toml"
        self.config.write_text(f"""
[http]
listen = "127.0.0.1:{self.port}"
[database]
port = {servers.pgpool}
password_file = "{servers.data}/secrets/citadel_app.password"
[database.direct]
host = "127.0.0.1"
port = {servers.postgres}
[pool]
size_min = 1
size_max = 5
[journal]
folder = "{self.folder}/journal"
segment_bytes = "256KiB"
gather_bytes = "128KiB"
[drain]
interval = "5ms"
batch_rows = 500
[admin]
key_file = "{self.folder}/admin.key"
[audit]
enabled = false
""")
        self.environment = dict(os.environ, CITADEL_URL=f"http://127.0.0.1:{self.port}",
                                CITADEL_KEY_FILE=f"{self.folder}/admin.key", XDG_STATE_HOME=f"{self.folder}/state")

    def start(self, crash_point=None):
        environment = dict(self.environment)
        if crash_point:
            environment["CITADEL_CRASH_POINT"] = crash_point
        self.log = open(self.folder / "serve.log", "ab")
        return subprocess.Popen([BINARY, "serve", "--config", str(self.config)], env=environment, stdout=subprocess.PIPE,
                                stderr=self.log)

    def client(self, *arguments, expect=(0,), timeout=60):
        done = subprocess.run([BINARY, *arguments], env=self.environment, capture_output=True, text=True, check=False,
                              timeout=timeout)
        assert done.returncode in expect, done
        return done.stdout


def die_at(daemon, point, passing, wanted):
    model = f"{point}-{passing}"
    process = daemon.start(f"{point}:{passing}")
    importer = subprocess.Popen([BINARY, "import", str(TRACE), "--model", model], env=daemon.environment,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        died = process.wait(timeout=30) == -signal.SIGKILL
    except subprocess.TimeoutExpired:
        died = False
        process.kill()
        process.wait()
    process.stdout.close()
    process = daemon.start()
    try:
        assert process.stdout.readline().startswith(b"ready"), (daemon.folder / "serve.log").read_text()[-2000:]
        assert importer.wait(timeout=60) == 0

        # Exit code 1 says that it is not wholly ready yet.
        wait_until(lambda: json.loads(daemon.client("status", "--json", expect=(0, 1)))["journal"]["undrained_records"] == 0,
                   f"{model} is drained")
        totals = json.loads(daemon.client("usage", "--json", "--from", "2023-11-16T00:00:00Z", "--to",
                                          "2023-11-17T00:00:00Z", "--model", model))["totals"]
        found = [totals["requests"], totals["prompt_tokens"], totals["completion_tokens"]]
        assert found == wanted, f"{model}: found {found}, wanted {wanted}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=40)
        process.stdout.close()
        if importer.poll() is None:
            importer.kill()
            importer.wait()
    return died


def main():
    hours = trace_sums().values()
    wanted = [sum(hour[i] for hour in hours) for i in range(3)]
    not_fired = []
    with Citadel() as servers:
        daemon = Daemon(servers)
        for point in crash_points():
            for passing in DRAIN_PASSINGS if point.startswith("drain.") else (1,):
                if not die_at(daemon, point, passing, wanted):
                    not_fired.append(f"{point}:{passing}")
    assert not not_fired, f"these crash points were never passed, so nothing was tested there: {not_fired}"


main()
