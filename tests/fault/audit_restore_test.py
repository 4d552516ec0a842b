#!/usr/bin/env python3
"""The database is put back to an older backup while its signed checkpoints are not: each daemon refuses to go on and says why,
goes on serving the checkpoint that contradicts the log, and takes events into its journal. An operator accepts it at each; that is
an entry each time, what was lost is recorded, and the log verifies again."""
import json
import pathlib
import shutil
import urllib.request

from audit_api import call, event, psql, uuid7
from audit_trail import AuditDaemon, check_log
from citadel_process import Citadel, wait_until


def fork_of(url):
    with urllib.request.urlopen(url + "/readyz", timeout=20) as answer:
        for dependency in json.loads(answer.read())["dependencies"]:
            if dependency["name"] == "audit_log" and "fork" in dependency["reason"]:
                return dependency["reason"]
    return None


def checkpoint_of(url, key):
    request = urllib.request.Request(url + "/tlog/checkpoint", headers={"Authorization": "Bearer " + key})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode()


def post_some(post, count):
    ids = [uuid7() for _ in range(count)]
    status, answer = post([event(n, id=id_) for n, id_ in enumerate(ids)])
    assert status == 200, answer
    return ids


def main():
    with Citadel() as first:
        key = (first.data / "admin.key").read_text().strip()

        def post(body, query="?ack=checkpoint"):
            return call(first.url, key, "POST", "/v1/audit/events" + query, body)

        with AuditDaemon(first, "second") as second:
            kept = post_some(post, 20) + post_some(lambda body: second.post(body, "?ack=checkpoint"), 20)
            second.stop()
            assert first.stop() == 0
            backup = first.folder / "backup"
            shutil.copytree(first.data / "postgres", backup, symlinks=True)
            own(first.data / "postgres", backup)
            first.start()
            second.start()
            lost = post_some(post, 30) + post_some(lambda body: second.post(body, "?ack=checkpoint"), 30)
            second.stop()
            assert first.stop() == 0
            signed = [(folder / "checkpoint").read_text() for folder in (first.data / "checkpoint", second.folder / "checkpoint")]
            shutil.move(first.data / "postgres", first.folder / "newer")
            shutil.move(backup, first.data / "postgres")

            first.start()
            second.start()
            for url, name in ((first.url, "first"), (second.url, "second")):
                reason = wait_until(lambda u=url: fork_of(u), f"{name} sees the fork")
                assert "lost the tail" in reason and "accept-fork" in reason, reason
            # What is signed contradicts the log, and is there for whoever wants to know, also after a start.
            assert checkpoint_of(first.url, key) == signed[0] and checkpoint_of(second.url, second.key) == signed[1]
            size = psql(first, "SELECT size FROM audit.head")
            waiting = [uuid7() for _ in range(5)]
            assert second.post([event(n, id=id_) for n, id_ in enumerate(waiting)])[0] == 202
            assert post(event(), "")[0] == 202
            assert psql(first, "SELECT size FROM audit.head") == size, "something was appended to a log that has forked"
            status, problem = call(first.url, key, "POST", "/v1/audit/accept-fork", {})
            assert status == 400, problem

            first.run("audit", "accept-fork", "--reason", "the backup of noon was restored")
            wait_until(lambda: not fork_of(first.url), "the first goes on")
            # The other has signed another line, and decides for itself; it is not carried along.
            assert fork_of(second.url)
            second.client("audit", "accept-fork", "--reason", "as the first")
            wait_until(lambda: not fork_of(second.url), "the second goes on")
            status, problem = call(first.url, key, "POST", "/v1/audit/accept-fork", {"reason": "again"})
            assert status == 409, problem

            found = wait_until(lambda: (lambda events: events if len(events) == 2 else None)(
                json.loads(second.client("audit", "search", "--action", "audit.fork_accepted", "--json"))["events"]), "both are recorded")
            assert {f["event"]["reason"] for f in found} == {"the backup of noon was restored", "as the first"}, found
            wait_until(lambda: len(json.loads(second.client("audit", "search", "--action", "audit.gap", "--json"))["events"]) >= 2,
                       "what was lost is recorded")
            assert psql(first, "SELECT count(*) FROM audit.entry WHERE id IN (" + ",".join(f"'{id_}'" for id_ in lost) + ")") == "0"
            second.post(event(), "?ack=checkpoint")
            verified = second.verify()
            assert verified["passed"] and verified["sequences_excused"] >= len(lost), verified
            check_log(first, second, kept + waiting, excused=verified["sequences_excused"], what="restored")
            print(len(lost), "events lost,", verified["sequences_excused"], "excused,", verified["entries"], "entries")


def own(like, folder):
    """The cluster belongs to whoever may run PostgreSQL."""
    there = pathlib.Path(like).stat()
    for path in [folder, *folder.rglob("*")]:
        shutil.chown(path, there.st_uid, there.st_gid)


main()
