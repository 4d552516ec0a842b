#!/usr/bin/env python3
"""`citadel serve` on a PostgreSQL that is not ours, set up as docs/connection-pooling.md says: it migrates, takes records,
and `verify --disruptive` stops and starts that server by the operator's commands."""
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile

from citadel_process import BINARY, SOURCE, processes_of, reserve_port, wait_until

PROGRAMS = pathlib.Path(max(map(str, pathlib.Path("/usr/lib/postgresql").glob("*/bin"))))


class OwnPostgres:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="citadel-system-"))
        self.port = reserve_port()
        self.data = self.folder / "pg"
        self.as_user = []
        if os.geteuid() == 0:
            self.as_user = ["runuser", "-u", "postgres", "--"]
            os.chown(self.folder, pwd.getpwnam("postgres").pw_uid, -1)
        (self.folder).chmod(0o755)
        self.run("initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
        # `trust` is this test's; the document's step 1 sets the number.
        self.options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=245 -c fsync=off"
        control = f'{" ".join(self.as_user)} {PROGRAMS}/pg_ctl -D {self.data}'
        self.stop_command = f"{control} -m fast stop"
        self.start_command = f"{control} -l {self.folder}/pg.log -o '{self.options}' -w start"

    def run(self, program, *arguments):
        subprocess.run([*self.as_user, str(PROGRAMS / program), *map(str, arguments)], check=True, cwd="/", timeout=60,
                       stdout=subprocess.DEVNULL)

    def shell(self, command):
        subprocess.run(command, shell=True, check=True, cwd="/", timeout=60, stdout=subprocess.DEVNULL)

    def sql(self, statements, database="postgres"):
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres",
                        "-d", database], input=statements, text=True, check=True, timeout=30)


def sql_of_the_document():
    text = (SOURCE / "docs" / "connection-pooling.md").read_text()
    block = re.search(r"```sql\n(.*?CREATE DATABASE.*?)```", text, re.S).group(1)
    return "\n".join(line.strip() for line in block.splitlines())


def main():
    postgres = OwnPostgres()
    folder = postgres.folder
    daemon = None
    try:
        postgres.shell(postgres.start_command)
        postgres.sql(sql_of_the_document())
        http = reserve_port()
        config = folder / "citadel.toml"
        for name in ("app", "owner"):
            (folder / name).write_text(f"{name}-password\n")
            (folder / name).chmod(0o600)
        config.write_text(f"""
[http]
listen = "127.0.0.1:{http}"
[database]
port = {postgres.port}
route = "direct"
tls = "disable"
password_file = "{folder}/app"
[owner]
password_file = "{folder}/owner"
[journal]
folder = "{folder}/journal"
[admin]
key_file = "{folder}/admin.key"
[audit]
signing_key_file = "{folder}/signing.key"
master_key_file = "{folder}/master.key"
checkpoint_folder = "{folder}/checkpoint"
journal_folder = "{folder}/audit-journal"
""")
        environment = dict(os.environ, CITADEL_URL=f"http://127.0.0.1:{http}", CITADEL_KEY_FILE=f"{folder}/admin.key",
                           XDG_STATE_HOME=str(folder))

        def citadel(*arguments, expect=0, timeout=240):
            done = subprocess.run([BINARY, *arguments], env=environment, capture_output=True, text=True, check=False,
                                  timeout=timeout)
            assert done.returncode == expect, done
            return done

        # A log is begun on purpose, with keys that somebody has made.
        assert "citadel audit keygen" in citadel("serve", "--config", str(config), expect=1).stderr
        assert citadel("audit", "keygen", "--config", str(config), "--origin", "example.com/audit").stdout.startswith(
            "example.com/audit+")
        citadel("migrate", "--config", str(config))
        citadel("migrate", "--status", "--config", str(config))
        citadel("doctor", "--config", str(config), expect=1)  # fsync is off, and that is a fault
        with open(folder / "serve.log", "wb") as log:
            daemon = subprocess.Popen([BINARY, "serve", "--config", str(config)], env=environment, stdout=subprocess.PIPE,
                                      stderr=log)
        assert daemon.stdout.readline().startswith(b"ready"), (folder / "serve.log").read_text()
        wait_until(lambda: subprocess.run([BINARY, "status"], env=environment, capture_output=True, check=False).returncode == 0,
                   "all is ready")

        assert "--disruptive" in citadel("verify", "--stop", "true", expect=2).stderr
        assert "--stop" in citadel("verify", "--disruptive", expect=2).stderr

        done = subprocess.run([BINARY, "verify", "--json", "--disruptive", "--stop", postgres.stop_command, "--start",
                               postgres.start_command], env=environment, capture_output=True, text=True, check=False, timeout=300)
        checks = {check["id"]: check for check in json.loads(done.stdout)["checks"]}
        outage = checks["R8.outage"]
        assert outage["passed"] and outage["error"] is None, (outage, done.stderr)
        assert outage["measured"]["acknowledged"] == outage["measured"]["stored"] == 20, outage
        assert checks["R1.connectivity"]["measured"]["route"] == "direct"
        assert checks["R13.record"]["passed"], checks

        # A command that fails is told, and the other one is run all the same.
        done = subprocess.run([BINARY, "verify", "--json", "--disruptive", "--stop", "false", "--start",
                               f"touch {folder}/started"], env=environment, capture_output=True, text=True, check=False,
                              timeout=300)
        outage = {check["id"]: check for check in json.loads(done.stdout)["checks"]}["R8.outage"]
        assert done.returncode == 1 and not outage["passed"] and "'false' failed" in outage["error"], outage
        assert (folder / "started").exists()
    finally:
        if daemon:
            daemon.terminate()
            code = daemon.wait(timeout=60)
            daemon.stdout.close()
        subprocess.run(postgres.stop_command, shell=True, check=False, cwd="/", timeout=60, stdout=subprocess.DEVNULL)
        wait_until(lambda: not processes_of(folder), f"no process is left of {folder}", 30)
        shutil.rmtree(folder)
    assert code == 0, code


main()
