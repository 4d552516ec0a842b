"""Real requests while something breaks: posters and readers on threads of their own, and what they saw.

    load = Load(daemon)
    load.settle()                  # records that are in the database before anything breaks; readers know them by heart
    with load:                     # posters and readers run
        ...                        # the fault
        load.wait_posted(200)      # records go on being acknowledged
    load.check()                   # every answer was right, or a problem document; every one came by its deadline

The tokens are those of the trace in data/. Two tenants, so that a row that crosses over is seen.
"""
import collections
import datetime
import http.client
import json
import os
import random
import threading
import time
import uuid

from citadel_process import TRACE, wait_until

# Of what is posted and asked, not of the order in which threads run.
SEED = int(os.environ.get("CITADEL_TEST_SEED") or random.randrange(2**32))
print(f"CITADEL_TEST_SEED={SEED}")
TENANTS = ("ash", "birch")
# Of each thread after each request. A few hundred requests a second find what there is to find; more of them
# only keep the machine busy.
PAUSE_SECONDS = 0.02
# Statuses of a problem document that a reader may get while the database is away; docs/errors.md.
AWAY = (503, 504)


def uuid7(milliseconds, rng):
    return str(uuid.UUID(int=(milliseconds << 80) | (7 << 76) | (rng.getrandbits(12) << 64) | (2 << 62) | rng.getrandbits(62)))


def tokens():
    """Prompt and completion tokens of the trace, again and again."""
    rows = [line.split(",")[1:] for line in TRACE.read_text().splitlines()[1:]]
    while True:
        for prompt, completion in rows:
            yield int(prompt), int(completion)


class Metronome(threading.Thread):
    """How late this machine wakes a thread that asked for it: what a measured time may be off by."""

    def __init__(self):
        super().__init__(daemon=True)
        self.worst = 0.0
        self.ended = threading.Event()

    def run(self):
        while True:
            before = time.monotonic()
            if self.ended.wait(0.01):
                return
            self.worst = max(self.worst, time.monotonic() - before - 0.01)


