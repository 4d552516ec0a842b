#!/usr/bin/env python3
"""PostgreSQL and Pgpool-II killed with -9, and restarted as an operator does it, under load: records go on being
acknowledged, reads heal, and nothing is lost or counted twice."""
import os
import pathlib
import pwd
import signal
import subprocess

from citadel_process import Citadel, children_of, wait_until
from fault_daemon import Daemon, Psql
from invariants import Invariants
from load import Load

PROGRAMS = pathlib.Path(max(map(str, pathlib.Path("/usr/lib/postgresql").glob("*/bin"))))


def healed(load):
    """More than what was under way when it broke."""
    load.wait_posted(100)
    load.wait_reads(30)


def started_anew(servers, name, before):
    """`citadel up` starts what has ended, whoever ended it."""
    wait_until(lambda: servers.server(name) not in (None, before), f"another {name} runs in place of {before}")


def kill(name):
    def fault(servers, _, load):
        started_anew(servers, name, servers.kill_server(name))
        healed(load)
    fault.__name__ = f"{name} killed"
    return fault


def postgres_restart(mode):
    """`pg_ctl -m MODE stop`; the start is the supervisor's."""
    def fault(servers, _, load):
        before = servers.server("postgres")
        owner = pwd.getpwuid((servers.data / "postgres").stat().st_uid).pw_name
        as_owner = [] if os.geteuid() != 0 else ["runuser", "-u", owner, "--"]
        done = subprocess.run([*as_owner, str(PROGRAMS / "pg_ctl"), "-D", str(servers.data / "postgres"), "-m", mode, "-W", "stop"],
                              capture_output=True, text=True, check=False, cwd="/", timeout=30)
        assert done.returncode == 0, done
        said = f"received {mode} shutdown request"
        wait_until(lambda: said in (servers.data / "log" / "postgres.log").read_text(errors="replace"), f"PostgreSQL {said}")
        started_anew(servers, "postgres", before)
        healed(load)
    fault.__name__ = f"postgres restarted, {mode}"
    return fault


def pgpool_restart(servers, _, load):
    """What `pgpool -m fast stop` sends its parent."""
    before = servers.server("pgpool")
    os.kill(before, signal.SIGINT)
    started_anew(servers, "pgpool", before)
    healed(load)


def serving(pooled, psql):
    """Children of Pgpool-II that serve the daemon under test, and not that of `citadel up`."""
    ours = set(psql("select pid from pg_stat_activity where application_name = 'citadel_fault' and query <> 'DISCARD ALL'"))
    rows = [row.split("|") for row in pooled("show pool_pools")]
    return {int(row[0]) for row in rows if row[-3] in ours and row[-2] == "1"}


def sessions_broken(daemon):
    """Those that were closed, and those that broke while they were opened."""
    metrics = daemon.metrics()
    return metrics["citadel_pool_closed_total"] + metrics["citadel_pool_open_failed_total"]


def pgpool_children_killed(servers, daemon, load):
    """One child after another: only its own client is broken off, and a new child takes its place."""
    parent = servers.server("pgpool")
    with Psql(servers, "citadel_app", servers.pgpool) as pooled, Psql(servers) as psql:
        for _ in range(10):
            killed = next(iter(wait_until(lambda: serving(pooled, psql), "a child serves the daemon")))
            broken = sessions_broken(daemon)
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: killed not in children_of(parent), f"child {killed} is gone")
            wait_until(lambda: sessions_broken(daemon) > broken, "the daemon has given its session up")
            load.wait_posted(10)
            load.wait_reads(5)
        assert pooled.value("select 1") == "1", "another client was broken off"
    assert servers.server("pgpool") == parent, "the parent was to live"
    healed(load)


FAULTS = (kill("postgres"), postgres_restart("fast"), postgres_restart("immediate"), kill("pgpool"), pgpool_restart,
          pgpool_children_killed)

with Citadel() as servers, Daemon(servers) as daemon:
    load = Load(daemon)
    load.settle()
    invariants = Invariants(daemon, load)
    with load:
        load.wait_reads(20)
        for fault in FAULTS:
            closed = daemon.metrics()["citadel_pool_closed_total"]
            fault(servers, daemon, load)
            assert daemon.metrics()["citadel_pool_closed_total"] > closed, f"{fault.__name__} broke no session"
            with Psql(servers) as psql:
                assert psql.value("select 1") == "1"
            print(fault.__name__, "posts", dict(load.post_statuses), "reads", dict(load.get_statuses), flush=True)
    assert set(load.post_statuses) == {202}, f"a record was refused: {load.post_statuses}"
    invariants.check()
    print("slowest", load.slowest)
