"""What the system tests share: `citadel up` as a real process on ports and in a folder of its own.

    with Citadel() as citadel:
        citadel.run("usage", "--json")          # a client command against it
        citadel.kill_postgres()

It begins with a copy of what a first start made (first_start.py); `Citadel(first=True)` is for what a first start itself does.

Every process is ended by its id, and the test fails where one is left.
"""
import fcntl
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import first_start

BINARY = os.environ.get("CITADEL_TEST_BINARY") or sys.exit("CITADEL_TEST_BINARY names the program to test")
SOURCE = pathlib.Path(__file__).resolve().parents[2]
TRACE = SOURCE / "data" / "azure-llm-inference-2023-code.csv"
_ports = []  # locked for as long as this process lives, as tests/support/ports.cpp does


def reserve_port():
    folder = pathlib.Path("/tmp/citadel-test-ports")
    folder.mkdir(mode=0o1777, exist_ok=True)
    for i in range(10000):
        port = 20000 + (os.getpid() * 37 + len(_ports) + i) % 10000
        lock = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _ports.append(lock)
        return port
    sys.exit("no free port from 20000 to 29999 for a test")


def wait_until(condition, what, seconds=60):
    """Asks until `condition` gives something true, and gives that; fails the test at the deadline."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        select.select([], [], [], 0.02)


def children_of(pid):
    """Process ids whose parent is `pid`."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            if int(stat.rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry))
    return found


def command_of(pid):
    try:
        return pathlib.Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def processes_of(folder):
    """Process ids that name this data folder in their command line or work in it."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                cwd = os.readlink(f"/proc/{entry}/cwd")
            except OSError:
                cwd = ""
            if str(folder) in command_of(int(entry)) or cwd.startswith(str(folder)):
                found.append(int(entry))
    return found


class Citadel:
    def __init__(self, environment=None, first=False):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="citadel-system-"))
        os.chmod(self.folder, 0o755)
        self.data = self.folder / "data"
        self.http, self.pgpool, self.postgres = reserve_port(), reserve_port(), reserve_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self.environment = dict(os.environ, **(environment or {}))
        self.process = None
        self.copies = bool(first_start.FOLDER) and not first

    def __enter__(self):
        if self.copies and not self.data.exists():
            first_start.copy_to(self.data, BINARY, made_by_first_start)
        self.start()
        return self

    def start(self):
        self.log = open(self.folder / "up.log", "ab")
        self.process = subprocess.Popen(
            [BINARY, "up", "--data", str(self.data), "--http", f"127.0.0.1:{self.http}", "--pgpool-port",
             str(self.pgpool), "--postgres-port", str(self.postgres)],
            stdout=subprocess.PIPE, stderr=self.log, env=self.environment)
        line = self.process.stdout.readline().decode()
        assert line == f"ready {self.url}\n", f"printed {line!r}; {self.log_tail()}"

    def log_tail(self):
        return "log:\n" + (self.folder / "up.log").read_text(errors="replace")[-3000:]

    def client_environment(self):
        return dict(self.environment, CITADEL_URL=self.url, CITADEL_KEY_FILE=str(self.data / "admin.key"),
                    XDG_STATE_HOME=str(self.folder / "state"))

    def popen(self, *arguments, **options):
        return subprocess.Popen([BINARY, *arguments], env=self.client_environment(), **options)

    def run(self, *arguments, expect=0, timeout=120):
        done = subprocess.run([BINARY, *arguments], env=self.client_environment(), capture_output=True, text=True,
                              timeout=timeout, check=False)
        assert done.returncode == expect, f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}{self.log_tail()}"
        return done.stdout

    def run_json(self, *arguments, **options):
        return json.loads(self.run(*arguments, "--json", **options))

    def get(self, path, key=True):
        request = urllib.request.Request(self.url + path)
        if key:
            request.add_header("Authorization", "Bearer " + (self.data / "admin.key").read_text().strip())
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()

    def operators_config(self, database):
        """A file as an operator of `citadel serve` and `citadel migrate` has it, for these servers and one of their databases."""
        secrets = self.data / "secrets"
        config = self.folder / f"{database}.toml"
        config.write_text(
            f'[database]\nhost = "127.0.0.1"\nport = {self.pgpool}\nname = "{database}"\n'
            f'password_file = "{secrets}/citadel_app.password"\ntls = "disable"\n'
            f'[database.direct]\nhost = "127.0.0.1"\nport = {self.postgres}\ntls = "disable"\n'
            f'[owner]\npassword_file = "{secrets}/citadel_owner.password"\n')
        return config

    def server(self, name):
        """The parent process of 'postgres' or 'pgpool'."""
        pids = [pid for pid in children_of(self.process.pid) if name in command_of(pid).split(" ")[0]]
        return pids[0] if pids else None

    def kill_server(self, name):
        pid = wait_until(lambda: self.server(name), f"{name} runs")
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_daemon(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def wait_drained(self):
        def drained():
            try:
                return json.loads(self.get("/v1/status"))["journal"]["undrained_records"] == 0
            except OSError:
                return False
        wait_until(drained, "the journal is drained")

    def stop(self):
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        return code

    def __exit__(self, kind, *rest):
        if self.process.poll() is None:
            try:
                code = self.stop()
            except subprocess.TimeoutExpired:
                self.kill_daemon()
                raise AssertionError("did not stop within 60 s; " + self.log_tail()) from None
            if kind is None:
                assert code == 0, f"ended with {code}; {self.log_tail()}"
        wait_until(lambda: not processes_of(self.folder), f"no process is left of {self.folder}", 30)
        if kind is not None:
            print(self.log_tail())
        shutil.rmtree(self.folder)


def made_by_first_start():
    """A data folder, of a first start that was stopped."""
    first = Citadel(first=True)
    first.start()
    code = first.stop()
    assert code == 0, f"ended with {code}; {first.log_tail()}"
    return first.data


def trace_sums():
    """Rows, prompt tokens and completion tokens of the trace, in all and by hour."""
    hours = {}
    for line in TRACE.read_text().splitlines()[1:]:
        at, prompt, completion = line.split(",")
        hour = at[:10] + "T" + at[11:13] + ":00:00Z"
        sums = hours.setdefault(hour, [0, 0, 0])
        for i, value in enumerate((1, int(prompt), int(completion))):
            sums[i] += value
    return hours


def usage_by_hour(citadel):
    report = citadel.run_json("usage", "--from", "2023-11-16", "--to", "2023-11-17", "--bucket", "hour")
    return {row["start"]: [row["requests"], row["prompt_tokens"], row["completion_tokens"]] for row in report["buckets"]}
