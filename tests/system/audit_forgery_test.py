#!/usr/bin/env python3
"""The columns by which the audit trail is searched are a view of what was committed to: a superuser edits each of them, or takes
the row away, and the verification names the entry and the column."""
from audit_api import event, past_triggers, psql
from audit_trail import AuditDaemon
from citadel_process import Citadel

# What a column is set to, of an entry of another kind.
EVENT_COLUMNS = {"received_at": "received_at + interval '1 second'", "id": "audit.new_id()", "class": "5", "outcome": "3",
                 "trace_id": "audit.new_id()", "tenant": "'other'", "actor_type": "'other'", "actor": "'eve'",
                 "action": "'model_version.retire'", "object_type": "'other'", "object": "'fraud/8'", "request_id": "'other'",
                 "subject": "'other'", "reason": "reason || '.'"}
ENTRY_COLUMNS = {"epoch": "epoch + 1", "sequence": "sequence + 100000", "time": "time + interval '1 second'",
                 "received_at": "received_at + interval '1 second'", "id": "audit.new_id()", "producer": "audit.new_id()",
                 "retention": "3 - retention"}


def found(daemon, servers, index, sql, undo, words):
    psql(servers, past_triggers(sql))
    fault = daemon.verify(expect=(1,))
    assert not fault["passed"] and fault["index"] == index, (sql, fault)
    for word in words:
        assert word in fault["fault"], (sql, fault)
    psql(servers, past_triggers(undo))


def main():
    with Citadel() as servers, AuditDaemon(servers) as daemon:
        status, answer = daemon.post([event(n, trace_id=f"{n + 1:032x}", request_id=f"r{n}", reason="asked", subject="s")
                                      for n in range(40)], "?ack=checkpoint")
        assert status == 200, answer
        index = answer["events"][7]["index"]
        psql(servers, "CREATE TABLE public.kept_event AS SELECT * FROM audit.event; "
                      "CREATE TABLE public.kept_entry AS SELECT * FROM audit.entry")
        assert daemon.verify()["passed"]
        for table, columns in (("event", EVENT_COLUMNS), ("entry", ENTRY_COLUMNS)):
            here = psql(servers, f"SELECT string_agg(attname, ' ') FROM pg_attribute WHERE attrelid = 'audit.{table}'::regclass "
                                 "AND attnum > 0 AND NOT attisdropped").split()
            # Content and place are verified already; severity is the catalogue's; time and retention of an event: below.
            unchecked = {"idx", "leaf", "salt", "envelope", "severity"} | ({"time", "retention"} if table == "event" else set())
            assert set(here) - unchecked == set(columns), f"audit.{table} has a column that no check looks at: {here}"
            for column, value in columns.items():
                found(daemon, servers, index, f"UPDATE audit.{table} SET {column} = {value} WHERE idx = {index};",
                      f"UPDATE audit.{table} e SET {column} = k.{column} FROM public.kept_{table} k WHERE k.idx = e.idx AND "
                      f"e.idx = {index};", (f"column {column} of audit.{table}", f"entry {index}"))
        back = (f"DELETE FROM audit.event WHERE idx = {index}; "
                f"INSERT INTO audit.event SELECT * FROM public.kept_event WHERE idx = {index};")
        for name, sql in (("gone", f"DELETE FROM audit.event WHERE idx = {index};"),
                          ("moved", f"UPDATE audit.event SET time = time + interval '1 second' WHERE idx = {index};")):
            found(daemon, servers, index, sql, back, ("gone", f"entry {index}"))
            print(name)
        assert daemon.verify()["passed"]


main()
