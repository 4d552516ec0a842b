#!/usr/bin/env python3
"""Commands on a running system: refused keys; `migrate` and its status, drift and a migration that was edited; an import
into a new instance at an old address."""
import json
import re
import subprocess

from audit_api import call
from citadel_process import BINARY, SOURCE, TRACE, Citadel, reserve_port, trace_sums, usage_by_hour


def sql(citadel, statement, user="citadel_owner", database="citadel_ai"):
    password = (citadel.data / "secrets" / f"{user}.password").read_text().strip()
    subprocess.run(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(citadel.postgres), "-U", user, "-d",
                    database, "-c", statement], check=True, timeout=20, env=dict(citadel.environment, PGPASSWORD=password))


def migrate(citadel, *arguments, database):
    """`citadel migrate` as an operator of `citadel serve` calls it, with a configuration of his own."""
    return subprocess.run([BINARY, "migrate", "--config", str(citadel.operators_config(database)), *arguments], capture_output=True, text=True,
                          check=False, timeout=60, env=citadel.client_environment())


def states(citadel, code):
    done = migrate(citadel, "--status", "--json", database="fresh")
    assert done.returncode == code, done
    report = json.loads(done.stdout)
    assert report["good"] is (code == 0), report
    return [migration["state"] for migration in report["migrations"]], report["drift"]


def check_migrate(citadel):
    sql(citadel, "create database fresh owner citadel_owner", user="postgres")
    count = len(list((SOURCE / "migrations").glob("*.sql")))
    assert states(citadel, 1) == (["pending"] * count, [])
    applied = migrate(citadel, database="fresh")
    assert applied.returncode == 0 and applied.stdout == f"applied {count}\n", applied
    assert applied.stderr.count("applying ") == count, applied
    assert states(citadel, 0) == (["applied"] * count, [])
    repeated = migrate(citadel, "--json", database="fresh")
    assert repeated.returncode == 0 and json.loads(repeated.stdout) == {"applied": 0}, repeated

    sql(citadel, "drop index usage.request_failed", database="fresh")
    _, drift = states(citadel, 1)
    assert len(drift) == 1 and "request_failed" in drift[0], drift
    shown = migrate(citadel, "--status", database="fresh")
    assert shown.returncode == 1 and "changed by hand: - index" in shown.stdout, shown

    sql(citadel, "update citadel.migration set checksum = 'other' where version = 1", database="fresh")
    assert states(citadel, 1)[0] == ["edited"] + ["applied"] * (count - 1)
    refused = migrate(citadel, database="fresh")
    assert refused.returncode == 1 and "migration 0001_" in refused.stderr and "another text" in refused.stderr, refused

    sql(citadel, "delete from citadel.migration where version = 1; insert into citadel.migration values (9999, 'later', 'x')",
        database="fresh")
    refused = migrate(citadel, database="fresh")
    assert refused.returncode == 1 and "9999_later" in refused.stderr and "newer Citadel" in refused.stderr, refused
    # The daemon's own database was in no way part of it.
    own = migrate(citadel, "--status", database="citadel_ai")
    assert own.returncode == 0, own


def imported(citadel, *arguments):
    done = citadel.run_json("import", str(TRACE), "--model", "mixtral-8x7b", *arguments)
    citadel.wait_drained()
    return done["sent"], done["resumed_at"]


def check_import(citadel):
    """Another instance at the same address has none of the rows that the state file calls acknowledged."""
    wanted = trace_sums()
    rows = sum(sums[0] for sums in wanted.values())
    own = str(citadel.folder / "own-state")
    assert imported(citadel) == (rows, 0)
    assert imported(citadel) == (0, rows)
    assert imported(citadel, "--state", own) == (rows, 0)
    assert citadel.stop() == 0
    citadel.data.rename(citadel.folder / "old")
    citadel.start()
    assert usage_by_hour(citadel) == {}
    assert imported(citadel) == (rows, 0)
    assert usage_by_hour(citadel) == wanted
    assert imported(citadel, "--state", own) == (rows, 0), "a state file of one's own knows its instance too"
    assert imported(citadel) == (0, rows)
    # The same state file, another trace.
    other = citadel.folder / "other.csv"
    other.write_text("".join(TRACE.read_text().splitlines(keepends=True)[:11]))
    done = citadel.run_json("import", str(other), "--model", "mixtral-8x7b", "--state", own)
    assert (done["sent"], done["resumed_at"]) == (10, 0), done


