#!/usr/bin/env python3
"""A log whose first entries were pruned: what is left verifies, reports and exports say what is not there any more and what
cannot be shown of it, and entries that went without a word are a fault."""
import json
import pathlib
import re
import socket
import subprocess
import threading
import urllib.request

from audit_api import AuditApi, past_triggers
from citadel_process import BINARY, Citadel

PRUNED = 512

# Partitions have 4,194,304 indexes; the test wants a log of a thousand. What is there moves into small ones.
SMALL_PARTITIONS = """
SELECT pg_advisory_xact_lock(4850147, 2);
ALTER TABLE audit.entry DETACH PARTITION audit.entry_000000;
ALTER TABLE audit.entry_000000 RENAME TO entry_large;
""" + "".join(f"""
CREATE TABLE audit.entry_small_{low} (LIKE audit.entry INCLUDING ALL);
ALTER TABLE audit.entry_small_{low} OWNER TO citadel_owner;
ALTER TABLE audit.entry ATTACH PARTITION audit.entry_small_{low} FOR VALUES FROM ({low}) TO ({high});
SELECT audit.guard('audit.entry_small_{low}');
""" for low, high in ((0, 256), (256, 512), (512, 768), (768, 4194304))) + """
INSERT INTO audit.entry SELECT * FROM audit.entry_large;
DROP TABLE audit.entry_large;
"""


