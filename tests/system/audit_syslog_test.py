#!/usr/bin/env python3
"""`citadel audit export --format syslog --to` against a real rsyslogd, over TCP and TLS: it is killed in the middle, and so is
the export, and afterwards no entry is missing; a certificate that is not the receiver's is refused, and a connection that the
receiver ends by itself confirms nothing."""
import os
import re
import resource
import select
import shutil
import socket
import ssl
import subprocess
import threading

from audit_api import AuditApi, event
from citadel_process import BINARY, Citadel, reserve_port, wait_until

EVENTS = 30_000  # three windows


class Rsyslog:
    """Takes framed messages on a port of its own and writes each, as it came, as a line."""

    def __init__(self, folder, tls=None):
        self.folder = folder
        folder.mkdir()
        self.port, self.file = reserve_port(), folder / "received"
        certificates = "" if tls is None else f"""
global(defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{tls}/ca.pem"
       defaultNetstreamDriverCertFile="{tls}/server.pem" defaultNetstreamDriverKeyFile="{tls}/server.key")"""
        driver = "" if tls is None else ' streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon"'
        (folder / "rsyslog.conf").write_text(f"""
global(workDirectory="{folder}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="on"){certificates}
module(load="imtcp"{driver})
template(name="raw" type="string" string="%rawmsg%\\n")
ruleset(name="all") {{ action(type="omfile" file="{self.file}" template="raw") }}
input(type="imtcp" address="127.0.0.1" port="{self.port}" ruleset="all")
""")
        self.start()

    def start(self):
        # A copy: where AppArmor confines rsyslogd, it is by the path of the original, and our folder is not in it.
        program = shutil.copy("/usr/sbin/rsyslogd", self.folder / "rsyslogd")
        self.process = subprocess.Popen([program, "-n", "-f", self.folder / "rsyslog.conf", "-i",
                                         self.folder / "pid"], stderr=open(self.folder / "errors", "ab"))
        wait_until(self.listens, "rsyslogd listens", 20)

    def listens(self):
        assert self.process.poll() is None, (self.folder / "errors").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it in peace: what is in its queue is written."""
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0

    def indexes(self):
        """Of what it wrote, in order, with repeats. A line that a kill cut off is not one."""
        text = self.file.read_text() if self.file.exists() else ""
        return [int(found) for found in re.findall(r'^<\d+>1 .*\[citadel@32473 index="(\d+)".*\n', text, re.M)]


class Relay:
    """Between export and receiver: lets `limit` bytes through, and then holds until it is told to break off."""

    def __init__(self, port, limit):
        self.target, self.left = port, limit
        self.held, self.broken = threading.Event(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", reserve_port()))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.broken.is_set():
            if not select.select([self.listener], [], [], 0.1)[0]:
                continue
            source = self.listener.accept()[0]
            with source, socket.create_connection(("127.0.0.1", self.target)) as sink:
                self.pass_on(source, sink)
        self.listener.close()

    def pass_on(self, source, sink):
        while True:
            readable = select.select([source, sink], [], [])[0]
            if sink in readable:
                if not sink.recv(65536):
                    return
            if source in readable:
                piece = source.recv(min(65536, self.left))
                if not piece:
                    sink.shutdown(socket.SHUT_WR)
                    while sink.recv(65536):
                        pass
                    return
                sink.sendall(piece)
                self.left -= len(piece)
                if self.left == 0:
                    self.held.set()
                    self.broken.wait()
                    return

    def break_off(self):
        self.broken.set()
        self.thread.join()


def export(citadel, target, *more, expect=0):
    done = subprocess.run([BINARY, "audit", "export", "--format", "syslog", "--to", target, *more],
                          env=citadel.client_environment(), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == expect, done
    return done.stderr


def log_size(audit):
    return audit.status()["checkpoint"]["size"]


def fill(audit):
    for first in range(0, EVENTS, 10_000):
        body = [event(n, reason='because "of" ]' + "x" * 200) for n in range(first, first + 10_000)]
        status, answer = audit.call("POST", "/v1/audit/events?ack=database", body)
        assert status in (200, 202), answer
    wait_until(lambda: log_size(audit) > EVENTS, "all is under a checkpoint", 120)


def check_complete(receiver, size):
    received = receiver.indexes()
    missing = set(range(size)) - set(received)
    assert not missing, f"{len(missing)} of {size} are missing: {sorted(missing)[:5]}…"
    return received


def check_receiver_killed(audit, folder):
    """In the middle of the second window, with -9: what it had read is lost with it, and comes again."""
    citadel, state = audit.citadel, folder / "killed.state"
    receiver = Rsyslog(folder / "killed")
    relay = Relay(receiver.port, 10_000_000)
    target = f"tcp://127.0.0.1:{relay.port}"
    work = citadel.popen("audit", "export", "--format", "syslog", "--to", target, "--state", str(state), stderr=subprocess.PIPE,
                         text=True)
    assert relay.held.wait(120), "the export did not come so far"
    receiver.kill()
    relay.break_off()
    said = work.communicate(timeout=120)[1]
    assert work.returncode == 3 and "the same command goes on" in said and str(state) in said, (work.returncode, said)
    assert re.fullmatch(r"(10|20)\d{3} broken", state.read_text().splitlines()[3]), state.read_text()
    # The receiver is back at the same place.
    receiver.start()
    again = Relay(receiver.port, 1 << 40)
    state.write_text(state.read_text().replace(f":{relay.port}\n", f":{again.port}\n"))
    said = export(citadel, f"tcp://127.0.0.1:{again.port}", "--state", str(state))
    assert f"{EVENTS // 1000}," in said and "entries sent" in said, said
    again.break_off()
    receiver.stop()
    size = int(state.read_text().splitlines()[3].split()[0])
    received = check_complete(receiver, size)
    print(f"{size} entries, {len(received) - size} of them twice")


def check_export_killed_and_gone_on(audit, folder):
    citadel, state = audit.citadel, folder / "gone_on.state"
    receiver = Rsyslog(folder / "gone_on")
    relay = Relay(receiver.port, 10_000_000)
    work = citadel.popen("audit", "export", "--format", "syslog", "--to", f"tcp://127.0.0.1:{relay.port}", "--state", str(state),
                         stderr=subprocess.DEVNULL)
    assert relay.held.wait(120), "the export did not come so far"
    work.kill()
    work.wait()
    relay.break_off()
    state.write_text(state.read_text().replace(f":{relay.port}\n", f":{receiver.port}\n"))
    target = f"tcp://127.0.0.1:{receiver.port}"
    export(citadel, target, "--state", str(state), "--repeat", "1000")
    size = int(state.read_text().splitlines()[3].split()[0])
    wait_until(lambda: receiver.indexes()[-1:] == [size - 1], "it is written")
    repeated = len(check_complete(receiver, size)) - size
    # From the state on, and 1,000 before it: not from the beginning.
    assert 0 <= repeated < 13_000, repeated
    # What is new, and nothing else; and nothing where there is nothing.
    audit.record(5, ack="checkpoint")
    before = len(receiver.indexes())
    said = export(citadel, target, "--state", str(state))
    assert f"going on at entry {size}" in said, said
    grown = int(state.read_text().splitlines()[3].split()[0])
    wait_until(lambda: len(receiver.indexes()) == before + grown - size, "the new ones are written")
    receiver.stop()
    # The state is of this log and this target.
    assert "give another --state" in export(citadel, "tcp://127.0.0.1:1", "--state", str(state), expect=2)
    state.write_text(state.read_text().replace(f"\n{grown} ended", f"\n{grown + 100000} ended"))
    assert "lost its tail" in export(citadel, target, "--state", str(state), expect=1)


def check_state_never_goes_back(audit, folder):
    """An export that breaks off while it repeats has lost nothing that was confirmed before."""
    citadel, state = audit.citadel, folder / "back.state"
    receiver = Rsyslog(folder / "back")
    relay = Relay(receiver.port, 10_000_000)
    target = f"tcp://127.0.0.1:{relay.port}"
    origin = citadel.get("/tlog/checkpoint").splitlines()[0]
    state.write_text(f"citadel-syslog-export/1\n{target}\n{origin}\n29000 broken\n")
    work = citadel.popen("audit", "export", "--format", "syslog", "--to", target, "--state", str(state), "--repeat", "24000",
                         stderr=subprocess.PIPE, text=True)
    assert relay.held.wait(120), "the export did not come so far"
    relay.break_off()
    said = work.communicate(timeout=120)[1]
    assert work.returncode == 3 and re.search(r"\b15,\d{3} of ", said), (work.returncode, said)
    assert state.read_text().splitlines()[3] == "29000 broken", state.read_text()
    receiver.stop()


class EndsByItself:
    """A receiver that ends its side of the connection before ours is ended, and reads on: with TLS after the handshake, or by a
    bare alert in the middle of it."""

    def __init__(self, tls=None, handshakes=True):
        self.tls, self.handshakes = tls, handshakes
        self.listener = socket.create_server(("127.0.0.1", reserve_port()))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with self.listener, self.listener.accept()[0] as connection:
            if not self.handshakes:
                connection.recv(65536)
                connection.sendall(bytes.fromhex("15030300020100"))  # close_notify
            elif self.tls is None:
                connection.shutdown(socket.SHUT_WR)
            else:
                connection = self.end_tls(connection)
            try:
                while os.read(connection.fileno(), 65536):
                    pass
            except ConnectionResetError:
                pass
            connection.close()

    def end_tls(self, connection):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.tls / "server.pem", self.tls / "server.key")
        connection = context.wrap_socket(connection, server_side=True)
        connection.setblocking(False)
        try:
            connection.unwrap()
        except ssl.SSLError:  # said, and not answered
            pass
        connection.setblocking(True)
        return connection

    def join(self):
        self.thread.join(timeout=60)
        assert not self.thread.is_alive(), "the export has not closed its connection"


def check_end_that_was_there_before(citadel, folder):
    """It is no word that everything was read."""
    certificates = folder / "certificates"
    state, ca = folder / "early.state", ("--ca", str(certificates / "ca.pem"))
    for receiver, target, more, words in (
            (EndsByItself(), "tcp://127.0.0.1", (), "closed before it was told of the end"),
            (EndsByItself(certificates), "tls://localhost", ca, "closed before it was told of the end"),
            (EndsByItself(certificates, handshakes=False), "tls://localhost", ca, "the TLS handshake: the other side has closed")):
        said = export(citadel, f"{target}:{receiver.port}", *more, "--state", str(state), expect=3)
        receiver.join()
        assert words in said, said
        if state.exists():
            assert state.read_text().splitlines()[3] == "0 broken", state.read_text()
            state.unlink()


def make_certificates(folder):
    folder.mkdir()
    run = lambda *arguments: subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)
    for ca in ("ca", "other"):
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{ca}.key", "-out",
            f"{ca}.pem", "-days", "2", "-subj", f"/CN=test {ca}")
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out", "server.csr",
        "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    run("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile",
        "names", "-out", "server.pem")


def check_tls(audit, folder):
    citadel, certificates = audit.citadel, folder / "certificates"
    make_certificates(certificates)
    receiver = Rsyslog(folder / "tls", certificates)
    state, ca = ("--state", str(folder / "tls.state")), ("--ca", str(certificates / "ca.pem"))
    target = f"tls://localhost:{receiver.port}"
    for arguments, code, said in (((target, "--ca", str(certificates / "other.pem")), 1, "certificate"),
                                  ((f"tls://127.0.0.1:{receiver.port}", *ca), 1, "certificate: IP address mismatch"),
                                  ((target, "--ca", str(folder / "no.pem")), 2, "no certificates can be read"),
                                  ((target,), 1, "certificate")):
        assert said in export(citadel, *arguments, *state, expect=code), (arguments, said)
    assert receiver.indexes() == []
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    export(citadel, target, *ca, *state)
    after = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    receiver.stop()
    size = int((folder / "tls.state").read_text().splitlines()[3].split()[0])
    received = check_complete(receiver, size)
    assert len(received) == size, "sent twice without need"
    # 30 MB of messages went through.
    assert os.environ.get("CITADEL_TEST_SANITIZER") or after == before or after < 100_000, f"{after} KiB"
    lines = receiver.file.read_text().splitlines()
    promoted = next(line for line in lines if 'object_id="fraud/17"' in line)
    assert promoted.startswith("<108>1 20") and " model_version.promote [citadel@32473 " in promoted, promoted
    assert r'reason="because \"of\" \]xxx' in promoted, promoted


def check_bad_use(citadel):
    for target in ("udp://127.0.0.1:514", "tcp://", "tcp://127.0.0.1:0", "tcp://127.0.0.1:99999", "tls://[::1", "127.0.0.1:514"):
        assert "is neither tcp://" in export(citadel, target, expect=2), target
    nobody = reserve_port()
    assert "cannot connect" in export(citadel, f"tcp://127.0.0.1:{nobody}", expect=3)
    done = subprocess.run([BINARY, "audit", "export", "--to", "tcp://127.0.0.1:1"], env=citadel.client_environment(),
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "--to is for --format syslog" in done.stderr, done


def main():
    if not os.path.exists("/usr/sbin/rsyslogd"):
        raise SystemExit("rsyslogd is missing: tools/setup.sh installs it")
    with Citadel() as citadel:
        audit = AuditApi(citadel)
        fill(audit)
        check_bad_use(citadel)
        check_receiver_killed(audit, citadel.folder)
        check_export_killed_and_gone_on(audit, citadel.folder)
        check_state_never_goes_back(audit, citadel.folder)
        check_tls(audit, citadel.folder)
        check_end_that_was_there_before(citadel, citadel.folder)


main()
