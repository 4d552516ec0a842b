#!/usr/bin/env python3
"""Sessions that take the drain's rows in the opposite order, and the dictionary's: PostgreSQL ends transactions of the daemon
by 40P01 and, while it verifies itself, by 40001. Each is run again, whole and within the budget of retries; nobody sees it,
and when the storm is over the drain catches up."""
import json
import random
import threading

from citadel_process import Citadel, wait_until
from fault_daemon import Daemon, Psql
from invariants import Invariants
from load import Load

OURS = "application_name = 'citadel_fault'"
ROUNDS = 5
# The drain takes minutes, hours, days. What a round has changed is undone.
STORM = """do $storm$ begin
  loop
    begin
      update usage.rollup_day set requests = requests;
      perform pg_sleep(0.02);
      update usage.rollup_hour set requests = requests;
      update usage.rollup_minute set requests = requests;
      raise exception 'undo';
    exception when others then null;
    end;
    perform pg_sleep(0.03);
  end loop;
end $storm$"""


def ended_by(servers, what):
    """How many statements of the daemon PostgreSQL has ended so; of its log, because it must have reached the daemon."""
    return sum(1 for line in (servers.data / "log" / "postgres.log").read_text(errors="replace").splitlines()
               if " citadel_fault ERROR:  " in line and what in line)


class Storm:
    """Two sessions, each of which waits longer for its locks than the daemon's do: so theirs are the transactions that end."""

    def __init__(self, servers):
        self.servers = servers
        self.sessions = []

    def __enter__(self):
        for i in range(2):
            psql = Psql(self.servers)
            psql(f"set application_name = 'storm'; set deadlock_timeout = '{60 + i}s'")
            psql.process.stdin.write(STORM + ";\n")
            psql.process.stdin.flush()
            self.sessions.append(psql)
        return self

    def __exit__(self, *_):
        with Psql(self.servers) as psql:
            psql("select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'storm'")
        for session in self.sessions:
            session.close()


def rollups(servers, daemon, load):
    """40P01 ends batches of the drain."""
    before = ended_by(servers, "deadlock detected"), daemon.metrics()["citadel_drain_failures_total"]
    with Storm(servers):
        wait_until(lambda: ended_by(servers, "deadlock detected") >= before[0] + 2 * ROUNDS, "batches end by deadlocks", 60)
        load.wait_posted(50)
        load.wait_reads(20)
    assert daemon.metrics()["citadel_drain_failures_total"] >= before[1] + 2 * ROUNDS, "the drain has not seen them"
    wait_until(lambda: daemon.metrics()["citadel_journal_oldest_undrained_seconds"] < 1, "the drain has caught up")


def cross(servers, daemon, load, holder, watcher, names):
    """The daemon makes both names in one transaction while `holder` has the last and then wants the first. PostgreSQL looks for
    a cycle once, when a session has waited for deadlock_timeout: true where it was there by then, and ended the daemon's."""
    first, last = names
    dead = ended_by(servers, "deadlock detected")
    holder(f"begin; insert into usage.model (name) values ('{last}')")
    rng = random.Random(first)
    records = [load.record(rng, name) for name in names]
    with load.lock:
        load.sent.update((r["id"], r) for r in records)
    status, answer = daemon.request("POST", "/v1/requests", json.dumps(records))
    assert status == 202, answer
    load.acknowledged.update(r["id"] for r in records)
    wait_until(lambda: watcher.value(f"select count(*) from pg_stat_activity where {OURS} and wait_event_type = 'Lock'") != "0",
               "the daemon waits for a name")
    # Returns when the daemon's has ended. Where a batch ended between the two records, the first name is there by now.
    holder(f"insert into usage.model (name) values ('{first}') on conflict do nothing")
    holder("rollback")
    return ended_by(servers, "deadlock detected") > dead


def dictionary(servers, daemon, load):
    """40P01 ends transactions that make names: each is run again as a whole by its own caller."""
    before = daemon.metrics()["citadel_transaction_retries_total"]
    crossed, tried = 0, 0
    with Psql(servers) as holder, Psql(servers) as watcher:
        holder("set deadlock_timeout = '60s'")
        while crossed < ROUNDS:
            assert tried < 10 * ROUNDS, f"only {crossed} of {tried} were ended by a deadlock"
            crossed += cross(servers, daemon, load, holder, watcher, (f"storm-{tried}-a", f"storm-{tried}-b"))
            tried += 1
            load.wait_posted(5)
    wait_until(lambda: daemon.metrics()["citadel_transaction_retries_total"] >= before + ROUNDS, "each was run again")


def serializable(servers, daemon, load):
    """The daemon's own checks run transactions of which PostgreSQL must end one by 40001 and one by 40P01."""
    before = daemon.metrics()["citadel_transaction_retries_total"], ended_by(servers, "could not serialize access")
    found = {}

    def verify():
        connection = daemon.connection(timeout=200)
        status, found["report"] = daemon.request("POST", "/v1/verify?disruptive=false", connection=connection)
        connection.close()
        assert status == 200, found

    thread = threading.Thread(target=verify)
    with Storm(servers):
        thread.start()
        thread.join(200)
    assert "report" in found, "the daemon has not verified itself"
    checks = {check["id"]: check for check in found["report"]["checks"]}
    for name in ("R6.rollback", "R6.deadlock_retried", "R6.serialization_retried"):
        assert checks[name]["passed"], checks[name]
    assert ended_by(servers, "could not serialize access") > before[1], "no transaction was ended by 40001"
    assert daemon.metrics()["citadel_transaction_retries_total"] >= before[0] + 2
    load.wait_posted(20)


with Citadel() as servers, Daemon(servers) as daemon:
    load = Load(daemon)
    load.settle()
    with Psql(servers) as psql:
        # Soon, and not before the other side has asked for its second lock; the storm's sessions have their own.
        psql("alter system set deadlock_timeout = '300ms'")
        psql("select pg_reload_conf()")
        wait_until(lambda: psql.value("show deadlock_timeout") == "300ms", "PostgreSQL has read it")
    invariants = Invariants(daemon, load)
    with load:
        load.wait_reads(20)
        for storm in (rollups, dictionary, serializable):
            storm(servers, daemon, load)
            print(storm.__name__, "ended by deadlock", ended_by(servers, "deadlock detected"), "drain's failures",
                  daemon.metrics()["citadel_drain_failures_total"], "retries",
                  daemon.metrics()["citadel_transaction_retries_total"], flush=True)
        # As much is answered as before, and what is acknowledged gets into the database.
        load.wait_reads(50)
        wait_until(lambda: daemon.metrics()["citadel_journal_oldest_undrained_seconds"] < 1, "the drain keeps up")
    assert set(load.post_statuses) == {202}, f"a record was refused: {load.post_statuses}"
    invariants.check()
    print("posts", dict(load.post_statuses), "reads", dict(load.get_statuses), "slowest", load.slowest)