def run(citadel, *arguments, expect=0):
    done = subprocess.run([BINARY, *arguments], env=citadel.client_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == expect, done
    return done.stdout + done.stderr


def report(citadel, *arguments, expect=0):
    done = subprocess.run([BINARY, "audit", "report", "--profile", "soc2", "--from", "2026-01-01", *arguments],
                          env=citadel.client_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == expect, done
    return done.stdout


def topic(shown, title):
    return next(t for t in shown["topics"] if t["title"] == title)


def prune(audit):
    """Twice: the second entry speaks for both."""
    prune_them = f"SELECT audit.prune_entries({PRUNED + 100}, 'their time is over', 'ops')"
    audit.psql(SMALL_PARTITIONS)
    refused = subprocess.run(["psql", "-X", "-h", "127.0.0.1", "-p", str(audit.citadel.postgres), "-U", "citadel_owner", "-d",
                              "citadel_ai", "-c", prune_them], capture_output=True, text=True, check=False, timeout=60,
                             env=dict(PGPASSWORD=(audit.citadel.data / "secrets" / "citadel_owner.password").read_text().strip(),
                                      PATH="/usr/bin:/bin"))
    assert refused.returncode != 0 and "the content of entry 0 is still there" in refused.stderr, refused
    for before, and_prune in ((256, "SELECT audit.prune_entries(300, 'the first of them', 'ops')"), (PRUNED, prune_them)):
        # As retention leaves them, when their months are over.
        audit.psql(past_triggers(f"DELETE FROM audit.event WHERE idx < {before}; DELETE FROM audit.sealed WHERE idx < {before}"))
        assert audit.psql(and_prune, user="citadel_owner") == "256"
        audit.record(3, ack="checkpoint")
        assert audit.citadel.run_json("audit", "verify")["first"] == before
    noted = audit.entries(action="audit.retention_run")[0]
    assert noted["event"]["object"] == {"type": "audit_entries", "id": f"0-{PRUNED - 1}"}, noted
    assert noted["event"]["reason"] == "their time is over", noted
    return noted["index"]


def check_verified(citadel, entry):
    shown = citadel.run_json("audit", "verify")
    assert shown["passed"] and shown["first"] == PRUNED and shown["pruned_by"] == entry, shown
    assert shown["older"], "the checkpoint from before, which lies in what was pruned"
    said = citadel.run("audit", "verify")
    assert f"begins at          entry {PRUNED}: those before it were pruned, as entry {entry} says" in said, said


def check_reports(citadel, entry):
    shown = json.loads(report(citadel, "--json"))
    verification = shown["verification"]
    assert verification["passed"] and verification["pruned_entries"] == PRUNED and verification["pruned_by"] == entry, verification
    for title in ("Retention and holds", "Verification transcript"):
        found = topic(shown, title)
        said = f"The log's first {PRUNED} entries, 0 to {PRUNED - 1}, are not in it any more: they were pruned, as entry {entry} says."
        assert said in found["statements"], found
        assert any(f"What entries 0 to {PRUNED - 1} said" in limit for limit in found["cannot_show"]), found
    assert any("agree with each other there, and with the signed root" in s for s in topic(shown, "Verification transcript")["statements"])
    assert entry in topic(shown, "Retention and holds")["entries"], "the entry itself is shown"
    page = report(citadel)
    assert f"; {PRUNED} before them were pruned</dd>" in page and "they were pruned, as entry" in page, page[:3000]


def check_export(citadel):
    key, export = citadel.run("audit", "key").strip(), str(citadel.folder / "export.jsonl")
    citadel.run("audit", "export", "--proofs", "-o", export)
    header = json.loads(pathlib.Path(export).read_text().splitlines()[0])
    assert header["first"] == PRUNED, header
    offline = ("audit", "verify", "--export", export, "--key", key)
    assert "was not said that this is right" in run(citadel, *offline, expect=1), "an export cannot excuse itself"
    shown = citadel.run_json(*offline, "--pruned", str(PRUNED))
    assert shown["passed"] and shown["first"] == PRUNED, shown


def check_streams(audit):
    """The API's export begins with the first entry that is there, and counts from it; an export to syslog does, too."""
    request = urllib.request.Request(f"{audit.citadel.url}/v1/audit/export?limit=3", headers={
        "Authorization": "Bearer " + (audit.citadel.data / "admin.key").read_text().strip()})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert [json.loads(line)["index"] for line in answer] == [PRUNED, PRUNED + 1, PRUNED + 2]
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        def receive():
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as stream:
                received.append(stream.read())
        receiver = threading.Thread(target=receive)
        receiver.start()
        said = run(audit.citadel, "audit", "export", "--format", "syslog", "--to", f"tcp://127.0.0.1:{server.getsockname()[1]}")
        receiver.join(60)
    indexes = [int(index) for index in re.findall(rb' index="(\d+)"', b"".join(received))]
    assert indexes[0] == PRUNED and indexes == list(range(PRUNED, PRUNED + len(indexes))) and len(indexes) > 300, indexes[:3]
    assert f"the first entry that the log has is {PRUNED}" in said and f"\n{len(indexes)} entries sent" in said, said


def check_single_entries(audit):
    citadel = audit.citadel
    run(citadel, "audit", "get", "5", expect=1)
    proof = str(citadel.folder / "entry.tlog-proof")
    citadel.run("audit", "prove", str(PRUNED + 10), "-o", proof)
    assert "good" in citadel.run("audit", "check-proof", proof, "--key", citadel.run("audit", "key").strip())


def check_tampered(audit):
    """A hash above the leaves of what was pruned; then entries that go without a word."""
    citadel = audit.citadel
    kept = audit.psql("SELECT encode(hashes, 'hex') FROM audit.tile WHERE level = 1 AND idx = 0")
    other = ("0" if kept[0] != "0" else "1") + kept[1:]
    audit.psql(past_triggers(f"UPDATE audit.tile SET hashes = decode('{other}', 'hex') WHERE level = 1 AND idx = 0"))
    assert not citadel.run_json("audit", "verify", expect=1)["passed"]
    assert not json.loads(report(citadel, "--json", expect=1).splitlines()[0])["verification"]["passed"]
    audit.psql(past_triggers(f"UPDATE audit.tile SET hashes = decode('{kept}', 'hex') WHERE level = 1 AND idx = 0"))
    assert citadel.run_json("audit", "verify")["passed"]
    audit.psql("DROP TABLE audit.entry_small_512")
    shown = citadel.run_json("audit", "verify", expect=1)
    assert "entries 0 to 767 are not there, and no entry that is says that they were pruned" in shown["fault"], shown
    audit.psql("INSERT INTO audit.pending (action, object_type, object, reason, details) VALUES ('audit.retention_run', "
               "'audit_entries', '0-9999999', 'what was never there', '{}')")
    audit.record(3, ack="checkpoint")
    shown = citadel.run_json("audit", "verify", expect=1)
    assert "no entry that is says that they were pruned" in shown["fault"], shown
    assert citadel.run_json("audit", "verify", "--pruned", "768")["passed"]
    assert not json.loads(report(citadel, "--json", expect=1).splitlines()[0])["verification"]["passed"]
    shown = json.loads(report(citadel, "--json", "--pruned", "768"))
    assert any("is the word of whoever made this report" in s for s in topic(shown, "Verification transcript")["statements"]), shown


def check_first_entry_gone(audit):
    """One that was taken away is named, and not taken for a log that begins behind it."""
    audit.psql("CREATE TABLE public.kept AS SELECT * FROM audit.entry WHERE idx = 0")
    audit.psql(past_triggers("DELETE FROM audit.entry WHERE idx = 0"))
    shown = audit.citadel.run_json("audit", "verify", "--silent", expect=1)
    assert shown["index"] == 0, shown
    audit.psql(past_triggers("INSERT INTO audit.entry SELECT * FROM public.kept"))
    assert audit.citadel.run_json("audit", "verify", "--silent")["passed"]


def main():
    with Citadel() as citadel:
        audit = AuditApi(citadel)
        audit.record(300, ack="database")
        audit.record(1, ack="checkpoint")
        assert citadel.run_json("audit", "verify")["passed"]
        check_first_entry_gone(audit)
        audit.record(600, ack="database")
        audit.record(1, ack="checkpoint")
        entry = prune(audit)
        check_verified(citadel, entry)
        check_reports(citadel, entry)
        check_export(citadel)
        check_streams(audit)
        check_single_entries(audit)
        check_tampered(audit)


main()
