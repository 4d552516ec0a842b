#!/usr/bin/env python3
"""What becomes of the content of the audit trail, with a real `citadel up`: a hold keeps it, an erasure destroys it and leaves a
certificate that is checked without the daemon, the retention job drops what is due, and the master key is rotated by file,
restart and `rotate-key`, after which the old one is gone."""
import base64
import hashlib
import json
import os
import subprocess

from audit_api import AuditApi
from citadel_process import Citadel, wait_until

SUBJECT = "customer-4711"
SECRET = "the-secret-of-customer-4711"


class Trail(AuditApi):
    def record(self, subject=SUBJECT, prompt=SECRET, **more):
        body = dict({"actor": {"type": "user", "id": "ada"}, "action": "inference.complete", "outcome": "success",
                     "object": {"type": "model", "id": "phi3"}, "subject": subject, "prompt": {"text": prompt},
                     "response": {"text": "answer to " + prompt}}, **more)
        status, answer = self.call("POST", "/v1/audit/events?ack=database", body)
        assert status == 200, answer
        return answer["events"][0]["index"]

    def events(self, action):
        return self.citadel.run_json("audit", "search", "--action", action)["events"]

    def wait_event(self, action):
        return wait_until(lambda: self.events(action), f"{action} is in the log")[0]["event"]

    def tables_with(self, text):
        """The tables of the schema that hold the text, as text or as bytes."""
        found = set()
        for table in self.psql("SELECT relname FROM pg_class WHERE relnamespace = 'audit'::regnamespace AND relkind = 'r'").split():
            hexadecimal = text.encode().hex()
            if self.psql(f"SELECT 1 FROM audit.{table} t WHERE t::text LIKE '%{text}%' OR t::text LIKE '%{hexadecimal}%' LIMIT 1"):
                found.add(table)
        return found


