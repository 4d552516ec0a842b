#!/usr/bin/env python3
"""`citadel audit report` of a real `citadel up` with known events: what it counts is there, each index that it names leads to an
entry, the sample can be drawn again, and a log that was tampered with has a report that says so."""
import html.parser
import json
import re
import subprocess

from audit_api import AuditApi, past_triggers
from citadel_process import BINARY, Citadel, wait_until

PROFILES = ("soc2", "eu-ai-act", "hipaa", "pci", "gdpr")


class Page(html.parser.HTMLParser):
    """What a reader could follow: ids, links and tags of a page."""

    VOID = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.open, self.outside = set(), set(), [], []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "id" in attrs:
            assert attrs["id"] not in self.ids, f"twice: {attrs['id']}"
            self.ids.add(attrs["id"])
        if tag == "a":
            self.links.add(attrs["href"])
        if tag in ("script", "img", "link", "iframe") or "src" in attrs:
            self.outside.append((tag, attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()


def report(citadel, *arguments, expect=0):
    done = subprocess.run([BINARY, "audit", "report", *arguments], env=citadel.client_environment(), capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == expect, done
    return done.stdout if expect == 0 or done.stdout else done.stderr


def topic(shown, title):
    return next(t for t in shown["topics"] if t["title"] == title)


def record_known(audit):
    """Ten of this, three of that."""
    audit.record(10, action="inference.complete", object={"type": "model", "id": "mixtral"})
    audit.record(3, action="human.override", object={"type": "answer", "id": "7"}, actor={"type": "user", "id": "grace"})
    audit.record(4, action="role.grant", object={"type": "role", "id": "admin"}, actor={"type": "user", "id": "root"})
    audit.record(6, action="auth.failure", outcome="denied", object={"type": "login", "id": "web"},
                 actor={"type": "user", "id": "mallory", "address": "203.0.113.9"})
    audit.record(2, action="auth.success", object={"type": "login", "id": "web"},
                 actor={"type": "user", "id": "ada", "auth_method": "mtls", "address": "192.0.2.1"})
    audit.record(5, action="config.change", object={"type": "config", "id": "limits"}, actor={"type": "user", "id": "<b>ops</b>"},
                 details={"before": 1, "after": 2})
    audit.citadel.run("audit", "search", "--actor", "ada")
    audit.citadel.run("audit", "verify")
    audit.record(1, ack="checkpoint")


def count_of(found, *key):
    return sum(group["count"] for group in found["groups"] if all(part in group["key"] for part in key))


def check_counts(citadel, since):
    shown = json.loads(report(citadel, "--profile", "soc2", "--from", since, "--json"))
    failed = topic(shown, "Failed logins and denied acts")
    assert count_of(failed, "203.0.113.9", "user mallory", "auth.failure") == 6, failed
    assert count_of(topic(shown, "Privileged activity"), "user root", "role.grant") == 4
    assert count_of(topic(shown, "Configuration changes"), "config.change", "user <b>ops</b>") == 5
    assert count_of(topic(shown, "Access review"), "user ada", "mtls", "192.0.2.1") == 2
    readers = topic(shown, "Who read the log")
    assert count_of(readers, "audit.searched") == 1 and count_of(readers, "audit.exported") >= 1, readers
    assert count_of(topic(shown, "Population and sample"), "inference.complete", "use", "success") == 10
    assert "Daemons started 1 times; 0 of these" in " ".join(topic(shown, "Outages and gaps")["statements"])
    assert count_of(topic(shown, "Verification transcript"), "audit.verified") == 1
    assert shown["verification"]["passed"] and shown["verification"]["entries"] == shown["entries_in_log"]
    # Each index stands for an entry, and the entry is of the kind.
    entries = {entry["index"]: entry for entry in shown["entries"]}
    for found in shown["topics"]:
        assert found["requirement"] and found["cannot_show"], found["title"]
        for group in found["groups"]:
            for index in group["entries"]:
                assert entries[index]["action"] in group["key"] or found["title"] == "Access review", (group, entries[index])
        assert all(index in entries for index in found["entries"])
    status, entry = AuditApi(citadel).call("GET", f"/v1/audit/entries/{failed['entries'][0]}")
    assert status == 200 and entry["event"]["actor"]["id"] == "mallory", entry
    proof = json.loads(AuditApi(citadel).citadel.get(f"/v1/audit/proof?index={failed['entries'][0]}"))
    assert proof["leaf_hash"] == entries[failed["entries"][0]]["leaf_hash"], proof
    return shown


def check_span_and_sample(citadel, since, shown):
    seed = shown["seed"]
    at = ("--profile", "soc2", "--from", since, "--to", shown["to"], "--json")
    again = json.loads(report(citadel, *at, "--seed", seed))
    sampled = lambda r: topic(r, "Population and sample")["entries"]
    assert sampled(again) == sampled(shown) and len(sampled(shown)) == 25 and again["entries_in_span"] == shown["entries_in_span"]
    assert sampled(json.loads(report(citadel, *at, "--seed", "1", "--sample", "5"))) != sampled(shown)
    empty = json.loads(report(citadel, "--profile", "soc2", "--from", "2020-01-01", "--to", "2020-02-01", "--json"))
    assert empty["entries_in_span"] == 0 and empty["verification"]["passed"], empty
    assert "not evidence that nothing happened" in " ".join(topic(empty, "Failed logins and denied acts")["statements"])
    for arguments, said in ((("--profile", "sox", "--from", since), "'sox' is not one of"),
                            (("--profile", "soc2", "--from", "yesterday"), "--from: 'yesterday' is neither"),
                            (("--profile", "soc2", "--from", "2026-02-01", "--to", "2026-01-01"), "--to: it must be after")):
        assert said in report(citadel, *arguments, expect=2), said


def check_pages(citadel, since):
    key = citadel.run("audit", "key").strip()
    for profile in PROFILES:
        file = citadel.folder / f"{profile}.html"
        report(citadel, "--profile", profile, "--from", since, "--key", key, "-o", str(file))
        text = file.read_text()
        page = Page(text)
        assert not page.outside and not re.search(r"url\(|@import", text), page.outside
        assert page.links and all(link[1:] in page.ids for link in page.links if link.startswith("#"))
        assert all(link.startswith("#") for link in page.links), page.links
        assert "The log verified while it was read" in text and "<b>ops</b>" not in text and "&lt;b&gt;ops&lt;/b&gt;" in text
        assert "key was the daemon" not in text, "the key was given"
        assert (file.stat().st_mode & 0o777) == 0o600
    oversight = (citadel.folder / "eu-ai-act.html").read_text()
    assert "human.override" in oversight and "Article" in oversight
    # Each was recorded, with who and of what.
    api = AuditApi(citadel)

    def recorded():
        reasons = [entry["event"]["reason"] for entry in api.entries(action="audit.reported")]
        return all(any(reason.startswith(f"{profile} of ") for reason in reasons) for profile in PROFILES)

    wait_until(recorded, "all are in the log")


def check_removed(audit, since, shown):
    """Content that somebody took away is not said to have been erased or dropped."""
    index = topic(shown, "Configuration changes")["entries"][0]
    verified = json.loads(report(audit.citadel, "--profile", "pci", "--from", since, "--json"))["verification"]
    assert verified["contents_not_there"] == 0, verified
    audit.psql(f"SET LOCAL citadel.audit_erasing = 'on'; DELETE FROM audit.event WHERE idx = {index}")
    found = json.loads(report(audit.citadel, "--profile", "pci", "--from", since, "--json"))
    assert found["verification"]["contents_not_there"] == 1 and found["verification"]["contents_dropped"] == 0, found
    said = " ".join(topic(found, "Verification transcript")["statements"])
    assert f"from entry {index} to {index}, nothing in this log says why" in said, said
    return index


def check_tampered(audit, since, shown, removed):
    """Somebody with every right in PostgreSQL changes what an entry says."""
    citadel = audit.citadel
    index = next(i for i in topic(shown, "Privileged activity")["entries"] if i != removed)
    audit.psql(past_triggers(f"UPDATE audit.event SET envelope = set_byte(envelope, 20, get_byte(envelope, 20) # 1) WHERE idx = {index}"))
    file = citadel.folder / "tampered.html"
    said = report(citadel, "--profile", "soc2", "--from", since, "-o", str(file), expect=1)
    assert "FAULT" in said and str(index) in said, said
    text = file.read_text()
    assert "The log did not verify" in text and "The log verified" not in text, text[:3000]


def main():
    with Citadel(first=True) as citadel:  # starts are counted
        audit = AuditApi(citadel)
        since = "2020-01-01T00:00:00Z"
        record_known(audit)
        shown = check_counts(citadel, since)
        check_span_and_sample(citadel, since, shown)
        check_pages(citadel, since)
        removed = check_removed(audit, since, shown)
        check_tampered(audit, since, shown, removed)


main()
