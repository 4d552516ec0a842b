#!/usr/bin/env python3
"""RST, swept through what the database answers and through what it is asked: no partial result is taken for a whole one,
and a commit whose answer is lost is neither lost nor done twice."""
from citadel_process import Citadel
from fault_daemon import Daemon
from invariants import Invariants
from load import Load

# From the first byte of an answer to the middle of a long result; and through a batch of the drain, its COMMIT included.
TO_CLIENT = [*range(0, 64, 3), *range(64, 1000, 40), *range(1000, 60000, 3500)]
TO_SERVER = [*range(0, 64, 3), *range(64, 1000, 40), *range(1000, 20000, 2000)]


def sweep(daemon, load, direction, offsets):
    """For each N the session that first reaches it ends after N bytes. Sessions are there before each, so it hits queries
    and batches; the login that follows is hit where N is small."""
    for offset in offsets:
        load.wait_reads(2)
        before = daemon.proxy()["resets"]
        daemon.proxy(f"reset_after {direction} {offset}")
        daemon.proxy.wait_for(f"resets after {offset} bytes {direction}", lambda counts: counts["resets"] > before)
        load.wait_posted(1)
    daemon.proxy("pass")
    load.wait_reads(10)


def break_logins(daemon, load, direction, offsets):
    """The same in the login of a new session."""
    for offset in offsets:
        before = daemon.proxy("reset_all")["resets"]
        daemon.proxy(f"reset_after {direction} {offset}")
        daemon.proxy.wait_for(f"login reset after {offset} bytes {direction}", lambda counts: counts["resets"] > before)
        load.wait_reads(1)
    daemon.proxy("pass")


def lose_commits(daemon, load):
    """COMMIT is done and its answer never comes: the drain's, since nobody else commits here."""
    before = daemon.proxy()["drops"]
    daemon.proxy("drop 20 COMMIT")
    daemon.proxy.wait_for("drops", lambda counts: counts["drops"] >= before + 20)
    daemon.proxy("pass")
    load.wait_posted(20)
    load.wait_reads(10)


with Citadel() as servers, Daemon(servers) as daemon:
    load = Load(daemon)
    load.settle(300)  # a long result
    invariants = Invariants(daemon, load)
    with load:
        load.wait_posted(20)
        sweep(daemon, load, "to_client", TO_CLIENT)
        sweep(daemon, load, "to_server", TO_SERVER)
        break_logins(daemon, load, "to_client", (0, 1, 20, 200))
        break_logins(daemon, load, "to_server", (1, 9, 60, 200))
        lose_commits(daemon, load)
    assert daemon.status()["drain"]["failures_total"] >= 20, "the drain's commits were not hit"
    invariants.check()
    print("posts", dict(load.post_statuses), "reads", dict(load.get_statuses), "slowest", load.slowest)