def check_refused_keys(citadel):
    """Which key was refused, and where, however a command asks; what is no key file; what is no entry."""
    wrong = citadel.folder / "wrong.key"
    wrong.write_text("k" * 40)
    wrong.chmod(0o600)

    def said(*arguments, code):
        done = subprocess.run([BINARY, *arguments], env=citadel.client_environment(), capture_output=True, text=True, check=False,
                              timeout=60)
        assert done.returncode == code, (arguments, done)
        return done.stderr
    for command in (("status",), ("pool", "pause"), ("verify", "--no-outage"), ("audit", "verify"), ("audit", "export"),
                    ("audit", "append", "--action", "x.y", "--actor", "user:ada", "--object", "x:1", "--outcome", "success"),
                    ("import", str(TRACE), "--model", "m", "--state", str(citadel.folder / "refused-state"))):
        message = said(*command, "--key-file", str(wrong), code=1)
        assert "key is not valid" in message and str(wrong) in message and citadel.url in message, (command, message)
    message = said("status", "--key-file", str(citadel.folder), code=2)
    assert "is a folder" in message and "chmod" not in message, message
    assert "neither an entry's index nor an event's id" in said("audit", "prove", "abc", code=2)


def check_what_is_said(citadel):
    """A port where nobody listens; options before a build and under their own names; progress in a file by whole lines; a verification that
    failed is in the status."""
    elsewhere = subprocess.run([BINARY, "status", "--url", f"http://127.0.0.1:{reserve_port()}"], capture_output=True, text=True,
                               check=False, timeout=60, env=citadel.client_environment())
    assert elsewhere.returncode == 3 and "does the daemon run at" in elsewhere.stderr and "--url" in elsewhere.stderr, elsewhere

    refused = subprocess.run([SOURCE / "run", "--bogus"], capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 1 and "--bogus" in refused.stderr and "building" not in refused.stderr, refused
    offered = set(re.findall(r"^ +(--[a-z-]+) ", subprocess.run([BINARY, "up", "--help"], capture_output=True, text=True, check=True,
                                                               timeout=60).stdout, re.M))
    assert offered and offered == set(re.findall(r"--[a-z-]+", refused.stderr)) - {"--bogus"}, (offered, refused.stderr)
    wrong = subprocess.run([BINARY, "up", "--http", "nonsense", "--data", str(citadel.folder / "never")], capture_output=True,
                           text=True, check=False, timeout=60)
    assert wrong.returncode == 2 and "--http" in wrong.stderr and "CITADEL_HTTP_LISTEN" not in wrong.stderr, wrong

    done = subprocess.run([BINARY, "import", str(TRACE), "--model", "m", "--state", str(citadel.folder / "shown-state")],
                          env=citadel.client_environment(), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0 and "\r" not in done.stdout + done.stderr, done
    assert done.stderr.count(" rows\n") == 1, done

    assert "VERIFICATION" not in citadel.run("status")
    key = (citadel.data / "admin.key").read_text().strip()
    code, answer = call(citadel.url, key, "POST", "/v1/audit/verifications", {"passed": False, "entries": 7, "finding": "entry 3: edited"})
    assert code == 200, answer
    assert "A VERIFICATION OF THE AUDIT LOG FAILED" in citadel.run("status")


def main():
    with Citadel() as citadel:
        check_refused_keys(citadel)
        check_migrate(citadel)
        check_import(citadel)
        check_what_is_said(citadel)


main()
