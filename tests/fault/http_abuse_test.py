#!/usr/bin/env python3
"""Clients that behave badly: thousands of connections, headers that never end, requests that are none, and a daemon that
has hardly any descriptors. Good clients are served meanwhile, bad ones are shed, and everything is given back."""
import json
import pathlib
import random
import resource
import selectors
import socket
import time

from citadel_process import SOURCE, Citadel, wait_until
from fault_daemon import Daemon
from invariants import Invariants
from load import Load

CONNECTIONS_MAX = 800
STORM = 3000
# Open files of a daemon that has hardly any.
FEW = 96
# What the allocator may keep of a storm.
RESIDENT_KEPT_BYTES_MAX = 24 << 20

KEY = b"Authorization: Bearer " + b"k" * 40 + b"\r\n"


def raw(port):
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def head(method, path, *fields):
    return b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), b"Host: x", *fields, b"", b""])


# Each with the statuses that it may be answered with; none: closed without an answer is right too.
MALFORMED = [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64, (400, None)),       # TLS
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    (b"GET\r\n\r\n", (400,)),
    (b"GET /healthz\r\n\r\n", (400, 505)),
    (b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", (400, 505)),
    (b"G\0T /healthz HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    (b"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n", (400, 405, 501)),
    (b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", (400,)),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n", (400,)),
    (b"GET /healthz HTTP/1.1\r\n\r\n", (400,)),                                         # no Host
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: \x01\r\n\r\n", (400,)),
    (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404)),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414,)),
    (head("GET", "/healthz", b"X: " + b"a" * 20000), (431,)),
    (head("GET", "/healthz", *[b"X%d: y" % i for i in range(150)]), (431,)),
    (head("POST", "/v1/requests", KEY.strip(), b"Content-Length: -1"), (400,)),
    (head("POST", "/v1/requests", KEY.strip(), b"Content-Length: 99999999999999999999"), (400, 413)),
    (head("POST", "/v1/requests", KEY.strip(), b"Content-Length: 9000000"), (413,)),
    (head("POST", "/v1/requests", KEY.strip(), b"Content-Length: 5", b"Content-Length: 6") + b"hello", (400,)),
    (head("POST", "/v1/requests", KEY.strip(), b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", (400,)),
    (head("POST", "/v1/requests", KEY.strip(), b"Transfer-Encoding: chunked") + b"zz\r\nhello\r\n", (400,)),
    (head("POST", "/v1/requests", KEY.strip(), b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", (400, 415, 501)),
    (head("POST", "/v1/requests", KEY.strip(), b"Transfer-Encoding: chunked") + b"fffffffffffffffff\r\n", (400, 413)),
    (head("POST", "/v1/requests", KEY.strip(), b"Content-Encoding: gzip", b"Content-Length: 5") + b"hello", (400,)),
    (head("POST", "/v1/requests", KEY.strip(), b"Content-Length: 7") + b'{"a":1,', (400,)),
    (head("POST", "/v1/requests", KEY.strip(), b"Content-Length: 200") + b"[" * 200, (400,)),
    (head("POST", "/v1/requests", b"Content-Length: 2") + b"{}", (401,)),
    (head("POST", "/v1/requests", KEY.strip(), b"Expect: a-miracle", b"Content-Length: 2") + b"{}", (417,)),
]


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else None


def ask(port, bytes_):
    """The status that the bytes are answered with; none where the daemon closes without one."""
    with raw(port) as connection:
        connection.sendall(bytes_)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while block := connection.recv(65536):
                answer += block
        except ConnectionResetError:
            pass
    return status_of(answer)


def malformed(daemon):
    for bytes_, allowed in MALFORMED:
        found = ask(daemon.port, bytes_)
        assert found in allowed, f"{bytes_[:80]!r}: answered {found}, wanted one of {allowed}"
    # The fuzzer's corpus, whole, cut at each quarter, and with each of some bytes turned over.
    rng = random.Random(1)
    for seed in sorted((SOURCE / "src" / "http" / "seeds" / "http_fuzz").iterdir()):
        whole = seed.read_bytes()
        turned = bytearray(whole)
        for _ in range(4):
            turned[rng.randrange(len(turned))] ^= 1 << rng.randrange(8)
        for bytes_ in (whole, whole[:len(whole) // 2], bytes(turned)):
            found = ask(daemon.port, bytes_)
            assert found is None or found not in (500, 503), f"{seed.name} {bytes_[:80]!r}: {found}"
    assert daemon.metrics()["citadel_http_malformed_total"] >= len(MALFORMED) // 2


def knock(daemon):
    """A connection that says nothing."""
    connection = socket.socket()
    connection.setblocking(False)
    connection.connect_ex(("127.0.0.1", daemon.port))
    return connection


def healthy(connection, daemon):
    status, answer = daemon.request("GET", "/healthz", connection=connection, key=False)
    assert (status, answer) == (200, {"status": "alive"}), (status, answer)


def storm(daemon, load):
    """Far more connections than are allowed: those beyond are told so and closed; who has one is served."""
    kept = daemon.connection()
    healthy(kept, daemon)
    sockets = [knock(daemon) for _ in range(STORM)]
    healthy(kept, daemon)
    refused, selector = set(), selectors.DefaultSelector()
    for connection in sockets:
        selector.register(connection, selectors.EVENT_READ)

    def shed():
        for key, _ in selector.select(0):
            try:
                answer = key.fileobj.recv(4096)
            except OSError:
                answer = b""
            assert status_of(answer) in (503, None), answer
            refused.add(key.fileobj)
            selector.unregister(key.fileobj)
        return len(refused) >= STORM - CONNECTIONS_MAX
    wait_until(shed, f"connections beyond {CONNECTIONS_MAX} are shed")
    healthy(kept, daemon)
    load.wait_posted(100)
    status, metrics = daemon.request("GET", "/metrics", connection=kept)
    assert status == 200
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(values["citadel_http_connections_refused_total"]) >= STORM - CONNECTIONS_MAX
    assert float(values["citadel_http_connections"]) <= CONNECTIONS_MAX
    for connection in sockets:
        connection.close()
    selector.close()
    kept.close()


def slowloris(daemon, load):
    """Headers that come a byte at a time, and bodies that never come: ended by their deadlines."""
    halves = [head("GET", "/healthz")[:-4], head("POST", "/v1/requests", KEY.strip(), b"Content-Length: 1000")]
    sockets = [(raw(daemon.port), halves[i % 2], time.monotonic()) for i in range(200)]
    for connection, half, _ in sockets:
        connection.sendall(half)
    open_, slowest = list(sockets), 0.0
    limit = daemon.seconds("http", "header_timeout") + daemon.seconds("http", "request_timeout") + 2
    while open_:
        for item in list(open_):
            connection, half, began = item
            connection.setblocking(False)
            try:
                if half is halves[0]:
                    connection.send(b"x")  # a little progress, to no end
                answer = connection.recv(4096)
            except BlockingIOError:
                assert time.monotonic() - began < limit, f"a slow request still lives after {limit} s"
                continue
            except OSError:
                answer = b""
            assert status_of(answer) in (408, None), answer
            slowest = max(slowest, time.monotonic() - began)
            connection.close()
            open_.remove(item)
        healthy(None, daemon)
    load.wait_posted(20)
    return slowest


def few_descriptors(servers):
    """Connections are shed before the journal has no descriptor left: records are still acknowledged, over many segments."""
    settings = {"http": {"connections_max": 5000}}
    with Daemon(servers, settings, command=("prlimit", f"--nofile={FEW}:{FEW}"), folder="few") as daemon:
        assert "raise the limit of open files" in daemon.log_text()
        load = Load(daemon)
        load.settle()
        kept = daemon.connection()
        healthy(kept, daemon)
        invariants = Invariants(daemon, load)
        with load:
            load.wait_reads(20)
            sockets = [knock(daemon) for _ in range(300)]

            def refused():
                text = daemon.request("GET", "/metrics", connection=kept)[1]
                return any(line.startswith("citadel_http_connections_refused_total") and float(line.split()[1]) >= 200
                           for line in text.splitlines())
            wait_until(refused, "connections beyond what the descriptors allow are shed")
            segments = newest_segment(daemon)
            wait_until(lambda: newest_segment(daemon) >= segments + 2, "the journal opens new segments meanwhile")
            load.wait_reads(20)
            for connection in sockets:
                connection.close()
        kept.close()
        assert set(load.post_statuses) == {202}, load.post_statuses
        assert "Too many open files" not in daemon.log_text()
        invariants.check()
        print("few descriptors: posts", dict(load.post_statuses), "reads", dict(load.get_statuses))


def newest_segment(daemon):
    return max(int(path.stem) for path in pathlib.Path(daemon.folder / "journal").glob("*.segment"))


resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
with Citadel() as servers:
    with Daemon(servers, {"http": {"connections_max": CONNECTIONS_MAX}}) as daemon:
        load = Load(daemon)
        load.settle()
        with load:
            load.wait_reads(100)
        invariants = Invariants(daemon, load)
        resident = daemon.resident_bytes()
        with load:
            malformed(daemon)
            storm(daemon, load)
            slowest = slowloris(daemon, load)
        invariants.check()
        wait_until(lambda: daemon.resident_bytes() <= resident + RESIDENT_KEPT_BYTES_MAX,
                   f"memory is given back: {daemon.resident_bytes() >> 20} MiB, before {resident >> 20} MiB")
        print("posts", dict(load.post_statuses), "reads", dict(load.get_statuses), "slow clients ended by", round(slowest, 1),
              "MiB", resident >> 20, daemon.resident_bytes() >> 20)
    few_descriptors(servers)