def check_hold(trail):
    citadel = trail.citadel
    hold = citadel.run("audit", "hold", "add", "--subject", SUBJECT, "--reason", "a lawsuit").strip()
    placed = trail.wait_event("audit.hold_placed")
    assert placed["actor"]["id"] == "admin" and placed["object"]["id"] == hold and placed["reason"] == "a lawsuit", placed
    assert hold in citadel.run("audit", "hold", "list") and "subject customer-4711" in citadel.run("audit", "hold", "list")
    status, problem = trail.call("POST", "/v1/audit/erasures", {"subject": SUBJECT, "reason": "article 17"})
    assert status == 409 and problem["type"] == "/problems/conflict" and hold in problem["detail"], problem
    citadel.run("audit", "erase", "--subject", SUBJECT, "--reason", "article 17", expect=1)
    citadel.run("audit", "hold", "release", hold, "--reason", "it is settled")
    assert trail.wait_event("audit.hold_released")["reason"] == "it is settled"
    citadel.run("audit", "hold", "release", hold, "--reason", "again", expect=1)
    citadel.run("audit", "hold", "release", hold, "--reason", "  ", expect=2)
    assert citadel.run("audit", "hold", "list") == "no holds\n"
    assert citadel.run_json("audit", "hold", "list", "--all")["holds"][0]["release_reason"] == "it is settled"
    for body, field in (({"reason": "x"}, None), ({"subject": "a"}, "/reason"), ({"reason": "x", "object": {"type": "m"}}, "/object/id"),
                        ({"reason": "x", "from": "yesterday"}, "/from"), ({"reason": "x", "subjet": "a"}, "/subjet"),
                        ({"reason": "x", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to")):
        status, problem = trail.call("POST", "/v1/audit/holds", body)
        assert status == 400 and problem.get("field") == field, (body, problem)
    assert trail.call("POST", "/v1/audit/holds/01a20000-0000-7000-8000-000000000000/release", {"reason": "x"})[0] == 404


def check_erasure(trail):
    citadel = trail.citadel
    ours = [trail.record() for _ in range(3)]
    other = trail.record("customer-1", "of another customer")
    key = citadel.run("audit", "key").strip()
    proof = str(citadel.folder / "one.tlog-proof")
    citadel.run("audit", "prove", str(ours[1]), "-o", proof)
    assert SECRET in citadel.run("audit", "get", str(ours[0]), "--open")
    before = citadel.run_json("audit", "verify")
    # What the database says is encrypted: the plain text is in none of its tables even now.
    assert not trail.tables_with(SECRET), trail.tables_with(SECRET)
    wrapped = trail.psql(f"SELECT encode(wrapped_key, 'hex') FROM audit.subject_key WHERE subject = '{SUBJECT}'")

    # Nothing is destroyed where the certificate cannot be written.
    for nowhere in (citadel.folder, citadel.folder / "none" / "certificate.json"):
        citadel.run("audit", "erase", "--subject", SUBJECT, "--reason", "article 17", "-o", str(nowhere), expect=2)
    assert SECRET in citadel.run("audit", "get", str(ours[0]), "--open")

    file = citadel.folder / "certificate.json"
    citadel.run("audit", "erase", "--subject", SUBJECT, "--reason", "article 17", "-o", str(file))
    certificate = json.loads(file.read_text())
    assert certificate["destroyed"] == {"keys": 1, "events": 3, "groups": 6, "conflicts": 0, "dead_letters": 0}, certificate
    assert certificate["subject_sha256"] == hashlib.sha256(SUBJECT.encode()).hexdigest() and SUBJECT not in file.read_text()

    # Nothing of it can be read any more, by nobody.
    for index in ours:
        assert SECRET not in citadel.run("audit", "get", str(index), "--open")
        status, entry = trail.call("GET", f"/v1/audit/entries/{index}?open=groups")
        assert status == 200 and "event" not in entry and {g["state"] for g in entry["groups"]} == {"erased"}, entry
    listed = ",".join(map(str, ours))
    assert trail.psql(f"SELECT count(*) FROM audit.event WHERE idx IN ({listed})") == "0"
    assert trail.psql(f"SELECT count(*) FROM audit.sealed WHERE idx IN ({listed})") == "0"
    assert trail.psql(f"SELECT octet_length(wrapped_key) FROM audit.subject_key WHERE subject = '{SUBJECT}'") == "0"
    assert trail.psql(f"SELECT count(*) FROM audit.subject_key WHERE encode(wrapped_key, 'hex') = '{wrapped}'") == "0"
    assert trail.tables_with(SUBJECT) == {"subject_key"}, trail.tables_with(SUBJECT)
    assert "of another customer" in citadel.run("audit", "get", str(other), "--open")

    # Every proof stays, and a verification knows what it does not see.
    citadel.run("audit", "check-proof", proof, "--key", key)
    citadel.run("audit", "prove", str(ours[2]), "-o", proof)
    after = citadel.run_json("audit", "verify")
    assert after["passed"] and after["entries"] > before["entries"], after
    assert (after["contents_erased"], after["contents_missing"], after["contents_dropped"]) == (3, 0, 0), after
    export = str(citadel.folder / "log.jsonl")
    citadel.run("audit", "export", "-o", export)
    offline = citadel.run_json("audit", "verify", "--export", export, "--key", key)
    assert offline["passed"] and offline["contents_erased"] == 3 and offline["contents_missing"] == 0, offline
    assert ", 3 erased, 0 dropped when due, 0 missing" in citadel.run("audit", "verify"), "people are told"
    assert SECRET not in open(export, encoding="utf-8").read()

    check_certificate(citadel, file, key)
    again = citadel.run_json("audit", "certificate", certificate["erasure"])
    assert again["destroyed"] == certificate["destroyed"] and again["entry"] == certificate["entry"], again
    citadel.run("audit", "erase", "--subject", "nobody", "--reason", "x", expect=1)
    # A new event of the same subject has a new key.
    fresh = trail.record(prompt="a new beginning")
    assert "a new beginning" in citadel.run("audit", "get", str(fresh), "--open")
    assert trail.psql(f"SELECT count(*), count(destroyed_at) FROM audit.subject_key WHERE subject = '{SUBJECT}'") == "2|1"


def check_certificate(citadel, file, key):
    checked = citadel.run_json("audit", "check-certificate", str(file), "--key", key, "--subject", SUBJECT)
    assert checked["passed"] and checked["events"] == 3, checked
    assert "good: entry" in citadel.run("audit", "check-certificate", str(file), "--key", key)
    citadel.run("audit", "check-certificate", str(file), "--key", key, "--subject", "customer-1", expect=1)
    text = file.read_text()
    forged = citadel.folder / "forged.json"

    def refused(change):
        certificate = json.loads(text)
        change(certificate)
        forged.write_text(json.dumps(certificate))
        citadel.run("audit", "check-certificate", str(forged), "--key", key, expect=1)

    refused(lambda c: c["destroyed"].update(events=4))
    refused(lambda c: c.update(tenant="other"))
    refused(lambda c: c.update(reason="because"))
    refused(lambda c: c.update(subject_sha256=hashlib.sha256(b"x").hexdigest()))
    refused(lambda c: c["entry"].update(details=base64.b64encode(b"{}").decode()))
    refused(lambda c: c.update(proof=c["proof"].replace("index ", "index 1")))


def check_missing(trail):
    """Who removes content by force is seen: neither an erasure nor a retention run explains it."""
    index = trail.record("customer-2", "to be removed")
    verified = wait_until(lambda: (v := trail.citadel.run_json("audit", "verify"))["entries"] > index and v, "it is signed")
    assert verified["contents_missing"] == 0, verified
    trail.psql(f"SET LOCAL citadel.audit_erasing = 'on'; DELETE FROM audit.event WHERE idx = {index}")
    after = trail.citadel.run_json("audit", "verify")
    assert after["contents_missing"] == 1 and after["contents_erased"] == verified["contents_erased"], after
    shown = trail.citadel.run("audit", "verify")
    assert f"to {index}: nothing in this log says why" in shown, shown


def check_retention(trail):
    """Contents of a month that is over are dropped by the daemon itself; a held month stays until its hold is released."""
    citadel = trail.citadel
    old, held = "2024-03-05T00:00:00Z", "2024-05-05T00:00:00Z"
    ours, theirs = trail.record("customer-8", "an old question", time=old), trail.record("customer-9", "a held question", time=held)
    plan = {m["month"]: m for m in citadel.run_json("audit", "retention", "--dry-run")["months"]}
    # They came just now, so they are kept as long as any other of their class.
    assert not plan["short/2024-03"]["due"] and plan["short/2024-03"]["due_at"] > "2026", plan["short/2024-03"]
    hold = citadel.run("audit", "hold", "add", "--from", "2024-05-01", "--to", "2024-06-01", "--reason", "a case").strip()
    # A day is its midnight UTC, and that of --to is the first moment outside.
    assert "from 2024-05-01T00:00:00Z, to 2024-06-01T00:00:00Z" in citadel.run("audit", "hold", "list")
    # As if they had come then: the clock that counts is the database's.
    for month, time in (("202403", old), ("202405", held)):
        trail.psql(f"ALTER TABLE audit.event_short_{month} DISABLE TRIGGER ALL; "
                   f"UPDATE audit.event_short_{month} SET received_at = '{time}'; "
                   f"ALTER TABLE audit.event_short_{month} ENABLE TRIGGER ALL; "
                   f"ALTER TABLE audit.event_short_{month} ENABLE ALWAYS TRIGGER append_only")
    def runs():
        """A month that was made a moment ago, and is empty until the batch comes that it was made for, may be dropped before."""
        found = [e["event"] for e in trail.events("audit.retention_run")]
        return {e["object"]["type"]: e for e in found if not e["reason"].startswith("0 events")}

    wait_until(lambda: set(runs()) == {"audit_content", "audit_content_held"}, "it says what it dropped and what it kept")
    said = runs()
    assert said["audit_content"]["object"]["id"] == "short/2024-03" and said["audit_content"]["reason"].startswith("1 events and 2 groups")
    assert said["audit_content_held"]["object"]["id"] == "short/2024-05" and hold in said["audit_content_held"]["reason"], said
    assert trail.psql("SELECT to_regclass('audit.event_short_202403') IS NULL AND to_regclass('audit.sealed_short_202403') IS NULL") == "t"
    shown = citadel.run("audit", "retention", "--dry-run")
    assert f"held by {hold}" in shown and "short/2024-03" not in shown, shown
    assert f"kept short/2024-05: hold {hold}" in citadel.run("audit", "retention")
    citadel.run("audit", "hold", "release", hold, "--reason", "over")
    wait_until(lambda: trail.psql("SELECT to_regclass('audit.event_short_202405') IS NULL") == "t", "the held month goes too")
    for index in (ours, theirs):
        status, entry = trail.call("GET", f"/v1/audit/entries/{index}?open=groups")
        assert status == 200 and "event" not in entry, entry
    dropped = wait_until(lambda: (v := citadel.run_json("audit", "verify"))["contents_missing"] == 1 and v, "both are explained")
    assert dropped["passed"] and dropped["contents_dropped"] == 2, dropped
    status = json.loads(citadel.get("/v1/status"))["audit"]["retention"]
    assert status["dropped_total"] == 2 and status["ran_at"], status


def check_rotation(trail):
    citadel = trail.citadel
    index = trail.record("customer-3", "before the rotation")
    file = citadel.data / "audit-master.key"
    old = file.read_text()
    assert citadel.stop() == 0
    newest = base64.b64encode(os.urandom(32)).decode() + "\n"
    file.write_text(newest + old)
    citadel.start()
    after = trail.record("customer-5", "after the restart")
    done = citadel.run_json("audit", "rotate-key")
    assert done["rewrapped"] >= 3 and done["keys"] > done["rewrapped"], done
    said = wait_until(lambda: [e["event"] for e in trail.events("audit.key_rotated") if e["event"]["reason"].startswith("all ")],
                      "the rotation is in the log")[0]
    assert said["object"] == {"type": "master_key", "id": done["master_key"]} and said["actor"]["id"] == "admin", said
    assert citadel.run_json("audit", "rotate-key")["rewrapped"] == 0
    wait_until(lambda: not citadel.run_json("audit", "rotate-key")["journal_waits"], "nothing waits under the older key")
    # The old line goes, and all can be read.
    assert citadel.stop() == 0
    file.write_text(newest)
    citadel.start()
    for wanted, text in ((index, "before the rotation"), (after, "after the restart")):
        assert text in citadel.run("audit", "get", str(wanted), "--open")
    trail.record("customer-3", "with the new one")
    assert citadel.run_json("audit", "verify")["passed"]
    # Whoever has the old key has nothing any more.
    assert citadel.stop() == 0
    file.write_text(old)
    citadel.start()
    assert trail.call("GET", f"/v1/audit/entries/{index}?open=groups")[0] == 500
    assert citadel.stop() == 0
    file.write_text(newest)
    citadel.start()


def check_floor(citadel):
    config = citadel.folder / "floor.toml"
    config.write_text('[audit.retention]\nprofile = "hipaa"\nshort = "365d"\n')
    done = subprocess.run([os.environ["CITADEL_TEST_BINARY"], "config", "check", "--config", str(config)], capture_output=True,
                          text=True, check=False, timeout=30)
    assert done.returncode == 1 and "floor.toml:3:9: audit.retention.short" in done.stderr + done.stdout and "hipaa, 2192d" in \
        done.stderr + done.stdout, done


def main():
    with Citadel({"CITADEL_AUDIT_RETENTION_INTERVAL": "1s", "CITADEL_AUDIT_PAST_MAX": "3650d"}) as citadel:
        trail = Trail(citadel)
        trail.record("customer-0", "so that there is something")
        check_hold(trail)
        check_erasure(trail)
        check_missing(trail)
        check_retention(trail)
        check_rotation(trail)
        check_floor(citadel)


main()