class Load:
    _seeds = random.Random(SEED)

    def __init__(self, daemon, posters=2, readers=3, model="mixtral-8x7b"):
        self.daemon, self.model = daemon, model
        self.posters, self.readers = posters, readers
        self.lock = threading.Lock()
        self.trace = tokens()
        # What was ever sent to this database, by whichever load: id -> record; ids.
        self.sent, self.acknowledged = vars(daemon.servers).setdefault("history", ({}, set()))
        self.known = f"known-{daemon.port}"
        self.post_statuses, self.get_statuses = collections.Counter(), collections.Counter()
        self.wrong = []
        self.slowest = {"GET": 0.0, "POST": 0.0}
        self.good_reads = 0
        self.settled, self.settled_list, self.settled_usage = {}, None, None
        self.threads, self.ended = [], threading.Event()
        self.metronome = Metronome()
        self.elapsed = 0.0

    def record(self, rng, model=None, at=None):
        at = at or int(time.time() * 1000)
        with self.lock:
            prompt, completion = next(self.trace)
        started = datetime.datetime.fromtimestamp(at / 1000, datetime.timezone.utc)
        return {"id": uuid7(at, rng), "model": model or self.model, "tenant": rng.choice(TENANTS), "prompt_tokens": prompt,
                "completion_tokens": completion, "started_at": started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "session": "s" * 64, "endpoint": "/v1/chat/completions"}

    # Settled records.

    def settle(self, count=100):
        rng = random.Random(self._seeds.random())
        at = int(time.time() * 1000) - 3600_000
        records = [self.record(rng, self.known, at + i * 1000) for i in range(count)]
        status, answer = self.daemon.request("POST", "/v1/requests", json.dumps(records))
        assert status == 202, answer
        self.settled = {r["id"]: r for r in records}
        # Named, since the daemon's own idea of now may be made to jump.
        day = datetime.datetime.fromtimestamp(at / 1000, datetime.timezone.utc)
        self.span = "&".join(f"{name}={(day + datetime.timedelta(days=n)).strftime('%Y-%m-%dT00:00:00Z')}"
                             for name, n in (("from", 0), ("to", 2)))
        for record in records:
            self.sent[record["id"]] = record
            self.acknowledged.add(record["id"])
        wait_until(lambda: self.daemon.status()["journal"]["undrained_records"] == 0, "the settled records are drained")
        self.settled_list = [r["id"] for r in sorted(records, key=lambda r: r["id"], reverse=True)]
        self.settled_usage = {t: sums(r for r in records if r["tenant"] == t) for t in TENANTS}
        for path, judge in self.questions(rng):
            status, answer = self.daemon.request("GET", path)
            assert status == 200 and judge(answer), f"before any fault: {path}: {status} {str(answer)[:300]}"

    def adopt(self, other):
        """The other load's settled records, of the same database."""
        self.known, self.span, self.settled = other.known, other.span, other.settled
        self.settled_list, self.settled_usage = other.settled_list, other.settled_usage
        return self

    def questions(self, rng):
        """Paths of which the whole answer is known, and who judges it."""
        one = self.settled[rng.choice(self.settled_list)]
        tenant = rng.choice(TENANTS)
        mine = [id_ for id_ in self.settled_list if self.settled[id_]["tenant"] == tenant]
        return [
            (f"/v1/requests/{one['id']}", lambda a: same_record(a, one)),
            (f"/v1/requests?model={self.known}&limit=1000",
             lambda a: [r["id"] for r in a["requests"]] == self.settled_list
             and all(same_record(r, self.settled[r["id"]]) for r in a["requests"]) and a["next_cursor"] is None),
            (f"/v1/requests?model={self.known}&limit=1000&tenant={tenant}", lambda a: [r["id"] for r in a["requests"]] == mine),
            (f"/v1/usage?model={self.known}&group_by=tenant&bucket=minute&{self.span}",
             lambda a: {t: usage_sums(b for b in a["buckets"] if b["tenant"] == t) for t in TENANTS} == self.settled_usage),
            (f"/v1/usage?model={self.known}&tenant={tenant}&{self.span}",
             lambda a: usage_sums([a["totals"]]) == self.settled_usage[tenant]),
        ]

    # Threads.

    def _timed(self, connection, method, path, body=None):
        began = time.monotonic()
        try:
            status, answer = self.daemon.request(method, path, body, connection)
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            status, answer = 0, error
        with self.lock:
            self.slowest[method] = max(self.slowest[method], time.monotonic() - began)
        return status, answer

    def _post(self, seed):
        rng, connection = random.Random(seed), self.daemon.connection()
        while not self.ended.is_set():
            records = [self.record(rng) for _ in range(rng.choice((1, 1, 1, 20)))]
            with self.lock:
                for record in records:
                    self.sent[record["id"]] = record
            body = json.dumps(records if len(records) > 1 else records[0])
            # As a gateway does it: again under the same ids until it is acknowledged.
            while True:
                status, answer = self._timed(connection, "POST", "/v1/requests", body)
                with self.lock:
                    self.post_statuses[status] += 1
                    if status == 202:
                        if answer["ids"] != [r["id"] for r in records]:
                            self.wrong.append(f"acknowledged {answer}")
                        self.acknowledged.update(r["id"] for r in records)
                if status == 202 or self.ended.wait(PAUSE_SECONDS):
                    break
            self.ended.wait(PAUSE_SECONDS)
        connection.close()

    def _read(self, seed):
        rng, connection = random.Random(seed), self.daemon.connection()
        while not self.ended.is_set():
            path, judge = rng.choice(self.questions(rng))
            status, answer = self._timed(connection, "GET", path)
            with self.lock:
                self.get_statuses[status] += 1
                if status == 200:
                    self.good_reads += 1
                    if not judge(answer):
                        self.wrong.append(f"{path}: {str(answer)[:2000]}")
                elif status in AWAY:
                    if not (isinstance(answer, dict) and answer.get("type", "").startswith("/problems/")
                            and answer.get("status") == status):
                        self.wrong.append(f"{path}: {status} without a problem document: {answer}")
                else:
                    self.wrong.append(f"{path}: {status} {answer!r}")
            self.ended.wait(PAUSE_SECONDS)
        connection.close()

    def __enter__(self):
        self.ended.clear()
        self.metronome = Metronome()
        self.began = time.monotonic()
        self.threads = [threading.Thread(target=target, args=(self._seeds.random(),), daemon=True)
                        for target, count in ((self._post, self.posters), (self._read, self.readers)) for _ in range(count)]
        for thread in [self.metronome, *self.threads]:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a request did not come back within a minute"
        self.metronome.ended.set()
        self.metronome.join()
        self.elapsed += time.monotonic() - self.began

    # What a test waits for.

    def wait(self, condition, what, seconds=30):
        try:
            wait_until(condition, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; posts {self.post_statuses}, reads {self.get_statuses}") from None

    def wait_posted(self, count):
        """Until so many more records are acknowledged."""
        before = len(self.acknowledged)
        self.wait(lambda: len(self.acknowledged) >= before + count, f"{count} more records acknowledged")

    def wait_reads(self, count):
        """Until so many more reads are answered right."""
        before = self.good_reads
        self.wait(lambda: self.good_reads >= before + count, f"{count} more reads answered")

    def wait_status(self, *statuses):
        """Until one more read is answered with one of these."""
        before = sum(self.get_statuses[s] for s in statuses)
        self.wait(lambda: sum(self.get_statuses[s] for s in statuses) > before, f"a read answered with one of {statuses}")


def sums(records):
    found = [0, 0, 0]
    for record in records:
        found[0] += 1
        found[1] += record["prompt_tokens"]
        found[2] += record["completion_tokens"]
    return found


def usage_sums(buckets):
    found = [0, 0, 0]
    for bucket in buckets:
        for i, name in enumerate(("requests", "prompt_tokens", "completion_tokens")):
            found[i] += bucket[name]
    return found


def same_record(found, sent):
    return all(found.get(name) == sent[name] for name in
               ("id", "tenant", "model", "prompt_tokens", "completion_tokens", "session", "endpoint"))
