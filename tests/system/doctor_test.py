#!/usr/bin/env python3
"""`citadel doctor` has nothing to say of a healthy `citadel up`. Then each thing that is broken is found, and what it says
names what has to be set."""
import json
import re
import subprocess

from citadel_process import BINARY, Citadel, reserve_port, wait_until

# Of the machine that the test runs on, not of what is tested.
MACHINE = {"disk"}


def sql(citadel, statements, user="postgres"):
    password = (citadel.data / "secrets" / f"{user}.password").read_text().strip()
    subprocess.run(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(citadel.postgres), "-U", user,
                    "citadel_ai"], input=statements, text=True, check=True, timeout=20,
                   env=dict(citadel.environment, PGPASSWORD=password))


def doctor(citadel, config=None):
    """Exit code, and what is not good: {subject: finding}."""
    where = ["--config", str(config)] if config else ["--data", str(citadel.data)]
    done = subprocess.run([BINARY, "doctor", "--json", *where], env=citadel.client_environment(), capture_output=True,
                          text=True, check=False, timeout=60)
    report = json.loads(done.stdout)
    for finding in report["findings"]:
        assert set(finding) == {"subject", "severity", "found", "mend"}, finding
        assert (finding["severity"] == "good") == (finding["mend"] == ""), finding
    assert report["good"] == all(f["severity"] != "FAULT" for f in report["findings"]), report
    found = {f["subject"]: f for f in report["findings"] if f["severity"] != "good" and f["subject"] not in MACHINE}
    faults = [f for f in report["findings"] if f["severity"] == "FAULT"]
    assert done.returncode == 3 or done.returncode == (1 if faults else 0), done
    return done.returncode, found


def expect(found, wanted):
    """`wanted`: {subject: (severity, a part of what it says to do)}, and nothing else is wrong."""
    assert set(found) == set(wanted), f"found {found}, wanted {list(wanted)}"
    for subject, (severity, mend) in wanted.items():
        assert found[subject]["severity"] == severity and mend in found[subject]["mend"], found[subject]


def changed(citadel, *changes):
    """A configuration that is that of `citadel up` but for `changes`: (section, key, value as TOML, or None to leave it out)."""
    section, lines = "", []
    for line in (citadel.data / "running.toml").read_text().splitlines():
        section = line[1:-1] if line.startswith("[") else section
        for name, key, value in changes:
            if section == name and re.match(rf"{key}\s*=", line):
                line = "" if value is None else f"{key} = {value}"
        lines.append(line)
    config = citadel.folder / "changed.toml"
    config.write_text("\n".join(lines) + "\n")
    return config


def check_healthy(citadel):
    code, found = doctor(citadel)
    assert (code, found) == (0, {}), found
    shown = citadel.run("doctor", "--data", str(citadel.data))
    for subject in ("database.direct", "schema", "PostgreSQL version", "PostgreSQL synchronous_commit", "owner.password_file",
                    "Pgpool-II client_idle_limit", "Pgpool-II load_balance_mode"):
        assert re.search(rf"^{re.escape(subject)} +good ", shown, re.M), (subject, shown)


def check_configuration(citadel):
    """Each in a configuration of its own, against the same healthy servers."""
    closed = reserve_port()
    later = citadel.folder / "not" / "yet"
    cases = [
        ([("database.direct", "port", closed)], 1, {"database.direct": ("FAULT", "database.direct.host and port")}),
        ([("database.direct", "port", citadel.pgpool)], 1, {"database.direct": ("FAULT", "to PostgreSQL itself")}),
        ([("database.direct", key, None) for key in ("host", "port", "tls", "tls_ca_file")], 0,
         {"database.direct": ("warning", "database.direct.host")}),
        ([("owner", "password_file", None)], 0, {"owner.password_file": ("warning", "owner.user")}),
        ([("pool", "size_max", 101)], 1, {"Pgpool-II num_init_children": ("FAULT", "num_init_children = 122")}),
        ([("database", "user", '"nobody"')], 1, {"database": ("FAULT", "database.host, port, user"),
                                                   "database.direct": ("FAULT", "pg_hba.conf")}),
        ([("database.direct", "tls", '"require"')], 1, {"database.direct": ("FAULT", "pg_hba.conf")}),
        ([("journal", "folder", f'"{later}"')], 0, {}),
        ([("database", "port", closed)], 3, {"database": ("FAULT", "is it running")}),
        ([("database", "tls", '"require"')], 1, {"database": ("FAULT", "ssl = on")}),
    ]
    for changes, code, wanted in cases:
        found = doctor(citadel, changed(citadel, *changes))
        assert found[0] == code, (changes, found)
        expect(found[1], wanted)
    # The disk is looked at before the folder is there, and nothing is made.
    report = json.loads(citadel.run("doctor", "--json", "--config", str(changed(citadel, ("journal", "folder", f'"{later}"')))))
    assert "disk" in {f["subject"] for f in report["findings"]} and not later.exists(), report


