#!/usr/bin/env python3
"""The audit trail while its disk, its checkpoint folder and the way to the database fail: the journal's disk full, fdatasync
failing, bytes flipped in a segment, COMMITs whose answer is lost, connections reset, a checkpoint folder that is full or
read-only. Each fault is seen to have fired; afterwards every acknowledged event is in the log once, and the log verifies without
a hole but for what is recorded as lost."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

from audit_api import call, event, psql, uuid7
from audit_trail import THE_LOGS_LOCK, AuditLoad, Session, check_log
from citadel_process import Citadel, wait_until
from fault_daemon import Daemon


class AuditFaultDaemon(Daemon):
    """fault_daemon.Daemon with the audit trail on, as audit_trail.AuditDaemon is used."""

    def __init__(self, servers, folder, audit=None, **more):
        place = servers.folder / folder
        super().__init__(servers, folder=folder, settings={
            "http": {"request_timeout": '"20s"'},
            "audit": {"enabled": "true", "signing_key_file": f'"{servers.data}/audit-signing.key"',
                      "master_key_file": f'"{servers.data}/audit-master.key"', "journal_folder": f'"{place}/audit-journal"',
                      "checkpoint_folder": f'"{place}/checkpoint"', "segment_bytes": '"1MiB"', "checkpoint_interval": '"50ms"',
                      **(audit or {})}}, **more)
        self.environment["XDG_STATE_HOME"] = str(place / "state")

    def post(self, body, query="", headers=None):
        return call(self.url, self.key, "POST", "/v1/audit/events" + query, body, headers)

    def verify(self, *arguments, expect=(0,)):
        return json.loads(self.client("audit", "verify", "--json", "--silent", *arguments, expect=expect, timeout=120))

    def audit(self):
        return self.status()["audit"]

    def not_ready(self, name):
        """What /readyz says of a dependency that is not as it should be."""
        _, answer = self.request("GET", "/readyz")
        return next((d["reason"] for d in answer["dependencies"] if d["name"] == name and not d["ready"]), None)

    def found(self, action):
        return json.loads(self.client("audit", "search", "--action", action, "--json"))["events"]


@contextlib.contextmanager
def small_disk(folder, size):
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        print(f"SKIPPED: a full disk needs a tmpfs, and mount says: {done.stderr.strip()} (user id {os.geteuid()})")
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def journals_disk_full(servers):
    """Refused before the acknowledgement; when there is room again, how many were refused is recorded."""
    disk = servers.folder / "small"
    with small_disk(disk, "2500k") as mounted:
        if not mounted:
            return False
        with AuditFaultDaemon(servers, "full", {"journal_folder": f'"{disk}/audit-journal"'}) as daemon:
            with AuditLoad(daemon) as load:
                load.wait_for_more(20)
                with Session(servers, THE_LOGS_LOCK):
                    load.wait_status(507)
                    status, problem = daemon.post(event(1, details={"text": "x" * 40_000}))
                    assert status == 507 and problem["type"] == "/problems/storage_full", (status, problem)
                    assert daemon.not_ready("audit_journal"), daemon.request("GET", "/readyz")
                    assert daemon.audit()["refused_total"] > 0
                load.wait_for_more(20)
            check_log(servers, daemon, load.so_far(), what="full disk")
            recorded = wait_until(lambda: daemon.found("audit.journal_full"), "what was refused is recorded")
            print("full:", load.statuses, recorded[0]["event"]["reason"])
    return True


def sync_fails(servers):
    """EIO is final for its segment, and for the group that waited for it."""
    with AuditFaultDaemon(servers, "eio") as daemon, AuditLoad(daemon) as load:
        load.wait_for_more(20)
        trace = daemon.folder / "strace.txt"
        tracer = subprocess.Popen(["strace", "-f", "-y", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=7", "-o",
                                   str(trace), "-p", str(daemon.pid)], stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: trace.exists() and "(INJECTED)" in trace.read_text(), "fdatasync has failed")
            load.wait_for_more(60)
        finally:
            tracer.terminate()
            tracer.wait(timeout=20)
            tracer.stderr.close()
        lines = [line for line in trace.read_text().splitlines() if "fdatasync(" in line]
        bad = next(i for i, line in enumerate(lines) if "(INJECTED)" in line)
        file = lines[bad].split("<")[1].split(">")[0]
        assert "/audit-journal/" in file, lines[bad]
        assert not [line for line in lines[bad + 1:] if file in line], f"{file} was synced again after its error"
        if not pathlib.Path(file).name.startswith("cursor"):
            assert load.statuses.get(500), f"the group was acknowledged: {load.statuses}"
        with load.resting():
            check_log(servers, daemon, load.so_far(), what="EIO")
        print("eio:", load.statuses, pathlib.Path(file).name)


def bytes_flipped(servers):
    """Damage in the middle of the journal, before it was drained: the rest is logged, and the hole is recorded with its size."""
    with AuditFaultDaemon(servers, "flipped") as daemon:
        daemon.post(event(), "?ack=checkpoint")
        ids = []
        with Session(servers, THE_LOGS_LOCK):
            for _ in range(30):
                group = [uuid7() for _ in range(3)]
                status, answer = daemon.post([event(n, id=id_, details={"text": "x" * 40_000}) for n, id_ in enumerate(group)])
                assert status == 202, answer
                ids += group
            os.kill(daemon.pid, signal.SIGKILL)
            daemon.process.wait(timeout=20)
            daemon.process.stdout.close()
            segments = sorted(path for path in (daemon.folder / "audit-journal").iterdir() if path.stat().st_size >= 1 << 20)
            assert len(segments) >= 3, segments
            with open(segments[1], "r+b") as file:
                file.seek(600_000)
                byte = file.read(1)
                file.seek(600_000)
                file.write(bytes([byte[0] ^ 1]))
        daemon.start()
        gaps = wait_until(lambda: daemon.found("audit.gap"), "the gap is recorded")
        wanted = ",".join(f"'{id_}'" for id_ in ids)
        kept = wait_until(lambda: daemon.audit()["journal"]["undrained_records"] < 3 and
                          psql(servers, f"SELECT id FROM audit.entry WHERE id IN ({wanted})").split(), "what is left is logged")
        lost = len(ids) - len(kept)
        assert 0 < lost < len(ids) and len(gaps) == 1, (lost, gaps)
        verified = check_log(servers, daemon, kept, excused=lost, what="flipped")
        assert daemon.audit()["gaps_total"] == 1
        print("flipped:", lost, "of", len(ids), "events lost,", gaps[0]["event"]["object"]["id"], verified["entries"])
        return lost


def commits_lost(servers, excused):
    """COMMIT is done and its answer never comes, or the session is reset at any byte: each batch is in the log once."""
    with AuditFaultDaemon(servers, "commits") as daemon, AuditLoad(daemon, pause=0.01, big_bytes=2_000) as load:
        load.wait_for_more(20)
        failures = daemon.audit()["drain"]["failures_total"]
        before = daemon.proxy()["drops"]
        daemon.proxy("drop 12 COMMIT")
        daemon.proxy.wait_for("drops", lambda counts: counts["drops"] >= before + 12, 90)
        daemon.proxy("pass")
        load.wait_for_more(20)
        for direction, offsets in (("to_server", (1, 40, 200, 900, 2_500, 6_000, 15_000)), ("to_client", (0, 30, 150, 700, 2_500))):
            for offset in offsets:
                resets = daemon.proxy()["resets"]
                daemon.proxy(f"reset_after {direction} {offset}")
                daemon.proxy.wait_for(f"reset after {offset} bytes {direction}", lambda counts, n=resets: counts["resets"] > n, 60)
        daemon.proxy("pass")
        load.wait_for_more(20)
        with load.resting():
            check_log(servers, daemon, load.so_far(), excused=excused, what="lost commits")
        audit = daemon.audit()
        assert audit["drain"]["failures_total"] > failures, audit["drain"]
        assert not audit["checkpoint"]["forked"]
        print("commits:", load.statuses, "failures", audit["drain"]["failures_total"], audit["checkpoint"]["failures_total"])


def checkpoints_disk_fails(servers, excused):
    """Nothing is signed, which is said, and events are logged all the same; then it heals."""
    disk = servers.folder / "checkpoints"
    with small_disk(disk, "64k") as mounted:
        if not mounted:
            return
        with AuditFaultDaemon(servers, "signing", {"checkpoint_folder": f'"{disk}/checkpoint"'},) as daemon:
            assert daemon.post(event(), "?ack=checkpoint")[0] == 200
            filler = disk / "filler"

            def fill():
                with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * 512)

            for name, fail, heal in (
                    ("full", fill, filler.unlink),
                    ("read-only", lambda: subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True),
                     lambda: subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True))):
                fail()
                size = daemon.audit()["checkpoint"]["size"]
                status, answer = daemon.post(event(), "?ack=database")
                assert status == 200, answer
                reason = wait_until(lambda: daemon.not_ready("audit_log"), "it is told that nothing is signed")
                assert "no checkpoint is signed" in reason, reason
                assert daemon.audit()["checkpoint"]["size"] == size, name
                assert daemon.verify()["passed"], name
                heal()
                status, answer = daemon.post(event(), "?ack=checkpoint")
                assert status == 200, answer
                assert not daemon.not_ready("audit_log")
                print("checkpoint folder", name, "said:", reason)
            check_log(servers, daemon, [], excused=excused, what="checkpoint folder")


with Citadel() as servers:
    tested = journals_disk_full(servers)
    sync_fails(servers)
    lost = bytes_flipped(servers)
    commits_lost(servers, lost)
    checkpoints_disk_fails(servers, lost)
sys.exit(0 if tested else 77)  # 77: skipped, for ctest
