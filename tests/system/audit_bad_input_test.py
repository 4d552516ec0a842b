#!/usr/bin/env python3
"""What the audit trail refuses, through a real daemon: each bad body, parameter, header and cursor is answered with a problem
that names the field, and nothing of a body with one bad member is stored. An id that comes again with other content is told,
or recorded, whichever daemon took it first."""
import gzip
import http.client
import json
import time

from audit_api import event, psql, uuid7
from audit_trail import THE_LOGS_LOCK, AuditDaemon, Session, check_log
from citadel_process import Citadel, wait_until

DAY = 86_400_000


def now():
    return int(time.time() * 1000)


def without(name):
    return {key: value for key, value in event().items() if key != name}


def text(**more):
    """An event as JSON, with members given as JSON texts."""
    whole = json.dumps(event())[:-1]
    return (whole + "".join(f', "{name}": {value}' for name, value in more.items()) + "}").encode("utf-8", "surrogateescape")


# Body, and what `field` names: None where the body is no JSON, or no event of it is to blame.
BODIES = [
    (b"", None), (b"[]", None), (b" ", None), (b"{", None), (b"null", None), (b"[1]", None), (b'"event"', None),
    (b"\xff\xfe", None), (text(reason='"\udcff"'), None), (text(reason='"\\ud800"'), None), (b"\xef\xbb\xbf" + text(), None),
    (text(reason='"a", "reason": "b"'), None), (text(details='{"a": 1, "a": 2}'), None),
    (text(details="1e400"), None), (text(details="12345678901234567890123"), None), (text(details="NaN"), None),
    (text(details="0x10"), None), (text(details="01"), None),
    (text(details="[" * 40 + "]" * 40), None), (text() + b"{}", None), (text() + b",", None),
    (without("actor"), "/actor"), (without("action"), "/action"), (without("object"), "/object"),
    (event(actor="ada"), "/actor"), (event(actor={"type": "user"}), "/actor/id"), (event(actor={"type": "", "id": "a"}), "/actor/type"),
    (event(actor={"type": "user", "id": "a", "age": 3}), "/actor/age"), (event(object=[]), "/object"),
    (event(object={"type": "t", "id": 7}), "/object/id"), (event(object={"type": "t", "id": "x" * 201}), "/object/id"),
    (event(action="No Such"), "/action"), (event(action="no.such"), "/action"), (event(action="x."), "/action"),
    (event(action="audit.gap"), "/action"), (event(action="x.y\n"), "/action"), (event(colour=1), "/colour"),
    (event(outcome="maybe"), "/outcome"), (event(reason="x" * 1001), "/reason"),
    (event(reason="a\u0000b"), "/reason"), (event(tenant=""), "/tenant"), (event(tenant="t" * 201), "/tenant"),
    (event(trace_id="0" * 32), "/trace_id"), (event(trace_id="g" * 32), "/trace_id"), (event(trace_id="1"), "/trace_id"),
    (event(time="yesterday"), "/time"), (event(time="2001-01-01T00:00:00Z"), "/time"), (event(time="9999-12-31T23:59:59Z"), "/time"),
    (event(time="2026-02-30T00:00:00Z"), "/time"), (event(time=1764000000), "/time"), (event(time="2026-11-26 12:00:00"), "/time"),
    (event(id="x" * 36), "/id"), (event(id=""), "/id"), (event(id="00000000-0000-4000-8000-000000000000"), "/id"),
    (event(id=uuid7(0)), "/id"), (event(id=uuid7(now() + DAY)), "/id"), (event(id=uuid7((1 << 48) - 1)), "/id"),
    (event(id=uuid7(now() - 400 * DAY)), "/id"), (event(details="x" * 50_000), "/details"),
    (event(prompt="x" * 30_000, response="y" * 30_000), None),
    ([event(), event(action="no.such")], "/1/action"), ([event(n) for n in range(20)] + [event(id="1")], "/20/id"),
    ([event(), []], "/1"),
]

# Of a search, and which parameter is named.
SEARCHES = [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=-1", "limit"), ("limit=1e2", "limit"), ("limit=", "limit"),
            ("from=yesterday", "from"), ("to=9", "to"), ("from=2026-11-02T00:00:00Z&to=2026-11-01T00:00:00Z", "from"),
            ("cursor=", "cursor"), ("cursor=zz", "cursor"), ("cursor=00", "cursor"), ("cursor=" + "f" * 32, "cursor"),
            ("cursor=" + "0" * 33, "cursor"), ("outcome=maybe", "outcome"), ("trace_id=1", "trace_id"), ("actor=", "actor"),
            ("actor=" + "x" * 2_000, "actor"), ("tenant=a%00b", None), ("text=%ff", None), ("colour=1", "colour"),
            ("limit=1&limit=2", None)]
