#!/usr/bin/env python3
"""Shows that the invariants of the fault tests can fail: each is broken on purpose, and the check that is for it says so."""
from citadel_process import Citadel
from fault_daemon import Daemon, Psql
from invariants import Invariants
from load import Load


def expect(check, said):
    try:
        check()
    except AssertionError as error:
        assert said in str(error), f"failed, but with other words: {error}"
        return
    raise SystemExit(f"{check.__name__} has not noticed it: {said}")


def tampered(psql, check, said, break_it, mend_it):
    psql(break_it)
    expect(check, said)
    psql(mend_it)


with Citadel() as servers, Daemon(servers) as daemon, Psql(servers) as psql:
    load = Load(daemon)
    load.settle()
    invariants = Invariants(daemon, load)
    with load:
        load.wait_posted(20)
        load.wait_reads(20)
    invariants.check()
    id_ = load.settled_list[0]
    other = "birch" if load.settled[id_]["tenant"] == "ash" else "ash"
    row = f"usage.request where id = '{id_}'"
    tampered(psql, invariants.check_records, "acknowledged records are lost",
             f"create table public.kept as select * from {row}; delete from {row}",
             "insert into usage.request select * from public.kept")
    tampered(psql, invariants.check_records, f"{id_}: stored ('{other}'",
             f"update usage.request set tenant_id = (select id from usage.tenant where name = '{other}') where id = '{id_}'",
             f"update usage.request set tenant_id = (select tenant_id from public.kept) where id = '{id_}'")
    foreign = load.sent.pop(id_)
    load.acknowledged.discard(id_)
    expect(invariants.check_records, "records that nobody sent")
    load.sent[id_] = foreign
    load.acknowledged.add(id_)
    invariants.check_records()
    for rollup in ("minute", "hour", "day"):
        tampered(psql, invariants.check_sums, f"sums by {rollup}",
                 f"update usage.rollup_{rollup} set requests = requests + 1",
                 f"update usage.rollup_{rollup} set requests = requests - 1")
    invariants.check()

    # A reader takes no part of a result for the whole.
    load.settled_list = load.settled_list[:-1]
    with load:
        load.wait_reads(20)
    expect(invariants.check_answers, "wrong answers")
    load.wrong.clear()
    load.slowest["GET"] = daemon.seconds("http", "request_timeout") + 60
    expect(invariants.check_answers, "GET took")

    invariants.counters["retries_total"] -= 10**6
    expect(invariants.check_retries, "retries of")

    held = [daemon.connection() for _ in range(20)]
    for connection in held:
        daemon.request("GET", "/healthz", connection=connection, key=False)
    expect(lambda: invariants.check_baseline(2), "descriptors are back")
    for connection in held:
        connection.close()
    with Psql(servers) as left:
        left("set application_name = 'citadel_fault'; begin; select 1")
        expect(lambda: invariants.check_baseline(2), "no session is left behind")
    invariants.check_baseline()
