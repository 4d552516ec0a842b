#!/usr/bin/env python3
"""Bad configuration: every key with a value of the wrong type is refused by name. A bad file at SIGHUP changes nothing. A
password that is rotated under load is read again, and no session more than needed is opened."""
import os
import re
import signal
import subprocess

from citadel_process import BINARY, SOURCE, Citadel, reserve_port, wait_until
from fault_daemon import Daemon, Psql
from invariants import Invariants
from load import Load

# A value that no key of this type takes.
WRONG = {"integer": '"many"', "boolean": '"perhaps"', "duration": '"soon"', "size": '"large"', "choice": '"neither"',
         "text": "7", "path": "7", "host:port": '"nowhere"', "secret file": "7"}


def keys():
    """(section, key, type) of the reference that the program prints."""
    docs = subprocess.run([BINARY, "config", "docs"], capture_output=True, text=True, check=True).stdout
    assert docs == (SOURCE / "docs" / "configuration.md").read_text()
    section, found = None, []
    for line in docs.splitlines():
        if heading := re.fullmatch(r"## \[(.*)\]", line):
            section = heading.group(1)
        elif section and (row := re.match(r"\| `(\w+)` \| ([^|]+) \|", line)):
            found.append((section, row.group(1), row.group(2).strip()))
    return found


def wrong_types(folder):
    all_keys = keys()
    assert len(all_keys) > 60, f"only {len(all_keys)} keys found"
    for section, key, kind in all_keys:
        file = folder / "wrong.toml"
        for value in (WRONG[kind], "[1, 2]"):
            # A free port, should the daemon start after all.
            listen = "" if section == "http" else f'[http]\nlisten = "127.0.0.1:{PORT}"\n'
            file.write_text(f"{listen}[{section}]\n{key} = {value}\n")
            done = subprocess.run([BINARY, "serve", "--config", str(file)], capture_output=True, text=True, check=False,
                                  timeout=20)
            line = file.read_text().splitlines().index(f"{key} = {value}") + 1
            assert done.returncode == 2, f"{section}.{key} = {value}: exit {done.returncode}\n{done.stderr}"
            assert f"{section}.{key}" in done.stderr and f"wrong.toml:{line}:" in done.stderr, done.stderr
            assert not done.stdout, done.stdout


def bad_reload(daemon, load):
    good = daemon.config.read_text()
    daemon.config.write_text(good + "\n[log]\nlevel = 5\nformat = \"json\"\n")
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: "the configuration was not reloaded; the old one stays" in daemon.log_text(), "the refusal is logged")
    assert "log.level" in daemon.log_text(), "the refusal names no key"
    load.wait_posted(20)
    load.wait_reads(10)
    daemon.config.write_text(good)
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: "the configuration was reloaded" in daemon.log_text(), "the good one is taken again")


def rotate(servers, daemon, load):
    """The password changes at the server first, as it must: until the daemon knows, it cannot open sessions."""
    opened = daemon.metrics()
    with Psql(servers) as psql:
        psql("alter role citadel_app password 'rotated-in-a-test'")
    secret = daemon.folder / "app.password"
    before = daemon.log_text().count("the configuration was reloaded")
    secret.write_text("rotated-in-a-test\n")
    os.kill(daemon.pid, signal.SIGHUP)
    wait_until(lambda: daemon.log_text().count("the configuration was reloaded") > before, "the password is read again")
    load.wait_reads(20)
    assert load.get_statuses[200] == sum(load.get_statuses.values()), f"open sessions were disturbed: {load.get_statuses}"
    daemon.proxy("reset_all")
    wait_until(lambda: daemon.metrics()["citadel_pool_opened_total"] > opened["citadel_pool_opened_total"],
               "a session is opened with the new password")
    load.wait_reads(20)
    load.wait_posted(20)
    now = daemon.metrics()
    failed, more = (now[f"citadel_pool_{n}_total"] - opened[f"citadel_pool_{n}_total"] for n in ("open_failed", "opened"))
    assert failed == 0, f"{failed:.0f} sessions were tried with the old password"
    assert more <= 4 * daemon.settings["pool"]["size_max"], f"{more:.0f} sessions were opened"


PORT = reserve_port()
with Citadel() as servers:
    wrong_types(servers.folder)
    # Directly: a password changes at PostgreSQL alone, not in Pgpool-II's pool_passwd too.
    settings = {"database": {"route": '"direct"', "password_file": f'"{servers.folder}/serve/app.password"'},
                "pool": {"idle_timeout": '"10m"'}}
    daemon = Daemon(servers, settings, target=servers.postgres)
    secret = daemon.folder / "app.password"
    secret.write_text((servers.data / "secrets" / "citadel_app.password").read_text())
    secret.chmod(0o600)
    with daemon:
        load = Load(daemon)
        load.settle()
        invariants = Invariants(daemon, load)
        with load:
            load.wait_reads(20)
            bad_reload(daemon, load)
            rotate(servers, daemon, load)
        invariants.check()
        print("posts", dict(load.post_statuses), "reads", dict(load.get_statuses))
