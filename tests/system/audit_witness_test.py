#!/usr/bin/env python3
"""Witnesses (C2SP tlog-witness) of a real `citadel up`, made of Go's code: they cosign what is consistent, a quorum that is
missing is told and stops nothing, and a log that was put back in time, with its checkpoints, is not cosigned again."""
import os
import pathlib
import shutil
import signal
import subprocess
import time

from audit_api import AuditApi
from audit_witness import TOOLS, Witness, cosignatures
from citadel_process import BINARY, Citadel, wait_until


def check_cosigned(audit, witnesses):
    citadel = audit.citadel
    answer = audit.record(3, ack="checkpoint")
    assert cosignatures(answer["checkpoint"]) == 3 and "note" not in answer, answer
    assert cosignatures(answer["events"][0]["proof"]) == 3, answer
    assert cosignatures(citadel.get("/tlog/checkpoint")) == 3
    state = audit.status()["witnesses"]
    assert state["quorum_met"] and [w["state"] for w in state["witnesses"]] == ["cosigned"] * 3, state
    assert audit.dependency("audit_witnesses")["ready"] and audit.metric("citadel_audit_witness_quorum_met") == 1
    # Code that is not ours finds all four signatures good.
    key = citadel.run("audit", "key").strip()
    environment = dict(os.environ, CITADEL_TLOG_KEY=(citadel.data / "admin.key").read_text().strip())
    done = subprocess.run([TOOLS / "tlog_reader", citadel.url + "/tlog", key, *(w.key for w in witnesses)], env=environment,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done


def check_verified_offline(audit, witnesses):
    citadel = audit.citadel
    key, export = citadel.run("audit", "key").strip(), str(citadel.folder / "export.jsonl")
    citadel.run("audit", "export", "-o", export)
    keys = citadel.folder / "witness.keys"
    keys.write_text("".join(w.key + "\n" for w in witnesses))
    offline = ("audit", "verify", "--export", export, "--key", key)
    shown = citadel.run_json(*offline, "--witness", str(keys))
    assert shown["passed"] and {w["name"] for w in shown["witnesses"]} == {f"witness.example/w{n}" for n in (1, 2, 3)}, shown
    assert citadel.run_json("audit", "verify", "--witness", witnesses[0].key, "--quorum", "1")["passed"]
    assert "cosigned by        witness.example/w1 at 20" in citadel.run(*offline, "--witness", witnesses[0].key)
    # A witness that was never asked has not cosigned; with a quorum it need not.
    stranger = subprocess.run([TOOLS / "witness", "new", "witness.example/stranger", citadel.folder / "stranger.key"],
                              check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    shown = citadel.run_json(*offline, "--witness", stranger, "--witness", str(keys), expect=1)
    assert "3 witnesses have signed the checkpoint; 4 are needed" in shown["fault"], shown
    assert citadel.run_json(*offline, "--witness", stranger, "--witness", str(keys), "--quorum", "3")["passed"]
    citadel.run(*offline, "--witness", str(keys), "--quorum", "4", expect=2)
    citadel.run(*offline, "--quorum", "1", expect=2)
    citadel.run(*offline, "--witness", key, expect=2)
    # Somebody changes one digit of a cosignature.
    text = pathlib.Path(export).read_text()
    at = text.rindex("witness.example/w2 ") + len("witness.example/w2 ") + 40
    pathlib.Path(export).write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1:])
    citadel.run(*offline, "--witness", str(keys), expect=1)


