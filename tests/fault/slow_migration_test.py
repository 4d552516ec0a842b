#!/usr/bin/env python3
"""A migration that takes hours, as the index of a long trail may, is not broken off: while a lock keeps one from going on, the
clock of `citadel migrate` goes on by two hours."""
import glob
import os
import subprocess
import sys

from citadel_process import BINARY, SOURCE, Citadel, wait_until
from fault_daemon import Psql

LIBRARY = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") or sys.exit("libfaketime is missing: install faketime")


def main():
    count = len(list((SOURCE / "migrations").glob("*.sql")))
    with Citadel() as servers, Psql(servers) as psql:
        psql("create database fresh owner citadel_owner")
        psql("\\c fresh")
        # The second migration makes this schema, and waits for what becomes of ours.
        psql("begin; create schema usage")
        clock = servers.folder / "clock"
        clock.write_text("+0h\n")
        environment = dict(servers.environment, LD_PRELOAD=LIBRARY[0], FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_NO_CACHE="1")
        migrate = subprocess.Popen([BINARY, "migrate", "--config", str(servers.operators_config("fresh"))], env=environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # Of its session alone: the daemon's, on another database, wait for each other now and then.
        waits = ("select count(*) from pg_locks where not granted and pid in (select pid from pg_locks where database = "
                 "(select oid from pg_database where datname = 'fresh'))")
        wait_until(lambda: psql.value(waits) == "1", "the migration waits")
        later = clock.with_suffix(".new")
        later.write_text("+2h\n")
        os.replace(later, clock)
        psql("rollback")
        out, err = migrate.communicate(timeout=60)
        assert migrate.returncode == 0 and out == f"applied {count}\n", (migrate.returncode, out, err)


main()
