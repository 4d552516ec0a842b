#!/usr/bin/env python3
"""PostgreSQL itself: locks held against reads and against the drain, one backend ended, one backend killed. Callers end by
their deadlines, statements are seen to be cancelled, sessions are replaced, and nothing is lost or counted twice."""
import os
import signal

from citadel_process import Citadel, wait_until
from fault_daemon import Daemon, Psql
from invariants import Invariants
from load import Load

OURS = "application_name = 'citadel_fault'"


def slow_reads(servers, daemon, load):
    """A lock makes every read slow: its statement is cancelled at the deadline, and gone from the server."""
    with Psql(servers) as psql, Psql(servers) as watcher:
        psql("begin; lock table usage.request, usage.rollup_minute, usage.rollup_hour, usage.rollup_day "
             "in access exclusive mode")
        wait_until(lambda: watcher.value(f"select count(*) from pg_stat_activity where {OURS} and wait_event_type = 'Lock'")
                   != "0", "statements wait for the lock")
        load.wait_status(504)
        load.wait_posted(50)
        waiting = set(watcher(f"select pid || ' ' || query_start from pg_stat_activity where {OURS} and "
                              "wait_event_type = 'Lock' and query not like '%insert%' and query not like '%COPY%'"))
        # Each of these is cancelled while the lock is still held, so nothing but its deadline can have ended it.
        wait_until(lambda: not waiting & set(watcher(
            f"select pid || ' ' || query_start from pg_stat_activity where {OURS} and wait_event_type = 'Lock'")),
            "waiting statements are cancelled at the server")
        psql("rollback")
    load.wait_reads(20)


def locks_held(servers, daemon, load):
    """Locks on what the drain updates, held for a moment again and again, and once for longer than a batch may take. Locks in
    opposite orders: lock_storm_test.py."""
    before = daemon.status()["drain"]
    with Psql(servers) as one, Psql(servers) as two:
        for _ in range(15):
            one("begin; select from usage.rollup_day for update")
            wait_until(lambda: two.value("select count(*) from pg_locks where not granted") != "0", "the drain waits for the lock")
            one("rollback")
            load.wait_posted(5)
        one("begin; lock table usage.rollup_minute in exclusive mode")
        wait_until(lambda: daemon.status()["drain"]["failures_total"] > before["failures_total"],
                   "a batch fails by its timeout and is tried again")
        load.wait_posted(50)
        one("rollback")
    wait_until(lambda: daemon.status()["drain"]["stored_total"] > before["stored_total"], "the drain goes on")
    load.wait_reads(20)


def backends_end(servers, daemon, load):
    """pg_terminate_backend under load: whoever had it is tried again on another session."""
    with Psql(servers) as psql:
        for _ in range(10):
            ended = wait_until(lambda: psql(f"select pg_terminate_backend(pid) from pg_stat_activity where {OURS} and "
                                            "state <> 'idle' limit 1"), "a busy backend was found and ended")
            assert ended == ["t"]
            load.wait_posted(5)
            load.wait_reads(3)


def backend_killed(servers, daemon, load):
    """kill -9 of one backend: PostgreSQL ends all sessions and recovers."""
    with Psql(servers) as psql:
        started = psql.value("select pg_postmaster_start_time()")
        pid = int(wait_until(lambda: psql.value(f"select pid from pg_stat_activity where {OURS} limit 1"), "a backend"))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "terminated by signal 9" in (servers.data / "log" / "postgres.log").read_text(errors="replace"),
               "PostgreSQL has noticed")
    load.wait_posted(50)
    load.wait_reads(20)
    with Psql(servers) as psql:
        assert psql.value("select pg_postmaster_start_time()") == started, "only the backends were ended"


with Citadel() as servers, Daemon(servers) as daemon:
    load = Load(daemon)
    load.settle()
    invariants = Invariants(daemon, load)
    with load:
        load.wait_reads(20)
        for fault in (slow_reads, locks_held, backends_end, backend_killed):
            fault(servers, daemon, load)
    assert daemon.metrics()["citadel_pool_recovered_total"] > 0, "no session was cancelled and proven"
    invariants.check()
    print("posts", dict(load.post_statuses), "reads", dict(load.get_statuses), "slowest", load.slowest)
