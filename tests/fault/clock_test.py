#!/usr/bin/env python3
"""The daemon's wall clock jumps by two days, forward and back, while it works: deadlines, timeouts and the pool go by a
clock that does not jump, and each record is stored once, under the time it was sent with."""
import datetime
import glob
import json
import os
import sys

from citadel_process import Citadel, wait_until
from fault_daemon import Daemon
from invariants import Invariants
from load import Load

LIBRARY = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") or sys.exit("libfaketime is missing: install faketime")
DAY = 86400


def post_without_ids(daemon, load):
    """The ids are made by the daemon, from its own clock."""
    sent = [{"model": "clock", "tenant": "ash", "prompt_tokens": n, "completion_tokens": 1} for n in range(20)]
    status, answer = daemon.request("POST", "/v1/requests", json.dumps(sent))
    assert status == 202, answer
    for id_, record in zip(answer["ids"], sent):
        load.sent[id_] = record
        load.acknowledged.add(id_)
    return answer["ids"]


def ahead_seconds(daemon):
    there = datetime.datetime.fromisoformat(daemon.status()["time"].replace("Z", "+00:00"))
    return (there - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


def jump(daemon, load, offset_file, days):
    opened = daemon.metrics()["citadel_pool_opened_total"]
    # Replaced as a whole: the daemon reads it at any moment.
    fresh = offset_file.with_suffix(".new")
    fresh.write_text(f"{days:+d}d\n")
    os.replace(fresh, offset_file)
    wait_until(lambda: abs(ahead_seconds(daemon) - days * DAY) < 60, f"the daemon's clock is {days} days off")
    load.wait_posted(100)
    load.wait_reads(50)
    made = [int(id_[:8] + id_[9:13], 16) / 1000 for id_ in post_without_ids(daemon, load)]
    real = datetime.datetime.now().timestamp()
    assert all(abs(at - real - days * DAY) < 60 for at in made), "ids do not carry the daemon's time"
    daemon.get("/readyz", key=False)
    # A lifetime or an idle timeout that went by the wall clock would have replaced every session.
    assert daemon.metrics()["citadel_pool_opened_total"] - opened <= daemon.settings["pool"]["size_max"] // 2


with Citadel() as servers:
    offset_file = servers.folder / "clock"
    offset_file.write_text("+0d\n")
    environment = {"LD_PRELOAD": LIBRARY[0], "FAKETIME_TIMESTAMP_FILE": str(offset_file), "FAKETIME_NO_CACHE": "1",
                   "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    settings = {"usage": {"future_max": '"4d"', "past_max": '"10d"'}, "pool": {"idle_timeout": '"10m"'}}
    with Daemon(servers, settings, environment=environment) as daemon:
        load = Load(daemon)
        load.settle()
        invariants = Invariants(daemon, load)
        with load:
            load.wait_reads(100)
            for days in (2, -2, 0):
                jump(daemon, load, offset_file, days)
        invariants.check()
        print("posts", dict(load.post_statuses), "reads", dict(load.get_statuses), "slowest", load.slowest)