def check_files(citadel):
    key = citadel.data / "admin.key"
    key.chmod(0o640)
    assert doctor(citadel) == (0, {}), "its group may read it, as the documents say"
    key.chmod(0o644)
    expect(doctor(citadel)[1], {"admin.key_file": ("FAULT", f"chmod 0600 {key}")})
    key.chmod(0o600)
    secret = citadel.data / "secrets" / "citadel_owner.password"
    secret.chmod(0o644)
    refused = subprocess.run([BINARY, "doctor", "--data", str(citadel.data)], capture_output=True, text=True, check=False,
                             timeout=60)
    assert refused.returncode == 2 and "chmod 0600" in refused.stderr and "owner.password_file" in refused.stderr, refused
    secret.chmod(0o600)


def check_schema(citadel):
    sql(citadel, "create table public.taken as select * from citadel.migration order by version desc limit 1;"
        "delete from citadel.migration where version in (select version from public.taken)")
    expect(doctor(citadel)[1], {"schema": ("FAULT", "citadel migrate")})
    sql(citadel, "insert into citadel.migration select * from public.taken; drop table public.taken")
    assert doctor(citadel) == (0, {})
    sql(citadel, "create index by_hand on usage.request (model_id)")
    code, found = doctor(citadel)
    expect(found, {"schema": ("FAULT", "citadel migrate --status")})
    assert code == 1 and "by_hand" in found["schema"]["found"], found
    sql(citadel, "drop index usage.by_hand")
    assert doctor(citadel) == (0, {})


def check_postgres(citadel):
    off = ("fsync", "full_page_writes", "synchronous_commit")
    sql(citadel, "".join(f"alter system set {name} = off;" for name in off) + "alter system set password_encryption = md5;"
        "alter role citadel_app bypassrls; select pg_reload_conf();")
    wanted = {f"PostgreSQL {name}": ("FAULT", f"{name} = on") for name in off}
    wanted["PostgreSQL password_encryption"] = ("warning", "scram-sha-256")
    wanted["database.user"] = ("FAULT", "NOBYPASSRLS")
    wait_until(lambda: len(doctor(citadel)[1]) == len(wanted), "PostgreSQL has read its settings again")
    expect(doctor(citadel)[1], wanted)
    sql(citadel, "alter system reset all; alter role citadel_app nobypassrls; select pg_reload_conf();")
    wait_until(lambda: doctor(citadel) == (0, {}), "all is well again")


def restart(citadel, name):
    """As it dies, `citadel up` starts it again, with what stands in its files by then."""
    before = citadel.kill_server(name)
    wait_until(lambda: citadel.server(name) not in (None, before), f"another {name} runs")
    wait_until(lambda: doctor(citadel)[0] != 3, "the database answers")


def check_servers(citadel):
    settings = {"num_init_children": "110", "reserved_connections": "1", "client_idle_limit": "600", "child_life_time": "300",
                "memory_cache_enabled": "on", "failover_on_backend_error": "on", "failover_on_backend_shutdown": "on"}
    conf = citadel.data / "pgpool" / "pgpool.conf"
    good = conf.read_text()
    bad = "".join(f"{name} = {value}\n" for name, value in settings.items())
    conf.write_text(good + bad + "load_balance_mode = on\n")
    (citadel.data / "postgres.extra.conf").write_text("max_connections = 226\n")
    restart(citadel, "postgres")
    restart(citadel, "pgpool")
    wanted = {f"Pgpool-II {name}": ("FAULT", f"set {name} = ") for name in settings}
    wanted["Pgpool-II load_balance_mode"] = ("FAULT", "disable_load_balance_on_write = 'always'")
    wanted["PostgreSQL max_connections"] = ("FAULT", "max_connections = 227")
    expect(doctor(citadel)[1], wanted)
    conf.write_text(good.replace("'streaming_replication'", "'raw'"))
    (citadel.data / "postgres.extra.conf").unlink()
    restart(citadel, "postgres")
    restart(citadel, "pgpool")
    expect(doctor(citadel)[1], {"Pgpool-II backend_clustering_mode": ("FAULT", "'streaming_replication'")})
    conf.write_text(good)
    restart(citadel, "pgpool")
    assert doctor(citadel) == (0, {})


def check_stopped(citadel):
    """The servers are gone with `citadel up`: the exit code of what cannot be reached, and how to start it."""
    assert citadel.stop() == 0
    code, found = doctor(citadel)
    assert code == 3 and f"citadel up --data {citadel.data}" in found["database"]["mend"], found
    citadel.start()
    assert doctor(citadel) == (0, {})


def main():
    with Citadel() as citadel:
        for check in (check_healthy, check_configuration, check_files, check_schema, check_postgres, check_servers,
                      check_stopped):
            check(citadel)


main()
