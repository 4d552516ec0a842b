"""What the fault tests share: `citadel serve` whose database lies behind a TCP proxy that fails on command.

    with Citadel() as servers, Daemon(servers) as daemon:       # Citadel: citadel_process.py
        daemon.proxy("reset_after to_client 100")

    daemon ──► fault proxy ──► Pgpool-II ──► PostgreSQL         (of the `citadel up` that `servers` is)

Every process is ended by its id. A failed test prints the daemon's log.
"""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

from citadel_process import BINARY, reserve_port, wait_until

PROXY_BINARY = os.environ.get("CITADEL_TEST_FAULT_PROXY") or sys.exit("CITADEL_TEST_FAULT_PROXY names the fault proxy")


class FaultProxy:
    """tests/support/fault_proxy_main.cpp. Called with a command, gives the counts."""

    def __init__(self, port):
        self.process = subprocess.Popen([PROXY_BINARY, f"127.0.0.1:{port}"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lock = threading.Lock()
        self.port = int(self.process.stdout.readline())

    def __call__(self, command="counts"):
        with self.lock:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        assert answer.startswith("{"), f"the proxy says {answer!r} to {command!r}"
        return json.loads(answer)

    def wait_for(self, what, condition, seconds=30):
        return wait_until(lambda: condition(self()), f"the proxy's {what}: {self()}", seconds)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()


class Psql:
    """A superuser's session, past Pgpool-II and the proxy. It stays open, so it can hold locks."""

    def __init__(self, servers, user="postgres", port=None, connect_seconds=20):
        password = (servers.data / "secrets" / f"{user}.password").read_text().strip()
        self.process = subprocess.Popen(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=0", "-h", "127.0.0.1", "-p", str(port or servers.postgres), "-U", user,
             "citadel_ai"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
            env=dict(os.environ, PGPASSWORD=password, PGAPPNAME="fault_test", PGCONNECT_TIMEOUT=str(connect_seconds)))

    def __call__(self, sql):
        """The lines that `sql` answers."""
        self.process.stdin.write(sql.rstrip("; \n") + ";\n\\echo --end--\n")
        self.process.stdin.flush()
        lines = []
        while True:
            line = self.process.stdout.readline()
            assert line, f"psql ended: {lines}"
            if line == "--end--\n":
                errors = [text for text in lines if "ERROR:" in text or "FATAL:" in text]
                assert not errors, f"{sql}: {errors}"
                return lines
            lines.append(line.rstrip("\n"))

    def value(self, sql):
        lines = self(sql)
        return lines[0] if lines else None

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Daemon:
    """`citadel serve` with deadlines short enough for a test. `settings`: {"section": {"key": toml}} over the defaults.
    `command` stands in front of the program, prlimit for example. `target`: the port behind the proxy, if not Pgpool-II."""

    def __init__(self, servers, settings=None, command=(), environment=None, folder="serve", target=None):
        self.servers = servers
        self.command = list(command)
        self.folder = servers.folder / folder
        self.folder.mkdir(exist_ok=True)
        self.port = reserve_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.key = "k" * 40
        key_file = self.folder / "admin.key"
        key_file.write_text(self.key)
        key_file.chmod(0o600)
        self.proxy = FaultProxy(target or servers.pgpool)
        self.direct = FaultProxy(servers.postgres)
        self.settings = {
            "http": {"listen": f'"127.0.0.1:{self.port}"', "request_timeout": '"2s"', "header_timeout": '"2s"'},
            "database": {"port": self.proxy.port, "application_name": '"citadel_fault"',
                         "password_file": f'"{servers.data}/secrets/citadel_app.password"'},
            "database.direct": {"host": '"127.0.0.1"', "port": self.direct.port},
            "pool": {"size_min": 2, "size_max": 10, "connect_timeout": '"2s"', "recover_timeout": '"1s"',
                     "idle_timeout": '"2s"'},
            "breaker": {"open_ceiling": '"1s"'},
            "drain": {"interval": '"5ms"', "batch_timeout": '"3s"', "batch_rows": 500},
            "journal": {"folder": f'"{self.folder}/journal"', "segment_bytes": '"256KiB"', "gather_bytes": '"128KiB"'},
            "admin": {"key_file": f'"{key_file}"'},
            "audit": {"enabled": "false"},
        }
        for section, keys in (settings or {}).items():
            self.settings.setdefault(section, {}).update(keys)
        self.config = self.folder / "citadel.toml"
        self.write_config()
        self.environment = dict(os.environ, CITADEL_URL=self.url, CITADEL_KEY_FILE=str(key_file), **(environment or {}))
        self.process = None

    def write_config(self):
        self.config.write_text("".join(
            f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
            for section, keys in self.settings.items()))

    def seconds(self, section, key):
        """A duration of the settings."""
        number, unit = re.fullmatch(r'"(\d+)(ms|s)"', self.settings[section][key]).groups()
        return int(number) / (1000 if unit == "ms" else 1)

    def start(self):
        self.log = open(self.folder / "serve.log", "ab")
        self.process = subprocess.Popen([*self.command, BINARY, "serve", "--config", str(self.config)],
                                        env=self.environment, stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline().decode()
        assert line == f"ready {self.url}\n", f"printed {line!r}; {self.log_tail()}"

    @property
    def pid(self):
        """The daemon itself, also where it runs under another program."""
        if not self.command:
            return self.process.pid
        own = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        if os.readlink(f"/proc/{self.process.pid}/exe") == os.path.realpath(BINARY):
            return self.process.pid
        for child in pathlib.Path(own).read_text().split():
            if os.readlink(f"/proc/{child}/exe") == os.path.realpath(BINARY):
                return int(child)
        raise AssertionError("the daemon's process was not found")

    def log_text(self):
        return (self.folder / "serve.log").read_text(errors="replace")

    def log_tail(self):
        return "log of citadel serve:\n" + self.log_text()[-4000:]

    def client(self, *arguments, expect=(0,), timeout=60):
        done = subprocess.run([BINARY, *arguments], env=self.environment, capture_output=True, text=True, check=False,
                              timeout=timeout)
        assert done.returncode in expect, done
        return done.stdout

    def connection(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, connection=None, key=True):
        """Status and answer as JSON (or text)."""
        own = connection or self.connection()
        try:
            own.request(method, path, body=body, headers={"Authorization": "Bearer " + self.key} if key else {})
            answer = own.getresponse()
            text = answer.read().decode()
            if "json" in answer.headers.get("Content-Type", ""):
                return answer.status, json.loads(text)
            return answer.status, text
        finally:
            if not connection:
                own.close()

    def get(self, path, key=True):
        status, answer = self.request("GET", path, key=key)
        assert status == 200, (path, status, answer)
        return answer

    def status(self):
        return self.get("/v1/status")

    def metrics(self):
        """{name or name{labels}: value}"""
        found = {}
        for line in self.get("/metrics").splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                found[name] = float(value)
        return found

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_bytes(self):
        return int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, code=0):
        os.kill(self.pid, signal.SIGTERM)
        found = self.process.wait(timeout=60)
        self.process.stdout.close()
        self.log.close()
        assert found == code, f"ended with {found}; {self.log_tail()}"

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, *rest):
        if kind is not None:
            print(self.log_tail(), "\nexit code:", self.process.poll(), "\nproxy:", self.proxy(), "\ndirect:", self.direct(), flush=True)
        try:
            if self.process.poll() is None:
                self.proxy("pass")
                self.direct("pass")
                if kind is None:
                    self.stop()
                else:
                    os.kill(self.pid, signal.SIGKILL)
                    self.process.wait(timeout=20)
                    self.process.stdout.close()
        finally:
            self.proxy.close()
            self.direct.close()