OTHERS = [("/v1/audit/events?", SEARCHES),
          ("/v1/audit/traces/0af7651916cd43dd8448eb211c80319c?", [("cursor=1", "cursor"), ("limit=0", "limit"), ("a=1", "a")]),
          ("/v1/audit/traces/zz?", [("limit=1", "trace_id")]),
          ("/v1/audit/export?", [("cursor=-1", "cursor"), ("cursor=99999999", "cursor"), ("cursor=18446744073709551616", "cursor"),
                                 ("limit=x", "limit"), ("open=all", "open"), ("check=all", "check")]),
          ("/v1/audit/proof?", [("index=-1", "index"), ("id=1", "id"), ("index=1&format=xml", "format"), ("", "index")]),
          ("/v1/audit/consistency?", [("from=x", "from"), ("to=99999999", "to"), ("from=9&to=3", "from")]),
          ("/v1/audit/entries/x?", [("", "index")]), ("/v1/audit/entries/1?", [("open=1", "open")]),
          ("/v1/audit/events/x?", [("", "id")]),
          ("/v1/audit/events/tail?", [("from=x", "from"), ("outcome=x", "outcome"), ("limit=1", "limit")])]


def appended(daemon):
    return daemon.status()["journal"]["appended_total"]


FOUND = []  # what is not as it should be, so that one run tells all of it


def check_problem(what, status, problem, field, statuses=(400,)):
    good = status in statuses and problem["type"].startswith("/problems/") and problem["detail"]
    if not good or (field is not None and problem.get("field") != field):
        FOUND.append(f"{str(what)[:300]}: wanted {statuses} {field}, found {status} {str(problem)[:300]}")


def check_nothing_stored(daemon, before):
    if appended(daemon) != before:
        FOUND.append(f"{appended(daemon) - before} events of what was refused are stored")


def check_bodies(daemon):
    before = appended(daemon)
    for body, field in BODIES:
        check_problem(body, *daemon.post(body), field)
        if not isinstance(body, dict):
            continue
        # The same as one line of many, and in an array behind good ones.
        lines = "\n".join(json.dumps(one) for one in (event(), body, event())).encode()
        check_problem(lines, *daemon.post(lines, "", {"Content-Type": "application/x-ndjson"}), field)
        check_problem(body, *daemon.post([event(), body]), field and "/1" + field)
    for body, headers, statuses in ((text(), {"Content-Type": "text/plain"}, (400,)), (text(), {"Content-Encoding": "br"}, (415,)),
                                    (text(), {"Content-Encoding": "gzip"}, (400,)), (gzip.compress(text())[:-4], {"Content-Encoding": "gzip"}, (400,)),
                                    (gzip.compress(b"[" + b" " * 200_000_000), {"Content-Encoding": "gzip"}, (400, 413)),
                                    (b" " * 70_000_000, {}, (413,))):
        try:
            check_problem(headers, *daemon.post(body, "", headers), None, statuses)
        except (ConnectionError, OSError) as error:  # closed while the body was still being sent
            assert len(body) > 10_000_000, (headers, error)
    check_problem("events", *daemon.post([event(n) for n in range(10_001)]), None)
    check_problem("proofs", *daemon.post([event(n) for n in range(101)], "?ack=checkpoint"), "ack")
    check_problem("ack", *daemon.post(event(), "?ack=disk"), "ack")
    check_problem("parameter", *daemon.post(event(), "?wait=1"), "wait")
    check_nothing_stored(daemon, before)


