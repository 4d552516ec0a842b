"""What holds after every fault (I1, I3 to I7), in one place.

    invariants = Invariants(daemon, load)      # before the fault: takes the baseline
    ...
    invariants.check()                         # after it: the load has ended, everything is let flow again
"""
import time

from citadel_process import wait_until
from fault_daemon import Psql
from load import TENANTS, sums, usage_sums

# I5: a request ends by its deadline and this.
LATE_SECONDS_MAX = 0.1
# Descriptors that may be kept beyond the baseline: the journal's reader and writer may have a segment open each.
DESCRIPTORS_KEPT_MAX = 4
# I6: what docs/errors.md allows.
RETRY_SHARE, RETRIES_PER_SECOND, RETRIES_KEPT = 0.1, 10, 10


class Invariants:
    def __init__(self, daemon, load):
        self.daemon, self.load = daemon, load
        self.baseline = wait_until(self.at_rest, "the daemon is at rest before the fault")
        self.began, self.counters = time.monotonic(), daemon.status()["database"]

    def at_rest(self):
        """Descriptors besides those of the pool's sessions; none while something is under way."""
        pool = self.daemon.status()["database"]["pool"]
        if pool["lent"] or pool["opening"] or pool["recovering"] or pool["waiting"]:
            return None
        found = self.daemon.descriptors() - pool["open"]
        return found if self.daemon.status()["database"]["pool"]["open"] == pool["open"] else None

    def check(self, late_posts=False):
        self.check_answers(late_posts)
        self.check_drained()
        self.check_records()
        self.check_sums()
        self.check_retries()
        self.check_baseline()

    def check_answers(self, late_posts=False):
        """I5 and I7, as the callers saw them."""
        load = self.load
        assert not load.wrong, f"{len(load.wrong)} wrong answers, the first: {load.wrong[0]}"
        limit = self.daemon.seconds("http", "request_timeout") + LATE_SECONDS_MAX + max(0.3, 3 * load.metronome.worst)
        for method in ("GET",) if late_posts else ("GET", "POST"):
            assert load.slowest[method] <= limit, f"{method} took {load.slowest[method]:.3f} s; allowed {limit:.3f} s"

    def check_drained(self):
        wait_until(lambda: self.daemon.status()["journal"]["undrained_records"] == 0,
                   f"all is drained: {self.daemon.status()}")
        drain = self.daemon.status()["drain"]
        set_aside = {k: drain[k] for k in ("conflicting_total", "undecodable_total", "dead_letter_total")}
        assert not any(set_aside.values()), f"records were set aside: {set_aside}"

    def check_records(self):
        """I1 and I3: what was acknowledged is there once, as it was sent; nothing else is."""
        with Psql(self.daemon.servers) as psql:
            rows = psql("select r.id, t.name, m.name, r.prompt_tokens, r.completion_tokens from usage.request r "
                        "join usage.tenant t on t.id = r.tenant_id join usage.model m on m.id = r.model_id")
        found = {}
        for row in rows:
            id_, tenant, model, prompt, completion = row.split("|")
            assert id_ not in found, f"{id_} is there twice"
            found[id_] = (tenant, model, int(prompt), int(completion))
        load = self.load
        lost = load.acknowledged - found.keys()
        assert not lost, f"{len(lost)} of {len(load.acknowledged)} acknowledged records are lost, one of them {min(lost)}"
        foreign = found.keys() - load.sent.keys()
        assert not foreign, f"{len(foreign)} records that nobody sent, one of them {min(foreign)}"
        for id_, row in found.items():
            sent = load.sent[id_]
            wanted = (sent["tenant"], sent["model"], sent["prompt_tokens"], sent["completion_tokens"])
            assert row == wanted, f"{id_}: stored {row}, sent {wanted}"
        self.stored = [load.sent[id_] for id_ in found]

    def check_sums(self):
        """I1 and I3 in the sums: each rollup and the API's answer have each stored record once, under its tenant."""
        wanted = {t: sums(r for r in self.stored if r["tenant"] == t) for t in TENANTS}
        with Psql(self.daemon.servers) as psql:
            for rollup in ("minute", "hour", "day"):
                rows = psql("select t.name, sum(requests), sum(prompt_tokens), sum(completion_tokens) "
                            f"from usage.rollup_{rollup} r join usage.tenant t on t.id = r.tenant_id group by 1")
                found = {t: [0, 0, 0] for t in TENANTS}
                found.update({row.split("|")[0]: [int(n) for n in row.split("|")[1:]] for row in rows})
                assert found == wanted, f"sums by {rollup}: found {found}, wanted {wanted}"
        path = "/v1/usage?group_by=tenant&bucket=day&from=2020-01-01T00:00:00Z&to=2029-01-01T00:00:00Z"
        answer = wait_until(lambda: next((a for s, a in [self.daemon.request("GET", path)] if s == 200), None),
                            "the usage is answered after the fault")
        found = {t: usage_sums(b for b in answer["buckets"] if b["tenant"] == t) for t in TENANTS}
        assert found == wanted, f"/v1/usage: found {found}, wanted {wanted}"

    def check_retries(self):
        """I6."""
        now = self.daemon.status()["database"]
        calls, retries = (now[n] - self.counters[n] for n in ("transactions_total", "retries_total"))
        allowed = RETRY_SHARE * calls + RETRIES_PER_SECOND * (time.monotonic() - self.began) + RETRIES_KEPT
        assert retries <= allowed, f"{retries} retries of {calls} transactions; allowed {allowed:.0f}"

    def check_baseline(self, seconds=60):
        """I4: sessions and descriptors are given back, at the daemon and at the servers."""
        def back():
            found = self.at_rest()
            return found is not None and found <= self.baseline + DESCRIPTORS_KEPT_MAX
        wait_until(back, f"descriptors are back at {self.baseline}; now {self.daemon.descriptors()} with "
                   f"{self.daemon.status()['database']['pool']}", seconds)
        with Psql(self.daemon.servers) as psql:
            # A session that its client left is reset by Pgpool-II (DISCARD ALL) and kept for the next client; not reset
            # where the client was gone before it was let in, behind Pgpool-II's own SET. One more goes past Pgpool-II, for
            # cancelling.
            def given_back():
                taken, busy = psql.value(
                    "select count(*) filter (where query not in ('DISCARD ALL', 'SELECT pg_catalog.pg_cancel_backend($1)') "
                    "and query not like 'SET application_name TO %'), "
                    "count(*) filter (where state <> 'idle') "
                    "from pg_stat_activity where application_name = 'citadel_fault'").split("|")
                return int(taken) <= self.daemon.status()["database"]["pool"]["open"] and busy == "0"
            wait_until(given_back, "no session is left behind in PostgreSQL: " + "; ".join(
                psql("select pid, state, query from pg_stat_activity where application_name = 'citadel_fault'")), seconds)
