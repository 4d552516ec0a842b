#!/usr/bin/env python3
"""The audit trail of a real `citadel up`: an event is recorded, proved, searched, exported and verified; then somebody with
every right in PostgreSQL changes what is stored, and the verification names it."""
import base64
import gzip
import hashlib
import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

from audit_api import AuditApi, event, past_triggers, uuid7
from audit_trail import AuditDaemon
from citadel_process import Citadel, wait_until

OTHER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TLOG_READER = os.environ.get("CITADEL_TEST_TLOG_READER")


class Audit(AuditApi):
    """The trail of a running instance, by HTTP, by the command line, and as a superuser sees it."""

    def post(self, body, query="", headers=None):
        return self.call("POST", "/v1/audit/events" + query, body, headers)

    def verify(self, *arguments, expect=0):
        return self.citadel.run_json("audit", "verify", *arguments, expect=expect)

    def size(self):
        return json.loads(self.citadel.get("/v1/status"))["audit"]["checkpoint"].get("size", 0)


def check_recording(audit):
    status, answer = audit.post(event(reason="it was asked for"))
    assert status == 202 and answer["ack"] == "journal" and len(answer["ids"]) == 1, answer
    status, answer = audit.post([event(1), event(2)], "?ack=database")
    assert status == 200 and [e["index"] for e in answer["events"]] == sorted(e["index"] for e in answer["events"]), answer
    status, answer = audit.post(event(3, prompt={"text": "a secret prompt"}, details={"password": "hunter2"}), "?ack=checkpoint")
    assert status == 200 and answer["events"][0]["proof"].startswith("c2sp.org/tlog-proof@v1"), answer
    index = answer["events"][0]["index"]
    lines = "\n".join(json.dumps(event(n)) for n in range(4, 14)).encode()
    status, answer = audit.post(gzip.compress(lines), "?ack=database",
                                {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"})
    assert status == 200 and answer["accepted"] == 10, answer
    # What must never be stored is not, and what is sensitive is opened for who asks.
    status, entry = audit.call("GET", f"/v1/audit/entries/{index}?open=groups")
    assert status == 200 and entry["event"]["prompt"] == {"text": "a secret prompt"}, entry
    assert "hunter2" not in json.dumps(entry) and "redacted" in entry["event"]["details"]["password"], entry
    status, entry = audit.call("GET", f"/v1/audit/entries/{index}")
    assert "prompt" not in entry["event"] and entry["groups"][0]["state"] == "sealed", entry
    return index


def check_bad_input(audit):
    before = audit.citadel.run_json("status")["audit"]["journal"]["appended_total"]
    for body, field in (({**event(), "actor": {"type": "user"}}, "/actor/id"), ({**event(), "colour": 1}, "/colour"),
                        ([event(), {**event(), "action": "no.such"}], "/1/action"),
                        ({**event(), "action": "audit.gap"}, "/action"), ({**event(), "time": "2001-01-01T00:00:00Z"}, "/time"),
                        ({**event(), "id": "x" * 36}, "/id")):
        status, problem = audit.post(body)
        assert status == 400 and problem["field"] == field, (body, problem)
    status, problem = audit.post(event(), "?ack=disk")
    assert status == 400 and problem["field"] == "ack", problem
    for body in (b'{"a":1,"a":2}', b"\xff", b"[]", b""):
        assert audit.post(body)[0] == 400, body
    assert audit.citadel.run_json("status")["audit"]["journal"]["appended_total"] == before, "something was stored"


def check_idempotence(audit):
    id_ = uuid7()
    first = audit.post(event(20, id=id_), "?ack=database")
    again = audit.post(event(20, id=id_), "?ack=database")
    assert first == again and first[0] == 200, (first, again)
    status, problem = audit.post(event(21, id=id_))
    assert status == 409 and problem["field"] == "/id", problem
    keyed = [audit.post(event(22), "?ack=database", {"Idempotency-Key": id_[:-1] + ("0" if id_[-1] != "0" else "1")})
             for _ in range(2)]
    assert keyed[0] == keyed[1] and keyed[0][0] == 200, keyed
    # Beyond the daemon's memory the log itself decides: the same after a restart.
    audit.citadel.stop()
    audit.citadel.start()
    status, again = audit.post(event(20, id=id_), "?ack=database")
    assert status == 200 and again["events"] == first[1]["events"], (again, first)
    status, problem = audit.post(event(21, id=id_), "?ack=database")
    assert status == 409, problem


def check_proof(audit, index):
    citadel = audit.citadel
    key = citadel.run("audit", "key").strip()
    file = str(citadel.folder / "one.tlog-proof")
    citadel.run("audit", "prove", str(index), "-o", file)
    entry = citadel.folder / "entry.json"
    entry.write_text(citadel.run("audit", "get", str(index), "--json"))
    shown = citadel.run_json("audit", "check-proof", file, "--key", key, "--entry", str(entry))
    assert shown["passed"] and shown["index"] == index and shown["action"] == "model_version.promote", shown
    # Another's content, another's key, and a proof with one digit changed.
    other = json.loads(entry.read_text())
    other["envelope"] = other["envelope"][:-8] + "AAAAAAA="
    entry.write_text(json.dumps(other))
    citadel.run("audit", "check-proof", file, "--key", key, "--entry", str(entry), expect=1)
    text = open(file, encoding="utf-8").read()
    lines = text.split("\n")
    place = next(i for i, line in enumerate(lines) if line.startswith("index "))
    lines[place] = f"index {index - 1}"
    open(file, "w", encoding="utf-8").write("\n".join(lines))
    citadel.run("audit", "check-proof", file, "--key", key, expect=1)
    status, answer = audit.call("GET", f"/v1/audit/consistency?from=3&to={index}")
    assert status == 200 and answer["to"] == index and answer["proof"], answer
    assert audit.call("GET", "/v1/audit/proof?index=99999999")[0] == 404


def check_search_by_subject(audit):
    """Found are the subject's events and no others; what is recorded of the search has no name in it."""
    citadel = audit.citadel
    audit.post([event(32, subject="customer-32"), event(33, subject="customer-33")], "?ack=database")
    found = citadel.run_json("audit", "search", "--subject", "customer-32")["events"]
    assert [f["event"]["object"]["id"] for f in found] == ["fraud/32"], found
    digest = hashlib.sha256(b"customer-32").hexdigest()

    def searched():
        return [f["event"].get("reason", "") for f in citadel.run_json("audit", "search", "--action", "audit.searched")["events"]]
    reasons = wait_until(lambda: any(digest in reason for reason in searched()) and searched(), "it is recorded")
    assert not any("customer-32" in reason for reason in reasons), reasons


def check_search_for_no_action(audit):
    """Nothing found would read like "it never happened": an action that nobody can record is refused, on every way."""
    citadel = audit.citadel
    for command in ("search", "tail"):
        done = citadel.popen("audit", command, "--action", "auth.failur", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, said = done.communicate(timeout=30)
        assert done.returncode == 2 and not out and 'did you mean "auth.failure"?' in said, (out, said)
    done = citadel.popen("audit", "search", "--action", "auth.failur", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True)
    out, said = done.communicate(timeout=30)
    error = json.loads(said)
    problem = error["problem"]
    assert done.returncode == error["exit_code"] == 2 and not out and error["code"] == "invalid_argument", error
    assert problem["type"] == "/problems/invalid_argument" and problem["status"] == 400 and problem["field"] == "action", error
    assert problem["detail"] == error["message"], error
    assert citadel.run_json("audit", "search", "--action", "x.never.recorded")["events"] == []


def check_search(audit):
    citadel = audit.citadel
    trace = "0af7651916cd43dd8448eb211c80319c"
    audit.post([event(30, trace_id=trace), event(31, trace_id=trace, outcome="denied", reason="no right to it")], "?ack=database")
    found = citadel.run_json("audit", "search", "--actor", "ada", "--outcome", "denied")["events"]
    assert len(found) == 1 and found[0]["event"]["object"]["id"] == "fraud/31", found
    found = citadel.run_json("audit", "trace", trace)["events"]
    assert [f["event"]["object"]["id"] for f in found] == ["fraud/30", "fraud/31"], found
    found = citadel.run_json("audit", "search", "--text", "right fraud")["events"]
    assert len(found) == 1, found
    assert "fraud/31" in citadel.run("audit", "search", "--actor", "ada", "--limit", "2")
    check_search_by_subject(audit)
    check_search_for_no_action(audit)
    # That it was searched is in the log, with who did it.
    found = wait_until(lambda: citadel.run_json("audit", "search", "--action", "audit.searched")["events"], "it is recorded")
    assert found[0]["event"]["actor"]["id"] == "admin", found
    try:
        urllib.request.urlopen(citadel.url + "/v1/audit/key", timeout=10)
        raise AssertionError("answered without a key")
    except urllib.error.HTTPError as error:
        assert error.code == 401
    wait_until(lambda: citadel.run_json("audit", "search", "--action", "auth.failure")["events"], "the failure is recorded")
    assert citadel.run_json("audit", "search", "--action", "audit.started")["events"]


def check_tail(audit):
    tail = audit.citadel.popen("audit", "tail", "--count", "2", "--action", "x.tailed", "--json", stdout=subprocess.PIPE)
    wait_until(lambda: audit.citadel.run_json("audit", "search", "--action", "audit.tailed")["events"], "the tail has begun")
    audit.post([event(n, action="x.tailed") for n in (40, 41)])
    out, _ = tail.communicate(timeout=30)
    assert [json.loads(line)["event"]["object"]["id"] for line in out.splitlines()] == ["fraud/40", "fraud/41"], out


def check_export(audit):
    citadel = audit.citadel
    key = citadel.run("audit", "key").strip()
    file = citadel.folder / "log.jsonl"
    citadel.run("audit", "export", "-o", str(file))
    entries = len(file.read_text().splitlines()) - 2
    offline = citadel.run_json("audit", "verify", "--export", str(file), "--key", key)
    assert offline["passed"] and offline["entries"] == entries, offline
    # A digit of an entry, and a line less.
    text = file.read_text()
    lines = text.splitlines(keepends=True)
    for name, forged in (("edit", text.replace('"model_version.promote"', '"model_version.retire"', 1)),
                         ("delete", "".join(lines[:5] + lines[6:]))):
        bad = citadel.folder / f"{name}.jsonl"
        bad.write_text(forged)
        fault = citadel.run("audit", "verify", "--export", str(bad), "--key", key, expect=1)
        assert "FAULT" in fault, (name, fault)
    # What says nothing of the log is no fault of it; the key of another log names both.
    csv = citadel.folder / "log.csv"
    citadel.run("audit", "export", "--format", "csv", "-o", str(csv))
    wrong = citadel.folder / "wrong.key"
    wrong.write_text("k" * 40)
    wrong.chmod(0o600)
    for arguments, code in ((("--export", str(csv), "--key", key), 2), (("--older", str(csv)), 2), (("--key-file", str(wrong)), 1)):
        assert citadel.run("audit", "verify", *arguments, expect=code) == "", arguments
    fault = citadel.run("audit", "verify", "--silent", "--key", OTHER_KEY, expect=1)
    assert "PeterNeumann" in fault and key.split("+")[0] in fault, fault
    for form, mark in (("csv", "index,"), ("ocsf", '"class_uid"'), ("cef", "CEF:0|"), ("syslog", "<")):
        lines = citadel.run("audit", "export", "--format", form).splitlines()
        assert mark in lines[0] and len(lines) >= entries, (form, lines[:2])
    # Broken off after some entries, it goes on to the same checkpoint.
    resumed = citadel.folder / "resumed.jsonl"
    whole = text.splitlines(keepends=True)
    part = "".join(whole[:7])
    (citadel.folder / "resumed.jsonl.part").write_text(part + whole[7][:20])
    checkpoint = json.loads(whole[-1])["checkpoint"]
    (citadel.folder / "resumed.jsonl.part.state").write_text(f"jsonl\n6 {len(part.encode())}\n{checkpoint}")
    citadel.run("audit", "export", "-o", str(resumed))
    assert resumed.read_text() == text and not (citadel.folder / "resumed.jsonl.part").exists()


def check_foreign_reader(audit):
    if not TLOG_READER:
        print("SKIP: no foreign reader was built")
        return
    key = audit.citadel.run("audit", "key").strip()
    environment = dict(os.environ, CITADEL_TLOG_KEY=(audit.citadel.data / "admin.key").read_text().strip())
    done = subprocess.run([TLOG_READER, audit.citadel.url + "/tlog", key], env=environment, capture_output=True, text=True,
                          check=False, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("verified "), done
    for path in ("/tlog/tile/0/0", "/tlog/tile/0/000.p/0", "/tlog/tile/0/000.p/257", "/tlog/tile/00/000", "/tlog/tile/0/x001",
                 "/tlog/tile/", "/tlog/tile/0/999"):
        status, _ = audit.call("GET", path)
        assert status == 404, (path, status)


def check_row_changed_in_psql(audit):
    """No change without its entry, whoever makes it."""
    audit.psql("INSERT INTO audit.hold (tenant, reason, placed_by) VALUES ('acme', 'a lawsuit', 'psql')", "citadel_owner")
    found = wait_until(lambda: audit.citadel.run_json("audit", "search", "--action", "database.insert", "--object-type",
                                                      "audit.hold")["events"], "the trigger's entry is in the log")
    assert found[0]["event"]["actor"] == dict(found[0]["event"]["actor"], type="database_role", id="citadel_owner"), found


def tampered(audit, name, sql, undo, index=None):
    """A superuser changes the log behind everybody's back: verified, it is found; put back, it is good again."""
    audit.psql(past_triggers(sql))
    fault = audit.verify("--silent", expect=1)
    assert not fault["passed"], (name, fault)
    if index is not None:
        assert fault.get("index") == index, (name, index, fault)
    audit.psql(past_triggers(undo))
    assert audit.verify("--silent")["passed"], name
    return fault


def check_tampering(audit, index):
    good = audit.verify()
    assert good["passed"] and good["entries"] > index, good
    audit.psql("CREATE TABLE public.kept_entry AS SELECT * FROM audit.entry; CREATE TABLE public.kept_event AS SELECT * FROM "
               "audit.event; CREATE TABLE public.kept_tile AS SELECT * FROM audit.tile")
    leaf_back = f"UPDATE audit.entry e SET leaf = k.leaf FROM public.kept_entry k WHERE k.idx = e.idx AND e.idx = {index};"
    hash_back = (f"UPDATE audit.tile t SET hashes = overlay(t.hashes PLACING substring(k.hashes FROM {index * 32 + 1} FOR 32) FROM "
                 f"{index * 32 + 1} FOR 32) FROM public.kept_tile k WHERE k.level = 0 AND k.idx = 0 AND t.level = 0 AND t.idx = 0;")
    # One bit of the id.
    fault = tampered(audit, "a leaf", f"UPDATE audit.entry SET leaf = set_byte(leaf, 5, get_byte(leaf, 5) # 1) WHERE idx = {index};",
                     leaf_back, index)
    assert str(index) in fault["fault"] and "the leaf is not the one that the tree holds" in fault["fault"], fault
    tampered(audit, "a leaf that cannot be read", f"UPDATE audit.entry SET leaf = '\\x00' WHERE idx = {index};", leaf_back, index)
    tampered(audit, "what an event says",
             f"UPDATE audit.event SET envelope = set_byte(envelope, 20, get_byte(envelope, 20) # 1) WHERE idx = {index};",
             f"UPDATE audit.event e SET envelope = k.envelope FROM public.kept_event k WHERE k.idx = e.idx AND e.idx = {index};")
    tampered(audit, "an entry that is gone", f"DELETE FROM audit.entry WHERE idx = {index};",
             f"INSERT INTO audit.entry SELECT * FROM public.kept_entry WHERE idx = {index};")
    tampered(audit, "a hash in a tile", f"UPDATE audit.tile SET hashes = set_byte(hashes, {index * 32}, get_byte(hashes, "
             f"{index * 32}) # 1) WHERE level = 0 AND idx = 0;",
             hash_back, index)
    # The leaf and its hash together: the tree's root says no.
    tampered(audit, "a leaf and its tile",
             f"UPDATE audit.entry SET leaf = set_byte(leaf, 5, get_byte(leaf, 5) # 1) WHERE idx = {index};"
             f"UPDATE audit.tile SET hashes = overlay(hashes PLACING (SELECT sha256('\\x00'::bytea || leaf) FROM audit.entry WHERE "
             f"idx = {index}) FROM {index * 32 + 1} FOR 32) WHERE level = 0 AND idx = 0;",
             leaf_back + hash_back)


def check_metrics(audit):
    before = audit.citadel.get("/metrics")
    for name in ("appended_total", "checkpoint_size", "undrained_events", "journal_bytes", "oldest_undrained_seconds",
                 "verified_entries", "verification_failures_total", "gaps_total", "shed_total", "forked"):
        assert f"citadel_audit_{name}" in before, name
    audit.verify()
    status = json.loads(audit.citadel.get("/v1/status"))["audit"]
    assert status["verified"]["entries"] > 0, status
    names = [d["name"] for d in json.loads(audit.citadel.get("/readyz"))["dependencies"]]
    assert "audit_journal" in names and "audit_log" in names, names


def check_lost_tail(audit):
    """A restore of an older database: the daemon says so, signs nothing, and an operator may go on."""
    audit.post([event(n) for n in range(60, 64)], "?ack=checkpoint")
    assert audit.verify("--silent")["passed"]
    size = audit.size()
    code = audit.citadel.stop()
    assert code == 0, (code, audit.citadel.log_tail())
    # The signed checkpoint is outside; as though the database had been restored from before it.
    audit.citadel.start()
    wait_until(audit.size, "the log is looked at")
    keep = size - 3
    sql = (f"DELETE FROM audit.entry WHERE idx >= {keep}; DELETE FROM audit.event WHERE idx >= {keep}; DELETE FROM audit.sealed "
           f"WHERE idx >= {keep};"
           f"UPDATE audit.tile SET hashes = substring(hashes FROM 1 FOR {keep * 32}) WHERE level = 0 AND idx = 0;"
           f"UPDATE audit.head SET size = {keep}, root = decode('{root_of(audit, keep)}', 'hex');"
           "DELETE FROM citadel.watermark w WHERE w.producer IN (SELECT producer FROM audit.entry) AND NOT EXISTS (SELECT FROM "
           "audit.entry e WHERE e.producer = w.producer AND e.epoch = w.epoch);"
           "UPDATE citadel.watermark w SET sequence = e.last FROM (SELECT producer, epoch, max(sequence) AS last FROM audit.entry "
           "GROUP BY 1, 2) e WHERE e.producer = w.producer AND e.epoch = w.epoch;")
    audit.psql(past_triggers(sql))

    def forked():
        for dependency in json.loads(audit.citadel.get("/readyz", key=False))["dependencies"]:
            if dependency["name"] == "audit_log" and "fork" in dependency["reason"]:
                return dependency
        return None
    found = wait_until(forked, "the fork is seen")
    assert not found["ready"] and "accept-fork" in found["reason"], found
    # Events are still taken, and wait.
    assert audit.post(event(70))[0] == 202
    audit.verify("--silent", expect=1)
    audit.citadel.run("audit", "accept-fork", "--reason", "restored from the backup of noon")
    wait_until(lambda: not forked(), "the log goes on")
    found = wait_until(lambda: audit.citadel.run_json("audit", "search", "--action", "audit.fork_accepted")["events"],
                       "the fork is recorded")
    assert "restored from the backup of noon" in found[0]["event"]["reason"], found
    # Who verified before sees it; who knows why begins anew, and the lost events are told as a gap.
    wait_until(lambda: audit.citadel.run_json("audit", "search", "--action", "audit.gap")["events"], "the gap is recorded")
    assert audit.post(event(80), "?ack=checkpoint")[0] == 200
    audit.verify("--silent", expect=1)
    verified = audit.verify("--forget")
    assert verified["passed"] and verified["sequences_excused"] > 0, verified


def root_of(audit, size):
    status, answer = audit.call("GET", f"/v1/audit/consistency?from=0&to={size}")
    assert status == 200, answer
    import base64
    return base64.b64decode(answer["root"]).hex()


class Load:
    """Producers that post batches of events to one daemon, and remember what it acknowledged."""

    def __init__(self, url, key, producers=4, pause_seconds=0.0):
        self.pause_seconds = pause_seconds
        self.url, self.key, self.acknowledged, self.stop = url, key, [], threading.Event()
        self.threads = [threading.Thread(target=self.produce) for _ in range(producers)]

    def produce(self):
        while not self.stop.is_set():
            ids = [uuid7() for _ in range(20)]
            body = json.dumps([event(n, id=id_) for n, id_ in enumerate(ids)]).encode()
            request = urllib.request.Request(self.url + "/v1/audit/events", data=body, headers={
                "Authorization": "Bearer " + self.key, "Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=40) as answer:
                    if answer.status == 202:
                        self.acknowledged.extend(ids)
            except OSError:
                time.sleep(0.05)
            self.stop.wait(self.pause_seconds)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def wait_for_more(self, count):
        before = len(self.acknowledged)
        wait_until(lambda: len(self.acknowledged) >= before + count, "events are acknowledged")


def check_all_logged(audit, acknowledged):
    """Each event that was acknowledged has one entry, and the log is good."""
    wanted = ",".join(f"'{id_}'" for id_ in acknowledged)
    found = audit.psql(f"SELECT count(*), count(DISTINCT id) FROM audit.entry WHERE id IN ({wanted})")
    assert found == f"{len(acknowledged)}|{len(acknowledged)}", (found, len(acknowledged))
    assert audit.post(event(99), "?ack=checkpoint")[0] == 200
    verified = audit.verify()
    assert verified["passed"] and verified["entries"] >= len(acknowledged), verified
    return verified


def admin_key(citadel):
    return (citadel.data / "admin.key").read_text().strip()


def undrained(url, key):
    request = urllib.request.Request(url + "/v1/status", headers={"Authorization": "Bearer " + key})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())["audit"]["journal"]["undrained_records"]


def check_killed(citadel):
    """kill -9 under load: what was acknowledged is in the log, once, and the log verifies."""
    audit = Audit(citadel)
    with Load(citadel.url, admin_key(citadel)) as load:
        for _ in range(3):
            load.wait_for_more(400)
            citadel.kill_daemon()
            citadel.start()
    wait_until(lambda: undrained(citadel.url, admin_key(citadel)) < 5, "all is in the log")
    verified = check_all_logged(audit, load.acknowledged)
    print(f"{len(load.acknowledged)} events acknowledged over three kills, {verified['entries']} entries verified")


def check_own_entries(audit, second):
    """The daemon's own: a configuration that was read again, with what changed, and a stop."""
    second.config.write_text(second.config.read_text() + '[breaker]\nmode = "observe_only"\n')
    second.process.send_signal(signal.SIGHUP)
    changed = wait_until(lambda: audit.entries(action="config.change"), "the change is in the log")[0]
    _, entry = audit.call("GET", f"/v1/audit/entries/{changed['index']}?open=groups")
    assert "breaker.mode" in json.dumps(entry) and "observe_only" in json.dumps(entry), entry
    second.stop()
    wait_until(lambda: audit.entries(action="audit.stopped"), "the stop is in the log")


def check_two_daemons(citadel):
    """They take turns at one log, also where one dies while it has its turn: no gap, no fork."""
    audit = Audit(citadel)

    def turns():
        return int(audit.psql("SELECT count(*) FROM (SELECT producer <> lag(producer) OVER (ORDER BY idx) AS turn FROM audit.entry) t "
                              "WHERE turn"))
    with AuditDaemon(citadel, "second") as second:
        # A pace that the log follows, however busy the machine is: it is their turns that count here.
        with Load(citadel.url, admin_key(citadel), 3, 0.1) as ours, Load(second.url, second.key, 3, 0.1) as theirs:
            for _ in range(3):
                ours.wait_for_more(200)
                theirs.wait_for_more(200)
                # What is acknowledged may still be in a journal: both have had the lock before the one dies.
                before = turns()
                wait_until(lambda: turns() >= before + 2, "both append to the log")
                second.kill()
                ours.wait_for_more(100)
                second.start()
        wait_until(lambda: undrained(citadel.url, admin_key(citadel)) + undrained(second.url, second.key) < 5, "all is in the log")
        check_own_entries(audit, second)
    verified = check_all_logged(audit, ours.acknowledged + theirs.acknowledged)
    assert verified["producers"] >= 3, verified
    assert not json.loads(citadel.get("/v1/status"))["audit"]["checkpoint"]["forked"]
    print(f"two daemons: {len(ours.acknowledged)} and {len(theirs.acknowledged)} events in {turns()} turns")


def main():
    with Citadel() as citadel:
        audit = Audit(citadel)
        index = check_recording(audit)
        check_bad_input(audit)
        check_proof(audit, index)
        check_search(audit)
        check_tail(audit)
        check_export(audit)
        check_foreign_reader(audit)
        check_row_changed_in_psql(audit)
        check_idempotence(audit)
        check_metrics(audit)
        check_tampering(audit, index)
        check_lost_tail(audit)
    with Citadel() as citadel:
        check_killed(citadel)
        check_two_daemons(citadel)


main()