def post_with(daemon, body, headers):
    """As daemon.post, with headers that may stand twice."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=40)
    raw = json.dumps(body).encode()
    connection.putrequest("POST", "/v1/audit/events")
    for name, value in [("Authorization", "Bearer " + daemon.key), ("Content-Type", "application/json"),
                        ("Content-Length", str(len(raw))), *headers]:
        connection.putheader(name, value)
    connection.endheaders(raw)
    answer = connection.getresponse()
    result = answer.status, json.loads(answer.read())
    connection.close()
    return result


def check_idempotency_keys(daemon):
    name, at = "Idempotency-Key", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    before = appended(daemon)
    for body, keys in ((event(), [""]), (event(), ["k" * 256]), (event(), ["a key"]), (event(time=at), ["k\u00e9"]),
                       (event(), ["a-text-without-a-time"]), ([event(), event()], ["one"]), (event(time=at), ["one", "one"]),
                       (event(id=uuid7()), [uuid7()])):
        check_problem((body, keys), *post_with(daemon, body, [(name, key.encode("latin-1")) for key in keys]), name)
    # Its time is the event's.
    for milliseconds in (0, now() - 400 * DAY, now() + DAY, (1 << 48) - 1):
        check_problem(milliseconds, *post_with(daemon, event(), [(name, uuid7(milliseconds))]), name)
    check_nothing_stored(daemon, before)
    for key, more in ((uuid7(), {}), ("order-17", {"time": at})):
        first = post_with(daemon, event(1, **more), [(name, key)])
        again = post_with(daemon, event(1, **more), [(name, key)])
        assert first[0] == again[0] == 202 and first[1]["ids"] == again[1]["ids"] and again[1]["repeated"] == 1, (first, again)
        check_problem(key, *post_with(daemon, event(2, **more), [(name, key)]), "/id", (409,))


def check_reads(daemon):
    for path, cases in OTHERS:
        for query, field in cases:
            check_problem(path + query, *daemon.call("GET", path + query), field)
    # A long query is recorded in part, and a cursor of another place is only another page.
    status, page = daemon.call("GET", "/v1/audit/events?text=" + "%61" * 200 + "&actor=" + "%61" * 200 + "&object=" + "%61" * 200)
    assert status == 200 and page["events"] == [], (status, page)
    status, page = daemon.call("GET", "/v1/audit/events?limit=1")
    cursor = page["next_cursor"]
    status, page = daemon.call("GET", f"/v1/audit/events?limit=1&cursor={cursor[:-1]}{'1' if cursor[-1] == '0' else '0'}")
    assert status == 200, page


def check_same_id(servers, ours, theirs):
    # In the log: the other daemon learns it with ack=database, and records it with ack=journal.
    id_ = uuid7()
    assert ours.post(event(1, id=id_), "?ack=database")[0] == 200
    check_problem(id_, *ours.post(event(2, id=id_)), "/id", (409,))
    check_problem(id_, *theirs.post(event(3, id=id_), "?ack=database"), "/id", (409,))
    assert theirs.post(event(1, id=id_), "?ack=database")[0] in (200, 409)  # not remembered any more as what it was
    # In one body.
    id_ = uuid7()
    check_problem(id_, *ours.post([event(1, id=id_), event(2, id=id_)]), "/1/id", (409,))
    assert psql(servers, f"SELECT count(*) FROM audit.entry WHERE id = '{id_}'") == "0"
    # In a journal alone.
    id_ = uuid7()
    with Session(servers, THE_LOGS_LOCK):
        assert ours.post(event(1, id=id_))[0] == 202
        check_problem(id_, *ours.post(event(2, id=id_)), "/id", (409,))
        assert ours.post(event(1, id=id_)) == (202, {"accepted": 1, "ack": "journal", "ids": [id_], "repeated": 1})
        assert theirs.post(event(3, id=id_))[0] == 202  # it cannot know
    wait_until(lambda: psql(servers, f"SELECT count(*) FROM audit.conflict WHERE id = '{id_}'") == "1", "the conflict is kept")
    assert psql(servers, f"SELECT count(*) FROM audit.entry WHERE id = '{id_}'") == "1"
    # Nothing of a body with a conflict in it is stored.
    before, fresh = appended(ours), uuid7()
    check_problem(id_, *ours.post([event(1, id=fresh), event(9, id=id_)]), "/1/id", (409,))
    assert appended(ours) == before
    assert ours.post(event(2, id=fresh))[0] == 202, "the id of an event that was refused is not taken"


def main():
    try:
        with Citadel() as servers, AuditDaemon(servers) as ours, AuditDaemon(servers, "other") as theirs:
            ours.post(event(), "?ack=checkpoint")
            # The start, this event, and that the key was used: from now on the daemon adds nothing of its own to a refused POST.
            wait_until(lambda: appended(ours) >= 3, "the first entries are there")
            check_bodies(ours)
            check_idempotency_keys(ours)
            check_reads(ours)
            check_same_id(servers, ours, theirs)
            check_log(servers, ours, [])
            check_log(servers, theirs, [])
    finally:
        print("\n".join(FOUND))
    assert not FOUND


main()
