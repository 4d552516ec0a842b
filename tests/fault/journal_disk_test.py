#!/usr/bin/env python3
"""The journal's disk: full, it refuses records before it acknowledges them and goes on when there is room; when fdatasync
fails, the group is refused, that segment is never synced again, and nothing acknowledged is lost."""
import json
import os
import pathlib
import random
import subprocess
import sys

from citadel_process import Citadel, wait_until
from fault_daemon import Daemon, Psql
from invariants import Invariants
from load import Load

# Room for two segments of 256 KiB and a little more.
DISK_KIB = 700


class SmallDisk:
    """A tmpfs at `folder`."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()

    def __enter__(self):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "tmpfs", str(self.folder)],
                              capture_output=True, text=True, check=False)
        self.mounted = done.returncode == 0
        if not self.mounted:
            print(f"SKIPPED: a full disk needs a tmpfs, and mount says: {done.stderr.strip()} (user id {os.geteuid()})")
        return self

    def __exit__(self, *_):
        if self.mounted:
            subprocess.run(["umount", str(self.folder)], check=True)


def full(servers):
    with SmallDisk(servers.folder / "disk") as disk:
        if not disk.mounted:
            return False
        folder = disk.folder / "journal"
        with Daemon(servers, {"journal": {"folder": f'"{folder}"', "gather_bytes": '"64KiB"'}}, folder="full") as daemon:
            load = Load(daemon)
            load.settle()
            invariants = Invariants(daemon, load)
            with load:
                load.wait_reads(5)
                # The database takes nothing, so that the disk fills; reads wait for the deadline meanwhile.
                with Blocked(servers):
                    wait_until(lambda: load.post_statuses[507], "a record is refused with 507")
                    load.wait_reads(10)
                    refused = load.post_statuses[507]
                    wait_until(lambda: load.post_statuses[507] > refused, "it is still refused")
                    status, problem = daemon.request("POST", "/v1/requests", json.dumps(
                        [load.record(random.Random(1), "never") for _ in range(500)]))
                    assert status == 507 and problem["type"] == "/problems/storage_full", (status, problem)
                    assert any(text in problem["detail"] for text in ("full", "limit", "No space")), problem
                    assert daemon.status()["journal"]["refused_full_total"] > 0
                load.wait_posted(50)
                load.wait_reads(10)
            invariants.check()
            print("full: posts", dict(load.post_statuses), "reads", dict(load.get_statuses))
    return True


class Blocked:
    """Nobody can add to the sums, so nothing drains; reading them goes on."""

    def __init__(self, servers):
        self.psql = Psql(servers)

    def __enter__(self):
        self.psql("begin")
        self.psql("lock table usage.rollup_day in exclusive mode")

    def __exit__(self, *_):
        self.psql("rollback")
        self.psql.close()


def sync_fails(servers):
    """strace makes one fdatasync of the running daemon fail with EIO, and records all others."""
    with Daemon(servers, folder="eio") as daemon:
        load = Load(daemon)
        load.settle()
        invariants = Invariants(daemon, load)
        with load:
            load.wait_posted(50)
            trace = daemon.folder / "strace.txt"
            tracer = subprocess.Popen(["strace", "-f", "-y", "-e", "trace=fdatasync", "-e",
                                       "inject=fdatasync:error=EIO:when=5", "-o", str(trace), "-p", str(daemon.pid)],
                                      stderr=subprocess.PIPE, text=True)
            try:
                wait_until(lambda: "(INJECTED)" in trace.read_text() if trace.exists() else False,
                           "fdatasync has failed")
                load.wait_posted(100)
                load.wait_reads(10)
                wait_until(lambda: daemon.status()["journal"]["sync_errors_total"] == 1, "the error is counted")
            finally:
                tracer.terminate()
                tracer.wait(timeout=20)
                tracer.stderr.close()
        assert load.post_statuses[500] >= 1, f"the group was acknowledged: {load.post_statuses}"
        lines = [line for line in trace.read_text().splitlines() if "fdatasync(" in line]
        bad = next(i for i, line in enumerate(lines) if "(INJECTED)" in line)
        file = lines[bad].split("<")[1].split(">")[0]
        assert "/journal/" in file, lines[bad]
        again = [line for line in lines[bad + 1:] if file in line]
        assert not again, f"{file} was synced again after its error: {again}"
        assert daemon.status()["journal"]["failed"] is False
        invariants.check()
        print("eio: posts", dict(load.post_statuses), "reads", dict(load.get_statuses), pathlib.Path(file).name)


with Citadel() as servers:
    tested = full(servers)
    sync_fails(servers)
sys.exit(0 if tested else 77)  # 77: skipped, for ctest
