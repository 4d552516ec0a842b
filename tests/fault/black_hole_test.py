#!/usr/bin/env python3
"""The network to the database swallows bytes, is slow, or refuses: no caller hangs past its deadline, records go on being
acknowledged, and all of it is in the database once the network is back."""
import time

from citadel_process import Citadel, wait_until
from fault_daemon import Daemon
from invariants import RETRIES_KEPT, RETRIES_PER_SECOND, RETRY_SHARE, Invariants
from load import Load


def database_of(daemon):
    readiness = daemon.get("/readyz", key=False)
    return next(d for d in readiness["dependencies"] if d["name"] == "database")


def both(daemon, command):
    daemon.proxy(command)
    daemon.direct(command)


def black_hole(daemon, load, command):
    """Both ways to PostgreSQL are swallowed. A half-open connection is one direction of it."""
    holds = daemon.proxy()["holds"]
    both(daemon, command)
    daemon.proxy.wait_for("holds", lambda counts: counts["holds"] > holds)
    load.wait_status(504)
    load.wait_posted(50)
    wait_until(lambda: daemon.status()["database"]["breaker"]["state"] != "closed", "the breaker opens")
    assert not database_of(daemon)["ready"] or "busy" in database_of(daemon)["reason"]
    both(daemon, "pass")
    load.wait_reads(20)


def latency(daemon, load):
    """Every byte comes late, in slices: slow, and right."""
    daemon.proxy("delay to_client 30")
    daemon.proxy("delay to_server 30")
    daemon.proxy("slice 512")
    load.wait_reads(20)
    counts = daemon.proxy("pass")
    assert counts["delays"] > 0 and counts["slices"] > 0, counts
    load.wait_posted(20)


def too_slow(daemon, load):
    """So late that no answer comes by the deadline."""
    before = daemon.proxy()["delays"]
    daemon.proxy(f"delay to_client {int(daemon.seconds('http', 'request_timeout') * 1500)}")
    load.wait_status(503, 504)
    load.wait_posted(50)
    assert daemon.proxy("pass")["delays"] > before
    load.wait_reads(20)


def refused(daemon, load):
    """As when Pgpool-II is down: said, shed at once, and not hammered."""
    before, began, failed = daemon.status()["database"], time.monotonic(), daemon.metrics()["citadel_pool_open_failed_total"]
    both(daemon, "refuse on")
    both(daemon, "reset_all")
    wait_until(lambda: daemon.status()["database"]["breaker"]["state"] == "open", "the breaker opens")
    found = database_of(daemon)
    assert not found["ready"] and "the circuit breaker is open" in found["reason"], found
    assert daemon.get("/readyz", key=False)["status"] == "degraded"
    assert "refused" in daemon.status()["database"]["pool"]["last_open_error"]
    load.wait_posted(100)
    elapsed = time.monotonic() - began
    after = daemon.status()["database"]
    calls, retries = (after[n] - before[n] for n in ("transactions_total", "retries_total"))
    assert retries <= RETRY_SHARE * calls + RETRIES_PER_SECOND * elapsed + RETRIES_KEPT, (retries, calls, elapsed)
    tried = daemon.metrics()["citadel_pool_open_failed_total"] - failed
    # At most 16 at a time at first, then one after pauses that double from 100 ms to 2 s, each cut by chance.
    assert 1 <= tried <= 32 + 10 * elapsed, f"{tried} attempts to connect in {elapsed:.1f} s"
    both(daemon, "refuse off")
    load.wait_reads(20)
    wait_until(lambda: daemon.get("/readyz", key=False)["status"] == "ready", "ready again")


with Citadel() as servers, Daemon(servers) as daemon:
    load = Load(daemon)
    load.settle()
    invariants = Invariants(daemon, load)
    with load:
        load.wait_reads(5)
        for command in ("black_hole", "black_hole to_client", "black_hole to_server"):
            black_hole(daemon, load, command)
        latency(daemon, load)
        too_slow(daemon, load)
        refused(daemon, load)
    invariants.check()
    print("posts", dict(load.post_statuses), "reads", dict(load.get_statuses), "slowest", load.slowest,
          "metronome", load.metronome.worst)