def check_away(audit, witnesses):
    """The log goes on without them, says so, and has the cosignatures of the same checkpoint when they are back."""
    w1, w2, w3 = witnesses
    w3.kill()
    answer = audit.record(2, ack="checkpoint")
    assert cosignatures(answer["checkpoint"]) == 2 and "note" not in answer, answer
    assert audit.status()["witnesses"]["witnesses"][2]["state"] == "away", audit.status()
    w2.kill()
    answer = audit.record(2, ack="checkpoint")
    assert cosignatures(answer["checkpoint"]) == 1 and "quorum" in answer["note"], answer
    shown = audit.dependency("audit_witnesses")
    assert not shown["ready"] and not shown["required"] and "quorum two is not met" in shown["reason"], shown
    assert audit.metric("citadel_audit_witness_quorum_met") == 0 and audit.metric("citadel_audit_cosignatures") == 1
    assert audit.metric("citadel_audit_witness_failures_total") >= 2
    # One that takes the request and does not answer costs its timeout, and not again before its time.
    w1.process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    answer = audit.record(2, ack="checkpoint")
    assert cosignatures(answer["checkpoint"]) == 0 and time.monotonic() - begun < 15, (time.monotonic() - begun, answer)
    for _ in range(5):
        audit.record(20, ack="database")
    w1.process.send_signal(signal.SIGCONT)
    w2.start()
    w3.start()
    wait_until(lambda: audit.status()["witnesses"]["cosignatures"] == 3, "the last checkpoint is cosigned by all")
    assert audit.dependency("audit_witnesses")["ready"]
    assert cosignatures(audit.citadel.get("/tlog/checkpoint")) == 3
    assert audit.citadel.run_json("audit", "verify")["passed"]


def check_put_back(audit, witnesses):
    """Database and checkpoint folder are put back together, which nobody inside can see."""
    citadel = audit.citadel
    citadel.stop()
    kept = citadel.folder / "kept"
    subprocess.run(["cp", "-a", citadel.data, kept], check=True, timeout=120)
    citadel.start()
    audit.record(30, ack="checkpoint")
    citadel.stop()
    seen = witnesses[0].size()
    shutil.rmtree(citadel.data)
    kept.rename(citadel.data)
    citadel.start()
    status = wait_until(lambda: audit.status()["witnesses"]["witnesses"][0]["state"] == "ahead" and audit.status(), "one is ahead")
    assert not status["checkpoint"]["forked"] and "lost its tail" in status["witnesses"]["witnesses"][0]["last_error"], status
    while audit.status()["checkpoint"]["size"] <= seen:
        audit.record(20)
    answer = audit.record(1, ack="checkpoint")
    assert cosignatures(answer["checkpoint"]) == 0 and "quorum" in answer["note"], answer
    wait_until(lambda: [w["state"] for w in audit.status()["witnesses"]["witnesses"]] == ["inconsistent"] * 3, "all refuse it")
    assert [w.size() for w in witnesses] == [seen] * 3
    assert not audit.dependency("audit_witnesses")["ready"] and audit.metric("citadel_audit_witnesses_contradicting") == 3
    noted = wait_until(lambda: audit.entries(action="audit.witness_refused"), "it is in the log")
    assert {e["event"]["object"]["id"] for e in noted} <= {"w1", "w2", "w3"}, noted
    assert "0 witnesses have signed" in citadel.run_json("audit", "verify", "--witness", witnesses[0].key, expect=1)["fault"]


def check_bad_policy(citadel, policy):
    citadel.stop()
    for text, said in (("quorum none\n", "there is no witness in it"), ("witness w1\n", "line 1: a witness is"),
                       (policy.read_text().replace("http://", "ftp://", 1), "is not a URL like http")):
        policy.write_text(text)
        done = subprocess.run([BINARY, "up", "--data", citadel.data, "--http", f"127.0.0.1:{citadel.http}", "--pgpool-port",
                               str(citadel.pgpool), "--postgres-port", str(citadel.postgres)], env=citadel.environment,
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2 and "audit.witness_policy_file" in done.stderr and said in done.stderr, done


def main():
    with Citadel() as citadel:
        audit = AuditApi(citadel)
        key = citadel.run("audit", "key").strip()
        assert audit.dependency("audit_witnesses") is None and audit.metric("citadel_audit_witness_quorum_met") == 1
        citadel.stop()
        witnesses = [Witness(citadel, name, key) for name in ("w1", "w2", "w3")]
        try:
            policy = citadel.folder / "policy"
            policy.write_text("".join(f"witness {w.name} {w.key} {w.url}\n" for w in witnesses) +
                              "group two 2 w1 w2 w3\nquorum two\n")
            citadel.environment["CITADEL_AUDIT_WITNESS_POLICY_FILE"] = str(policy)
            citadel.start()
            check_cosigned(audit, witnesses)
            check_verified_offline(audit, witnesses)
            check_away(audit, witnesses)
            check_put_back(audit, witnesses)
            check_bad_policy(citadel, policy)
        finally:
            for witness in witnesses:
                witness.kill()


main()
