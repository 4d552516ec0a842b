#!/usr/bin/env python3
"""All of Pgpool-II's slots are taken by others: it lets further clients wait for ever. The daemon gives up by its own
timeout, sheds reads at once, says why, goes on taking records, and heals when slots come free."""
import json

from citadel_process import Citadel, wait_until
from fault_daemon import Daemon, Psql
from invariants import Invariants
from load import Load



def take_all_slots(servers):
    """Sessions past the proxy, until one waits in vain."""
    holders = []
    while True:
        holder = Psql(servers, "citadel_app", servers.pgpool, connect_seconds=2)
        try:
            holder("select 1")
        except (AssertionError, BrokenPipeError):
            holder.close()
            return holders
        holders.append(holder)


def shed(daemon, load):
    """What everybody is told meanwhile."""
    load.wait_status(503)
    wait_until(lambda: daemon.status()["database"]["breaker"]["state"] == "open", "the breaker opens")
    load.wait_posted(100)
    assert "num_init_children" in daemon.status()["database"]["pool"]["last_open_error"], "no hint at Pgpool-II's slots"
    assert daemon.get("/readyz", key=False)["status"] == "degraded"
    metrics = daemon.metrics()
    assert metrics["citadel_pool_open_failed_total"] > 0 and metrics['citadel_ready{dependency="database"}'] == 0
    status, problem = daemon.request("GET", "/v1/usage")
    assert status == 503 and problem["type"] in ("/problems/unavailable", "/problems/overloaded"), problem
    doctor = json.loads(daemon.client("doctor", "--json", "--config", str(daemon.config), expect=(3,)))
    said = [f for f in doctor["findings"] if f["severity"] == "FAULT" and "num_init_children" in f["found"] + f["mend"]]
    assert said, f"doctor does not say it: {doctor}"


# Past the proxy: with Pgpool-II's listen queue full, its own connect would wait.
with Citadel({"CITADEL_POOL_SIZE_MAX": "3", "CITADEL_POOL_SIZE_MIN": "1"}) as servers:
    settings = {"database": {"port": servers.pgpool},
                "pool": {"size_min": 0, "connect_timeout": '"500ms"', "idle_timeout": '"1s"'}}
    with Daemon(servers, settings) as daemon:
        load = Load(daemon)
        load.settle()
        invariants = Invariants(daemon, load)
        # It looks at its keys each second, so it has a session, which must not be in the way.
        daemon.client("pool", "pause")
        wait_until(lambda: daemon.status()["database"]["pool"]["open"] == 0, "idle sessions are closed")
        holders = take_all_slots(servers)
        daemon.client("pool", "resume")
        assert holders, "no slot was there to take"
        with load:
            shed(daemon, load)
            for holder in holders:
                holder.close()
            load.wait_reads(20)
        invariants.check()
        print("posts", dict(load.post_statuses), "reads", dict(load.get_statuses), "slowest", load.slowest,
              "slots", len(holders))
