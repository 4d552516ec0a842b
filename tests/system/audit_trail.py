"""What the tests of the audit trail under faults share: events, producers that remember what was acknowledged, a daemon of its
own on the database of a `citadel up`, and what must hold of the log afterwards.

    with Citadel() as servers:
        daemon = AuditDaemon(servers)
        daemon.start()
        with AuditLoad(daemon) as load:
            load.wait_for_more(100)
        check_log(servers, daemon, load.acknowledged)
"""
import contextlib
import json
import os
import signal
import subprocess
import threading

from audit_api import call, event, psql, uuid7
from citadel_process import BINARY, reserve_port, wait_until


class Session:
    """A superuser's transaction that stays open until it is closed, with all the locks that `sql` took."""

    def __init__(self, servers, sql):
        password = (servers.data / "secrets" / "postgres.password").read_text().strip()
        self.process = subprocess.Popen(["psql", "-XqAt", "-h", "127.0.0.1", "-p", str(servers.postgres), "-U", "postgres",
                                         "citadel_ai"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=dict(os.environ, PGPASSWORD=password))
        self.process.stdin.write(f"BEGIN; {sql};\n\\echo held\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line == "held\n":
                return
        raise AssertionError(f"psql ended: {sql}")

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# Held by whoever gives indexes: while it is, what is acknowledged stays in the journals.
THE_LOGS_LOCK = "SELECT pg_advisory_xact_lock(4850147, 2)"


class AuditDaemon:
    """`citadel serve` on the database and with the audit keys of `servers`; journals and checkpoints of its own."""

    def __init__(self, servers, name="serve", audit=""):
        self.folder = servers.folder / name
        self.folder.mkdir()
        self.port, self.key = reserve_port(), "k" * 40
        self.url = f"http://127.0.0.1:{self.port}"
        # Made here, because a daemon that dies at its start makes none.
        key = self.folder / "admin.key"
        key.write_text(self.key)
        key.chmod(0o600)
        self.config = self.folder / "citadel.toml"
        self.config.write_text(f"""
[http]
listen = "127.0.0.1:{self.port}"
[database]
port = {servers.pgpool}
application_name = "citadel_{name}"
password_file = "{servers.data}/secrets/citadel_app.password"
[pool]
size_min = 1
size_max = 5
[journal]
folder = "{self.folder}/journal"
segment_bytes = "256KiB"
gather_bytes = "128KiB"
[drain]
interval = "5ms"
[audit]
signing_key_file = "{servers.data}/audit-signing.key"
master_key_file = "{servers.data}/audit-master.key"
journal_folder = "{self.folder}/audit-journal"
checkpoint_folder = "{self.folder}/checkpoint"
segment_bytes = "1MiB"
checkpoint_interval = "50ms"
{audit}
[admin]
key_file = "{key}"
""")
        self.process = None

    def launch(self, crash_point=None):
        """Does not wait until it is ready, which it may never be."""
        environment = dict(os.environ, **({"CITADEL_CRASH_POINT": crash_point} if crash_point else {}))
        with open(self.folder / "serve.log", "ab") as log:
            self.process = subprocess.Popen([BINARY, "serve", "--config", str(self.config)], env=environment,
                                            stdout=subprocess.PIPE, stderr=log)

    def start(self, crash_point=None):
        self.launch(crash_point)
        line = self.process.stdout.readline()
        assert line.startswith(b"ready"), self.log_tail()

    def log_tail(self):
        return "log:\n" + (self.folder / "serve.log").read_text(errors="replace")[-3000:]

    def wait_dead(self, seconds=30):
        """Whether it died as by kill -9; ended here otherwise."""
        try:
            return self.process.wait(timeout=seconds) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False
        finally:
            self.process.stdout.close()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        assert code == 0, (code, self.log_tail())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.log_tail(), flush=True)
        if self.process.poll() is None:
            if kind is None:
                self.stop()
            else:
                self.kill()

    def call(self, method, path, body=None, headers=None):
        return call(self.url, self.key, method, path, body, headers)

    def post(self, body, query="", headers=None):
        return self.call("POST", "/v1/audit/events" + query, body, headers)

    def status(self):
        status, answer = self.call("GET", "/v1/status")
        assert status == 200, answer
        return answer["audit"]

    def client(self, *arguments, expect=(0,), timeout=120):
        environment = dict(os.environ, CITADEL_URL=self.url, CITADEL_KEY_FILE=str(self.folder / "admin.key"),
                           XDG_STATE_HOME=str(self.folder / "state"))
        done = subprocess.run([BINARY, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=timeout)
        assert done.returncode in expect, (arguments, done, self.log_tail())
        return done.stdout

    def verify(self, *arguments, expect=(0,)):
        return json.loads(self.client("audit", "verify", "--json", "--silent", *arguments, expect=expect))


class AuditLoad:
    """Producers that post a few events every `pause` seconds, one of them `big_bytes` large, and remember what was
    acknowledged. A group that was not is never sent again."""

    def __init__(self, daemon, producers=4, pause=0.03, big_bytes=40_000):
        self.daemon, self.pause, self.big = daemon, pause, "x" * big_bytes
        self.acknowledged, self.statuses, self.ended = [], {}, threading.Event()
        self.lock, self.wanted = threading.Lock(), threading.Event()
        self.wanted.set()
        self.threads = [threading.Thread(target=self.produce) for _ in range(producers)]

    @contextlib.contextmanager
    def resting(self):
        self.wanted.clear()
        try:
            yield
        finally:
            self.wanted.set()

    def produce(self):
        while not self.ended.wait(self.pause):
            self.wanted.wait()
            ids = [uuid7() for _ in range(2)]
            events = [event(n, id=id_) for n, id_ in enumerate(ids)]
            events[0]["details"] = {"text": self.big}
            try:
                status, _ = self.daemon.post(events)
            except (OSError, ValueError):  # it dies, or is not there
                status = None
            with self.lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
                if status == 202:
                    self.acknowledged.extend(ids)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def so_far(self):
        with self.lock:
            return list(self.acknowledged)

    def wait_for_more(self, count, seconds=120):
        before = len(self.so_far())
        wait_until(lambda: len(self.so_far()) >= before + count, f"{count} more events are acknowledged", seconds)

    def wait_status(self, status, seconds=30):
        before = self.statuses.get(status, 0)
        wait_until(lambda: self.statuses.get(status, 0) > before, f"a post is answered {status}: {self.statuses}", seconds)


def check_once(servers, acknowledged, what):
    """Each event that was acknowledged gets into the log, once."""
    if not acknowledged:
        return
    wanted = "VALUES " + ",".join(f"('{id_}'::uuid)" for id_ in acknowledged)
    found = f"SELECT count(*), count(DISTINCT e.id) FROM audit.entry e JOIN ({wanted}) AS w (id) USING (id)"
    count = len(acknowledged)
    rows = wait_until(lambda: (lambda row: row if int(row.split("|")[1]) == count else None)(psql(servers, found)),
                      f"{count} events are in the log ({what})", 30)
    assert rows == f"{count}|{count}", (what, rows, count)


def check_log(servers, daemon, acknowledged, excused=0, what="", verify=()):
    """The events are in the log, once; it verifies up to a checkpoint that covers them; nothing is missing but what is said."""
    check_once(servers, acknowledged, what)
    status, answer = daemon.post(event(99), "?ack=checkpoint")
    assert status == 200, (what, answer)
    verified = daemon.verify(*verify)
    assert verified["passed"] and verified["size"] > answer["events"][0]["index"], (what, verified)
    assert verified["sequences_excused"] == excused, (what, verified)
    return verified
