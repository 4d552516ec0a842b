#!/usr/bin/env python3
"""Prepared statements vanish from the daemon's sessions under load, in the middle of its transactions and between two reads:
they are prepared again, and no caller sees it. On both ways: through Pgpool-II, and straight to PostgreSQL."""
from citadel_process import Citadel, wait_until
from fault_daemon import Daemon, Psql
from invariants import Invariants
from load import Load

# Whoever runs one of the daemon's statements loses all that his session has prepared, each so many times.
FORGET = """
begin;
lock table usage.model, usage.rollup_minute in access exclusive mode;
create sequence public.passings;
create function public.forget() returns boolean language plpgsql security definer as $$
begin
  if nextval('public.passings') % {each} = 0 then execute '{how}'; end if;
  return true;
end $$;
grant usage on schema public to citadel_app;
create function public.forget_row() returns trigger language plpgsql security definer as
  $$ begin perform public.forget(); return null; end $$;
create trigger forget after insert or update on usage.rollup_minute for each statement execute function public.forget_row();
alter table usage.model enable row level security;
create policy forget on usage.model using ((select public.forget())) with check (true);
commit
"""
REMEMBER = """
begin;
lock table usage.model, usage.rollup_minute in access exclusive mode;
drop policy forget on usage.model;
alter table usage.model disable row level security;
drop trigger forget on usage.rollup_minute;
drop function public.forget_row();
drop function public.forget();
drop sequence public.passings;
commit
"""
GONE = 30


def missed(servers):
    """Statements of the daemon that PostgreSQL did not find."""
    return sum(1 for line in (servers.data / "log" / "postgres.log").read_text(errors="replace").splitlines()
               if " citadel_fault ERROR:  prepared statement" in line and "does not exist" in line)


def forget(servers, load, how, each):
    before = missed(servers)
    with Psql(servers) as psql:
        psql(FORGET.format(how=how, each=each))
        wait_until(lambda: missed(servers) >= before + GONE, f"{GONE} statements were gone", 60)
        load.wait_posted(100)
        load.wait_reads(50)
        psql(REMEMBER)
    load.wait_reads(20)


def check(servers, settings, target, folder):
    with Daemon(servers, settings, folder=folder, target=target) as daemon:
        load = Load(daemon)
        load.settle()
        invariants = Invariants(daemon, load)
        with load:
            load.wait_reads(20)
            forget(servers, load, "DEALLOCATE ALL", 10)
        assert set(load.get_statuses) == {200}, f"a reader saw it: {load.get_statuses}"
        assert set(load.post_statuses) == {202}, f"a record was refused: {load.post_statuses}"
        invariants.check()
        print(folder, "statements gone", missed(servers), "posts", dict(load.post_statuses), "reads", dict(load.get_statuses),
              "retries", daemon.metrics()["citadel_transaction_retries_total"], "slowest", load.slowest, flush=True)


with Citadel() as servers:
    check(servers, {}, servers.pgpool, "pgpool")
    check(servers, {"database": {"route": '"direct"'}}, servers.postgres, "direct")
