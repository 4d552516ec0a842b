#!/usr/bin/env python3
"""Three times as many readers as the daemon has sessions for, and a database that stands still for five seconds: within ten
seconds of the end of both it answers as many reads as before. What the machine does meanwhile is taken out by a second
daemon, whose database never stands still."""
import time

from citadel_process import Citadel
from fault_daemon import Daemon
from invariants import Invariants
from load import Load

STALL_SECONDS, HEAL_SECONDS, SHARE = 5, 10, 0.9
WINDOW_SECONDS = 3
READERS = 3


def share(load, control):
    """Good reads of one window, for each one of the control. The passing of time is what is measured."""
    before = load.good_reads, control.good_reads
    load.ended.wait(WINDOW_SECONDS)
    return (load.good_reads - before[0]) / (control.good_reads - before[1])


def overload(daemon, load, more):
    with more:
        more.wait_reads(20)
        holds = daemon.proxy()["holds"]
        daemon.proxy("black_hole")
        load.wait_status(503, 504)
        load.ended.wait(STALL_SECONDS)
        assert daemon.proxy()["holds"] > holds
        assert daemon.status()["database"]["breaker"]["state"] != "closed" or sum(more.get_statuses[s] for s in (503, 504))
        daemon.proxy("pass")
    assert not more.wrong, more.wrong[0]


pool = {"size_min": READERS, "size_max": READERS, "queue_max": READERS}
with Citadel() as servers, Daemon(servers, {"pool": pool}) as daemon, \
        Daemon(servers, {"pool": pool, "database": {"application_name": '"citadel_control"'}}, folder="control") as other:
    load = Load(daemon, posters=1, readers=READERS)
    load.settle()
    control = Load(other, posters=0, readers=READERS).adopt(load)
    more = Load(daemon, posters=0, readers=2 * READERS).adopt(load)
    invariants = Invariants(daemon, load)
    with load, control:
        load.wait_reads(100)
        baseline = share(load, control)
        overload(daemon, load, more)
        ended, best = time.monotonic(), 0.0
        while best < SHARE * baseline and time.monotonic() < ended + HEAL_SECONDS:
            best = max(best, share(load, control))
        healed = time.monotonic() - ended
    assert best >= SHARE * baseline, f"goodput {best:.2f} of the control's after the overload, {baseline:.2f} before"
    assert not control.wrong and set(control.get_statuses) == {200}, (control.wrong[:1], control.get_statuses)
    invariants.check()
    print(f"goodput, as a share of the control's: {baseline:.2f} before, {best:.2f} within {healed:.1f} s after; reads",
          dict(load.get_statuses), "beyond", dict(more.get_statuses))
