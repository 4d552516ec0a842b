#!/usr/bin/env python3
"""The daemon dies as by kill -9 at every named step of an audit event's way, while several producers append: journal, segment,
cursor, unlink, drain, checkpoint store, publisher, and statements of its transactions. Another daemon lives on the same
database. Started again each time: every acknowledged event is in the log once, and the log verifies without a hole."""
import re

from audit_api import call, event, psql, uuid7
from audit_trail import AuditDaemon, AuditLoad, Session, check_log, check_once
from citadel_process import SOURCE, Citadel, wait_until

# Reached only after a torn start, an error of the disk, a clean stop, or a cursor file that has grown long; the journal's own
# crash test passes them.
ELSEWHERE = ("journal.recovery.", "journal.seal.", "journal.cursor.before_replace", "journal.cursor.after_replace")
# At which passings. The journal of requests is opened first, so the audit journal's start is the second passing. The statements
# of a life are gone through one by one in src/audit/audit_crashtest.cpp.
PASSINGS = {"journal.epoch.": (1, 2), "journal.segment.": (2, 3), "journal.append.": (2, 30), "drain.": (1, 6),
            "checkpoint.history.": (1,), "checkpoint.": (1, 3), "publisher.": (1, 3), "pg.": (20, 77)}


def points():
    text = (SOURCE / "src" / "base" / "crash_point.hpp").read_text()
    for name in re.findall(r'"([a-z_.]+)",', text):
        if not name.startswith(ELSEWHERE):
            for passing in next((nths for start, nths in PASSINGS.items() if name.startswith(start)), (1,)):
                yield f"{name}:{passing}"


# Each verification reads the whole log again.
VERIFIED_EACH = 15


def at_each_point(servers):
    """Twice as many deaths as points: what recovered from one is killed too, at whatever it does then."""
    survived, count, checked = [], 0, 0
    with AuditDaemon(servers) as daemon, AuditLoad(daemon) as load:
        for point in points():
            daemon.kill()
            daemon.launch(point)
            if not daemon.wait_dead():
                survived.append(point)
            count += 2
            daemon.start()
            load.wait_for_more(10)
            with load.resting():  # the log is read from its beginning each time, and should not be long
                acknowledged = load.so_far()
                check_once(servers, acknowledged[checked:], point)
                if count // 2 % VERIFIED_EACH == 0:
                    check_log(servers, daemon, acknowledged[checked:], what=point, verify=("--sealed",))
                checked = len(acknowledged)
        assert not survived, f"these crash points were never passed, so nothing was tested there: {survived}"
        verified = check_log(servers, daemon, load.so_far(), what="the end")
    print(f"{count} deaths, {len(load.acknowledged)} events acknowledged, {verified['entries']} entries verified")


def with_the_log_locked(servers):
    """One of two daemons is killed while its transaction holds the log's lock: seen in pg_locks, and made sure by a table that
    the transaction waits for. Nothing of it is in the log; the other goes on; started again, it logs its own events."""
    with AuditDaemon(servers, "locking") as daemon:
        assert daemon.post([event(n) for n in range(3)], "?ack=database")[0] == 200
        waiting = Session(servers, "LOCK TABLE audit.tile IN ACCESS EXCLUSIVE MODE")
        ids = [uuid7() for _ in range(20)]
        assert daemon.post([event(n, id=id_) for n, id_ in enumerate(ids)])[0] == 202
        holder = ("SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND "
                  "l.classid = 4850147 AND l.objid = 2 AND l.granted")
        wait_until(lambda: psql(servers, holder) == "citadel_locking", "its transaction holds the log's lock")
        daemon.kill()
        theirs = [uuid7() for _ in range(5)]
        key = (servers.data / "admin.key").read_text().strip()
        status, answer = call(servers.url, key, "POST", "/v1/audit/events", [event(n, id=id_) for n, id_ in enumerate(theirs)])
        assert status == 202, answer
        assert psql(servers, holder) == "citadel_locking", "the dead daemon's transaction is still there"
        waiting.close()
        check_once(servers, theirs, "the other daemon's")
        assert psql(servers, f"SELECT count(*) FROM audit.entry WHERE id = ANY('{{{','.join(ids)}}}')") == "0", "half a batch"
        daemon.start()
        check_log(servers, daemon, ids + theirs, what="killed with the lock")
        assert not daemon.status()["checkpoint"]["forked"]


def main():
    with Citadel() as servers:
        with_the_log_locked(servers)
        at_each_point(servers)


main()
