#!/usr/bin/env python3
"""TLS on both hops, from the daemon to Pgpool-II and from there to PostgreSQL, and on the direct way: with a certificate that is
checked, records go through and PostgreSQL sees encryption; with another issuer or another name, nobody gets in."""
import os
import re
import shutil
import signal
import subprocess

from certificates import make_ca, make_certificate
from citadel_process import BINARY, Citadel, reserve_port, wait_until


def make_certificates(citadel):
    """A CA, a server's certificate for localhost (not for 127.0.0.1), and another CA."""
    folder = citadel.folder / "tls"
    folder.mkdir()
    for name in ("ca", "other"):
        make_ca(folder, name)
    make_certificate(folder, "server", "DNS:localhost")
    owner = (citadel.data / "postgres").stat()
    (folder / "server.key").chmod(0o600)
    os.chown(folder / "server.key", owner.st_uid, owner.st_gid)
    folder.chmod(0o755)
    return folder


def restart(citadel, name):
    before = citadel.kill_server(name)
    wait_until(lambda: citadel.server(name) not in (None, before), f"another {name} runs")


def encrypt_servers(citadel, folder):
    (citadel.data / "postgres.extra.conf").write_text(
        f"ssl = on\nssl_cert_file = '{folder}/server.pem'\nssl_key_file = '{folder}/server.key'\n")
    conf = citadel.data / "pgpool" / "pgpool.conf"
    text = re.sub(r"^backend_hostname0 = .*$", "backend_hostname0 = '127.0.0.1'", conf.read_text(), flags=re.M)
    conf.write_text(text + f"ssl = on\nssl_cert = '{folder}/server.pem'\nssl_key = '{folder}/server.key'\n")
    restart(citadel, "postgres")
    restart(citadel, "pgpool")


class Encrypted:
    """`citadel serve` on these servers; `tls` and `ca` of both ways."""

    def __init__(self, citadel, name, host="localhost", ca="ca", tls="verify_full"):
        self.citadel, self.folder = citadel, citadel.folder / name
        self.folder.mkdir()
        self.port = reserve_port()
        self.config = self.folder / "citadel.toml"
        way = f'host = "{host}"\ntls = "{tls}"\ntls_ca_file = "{citadel.folder}/tls/{ca}.pem"\n'
        secrets = citadel.data / "secrets"
        self.config.write_text(
            f'[http]\nlisten = "127.0.0.1:{self.port}"\n[database]\nport = {citadel.pgpool}\napplication_name = "encrypted"\n{way}'
            f'password_file = "{secrets}/citadel_app.password"\n[database.direct]\nport = {citadel.postgres}\n{way}'
            f'[owner]\npassword_file = "{secrets}/citadel_owner.password"\n[journal]\nfolder = "{self.folder}/journal"\n'
            f'[admin]\nkey_file = "{self.folder}/admin.key"\n[audit]\nenabled = false\n')

    def command(self, *arguments, expect=0):
        done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, check=False, timeout=60,
                              env=dict(os.environ, CITADEL_URL=f"http://127.0.0.1:{self.port}",
                                       CITADEL_KEY_FILE=f"{self.folder}/admin.key", XDG_STATE_HOME=str(self.folder)))
        assert done.returncode == expect, done
        return done.stdout + done.stderr


def seen_by_postgres(citadel):
    """Encrypted, and all, of the sessions that the daemon has by Pgpool-II."""
    password = (citadel.data / "secrets" / "postgres.password").read_text().strip()
    done = subprocess.run(["psql", "-XAt", "-h", "127.0.0.1", "-p", str(citadel.postgres), "-U", "postgres", "citadel_ai", "-c",
                           "select count(*) filter (where ssl), count(*) from pg_stat_ssl join pg_stat_activity using (pid) "
                           "where application_name = 'encrypted'"], check=True, capture_output=True, text=True, timeout=20,
                          env=dict(os.environ, PGPASSWORD=password))
    return tuple(map(int, done.stdout.split("|")))


def check_served(citadel):
    daemon = Encrypted(citadel, "serve")
    process = subprocess.Popen([BINARY, "serve", "--config", str(daemon.config)], stdout=subprocess.PIPE,
                               stderr=open(daemon.folder / "log", "wb"))
    try:
        assert process.stdout.readline().startswith(b"ready"), (daemon.folder / "log").read_text()
        trace = citadel.folder / "few.csv"
        trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,10,2\n")
        daemon.command("import", str(trace), "--model", "encrypted")
        wait_until(lambda: '"requests":1' in daemon.command("usage", "--json", "--model", "encrypted", "--from",
                                                            "2023-11-16T00:00:00Z", "--to", "2023-11-17T00:00:00Z"), "it is stored")
        encrypted, all_of_them = seen_by_postgres(citadel)
        assert encrypted == all_of_them > 0, (encrypted, all_of_them)
        found = daemon.command("doctor", "--config", str(daemon.config))
        for subject in ("database.tls", "database.direct.tls"):
            assert re.search(rf"^{subject} +good +the certificate is checked", found, re.M), found
        daemon.command("migrate", "--status", "--config", str(daemon.config))
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
        process.stdout.close()
    assert code == 0, (code, (daemon.folder / "log").read_text())


def check_refused(citadel):
    """Fails closed, on both ways."""
    for name, options, said in (("other-issuer", {"ca": "other"}, "certificate verify failed"),
                                ("other-name", {"host": "127.0.0.1"}, "does not match host name")):
        daemon = Encrypted(citadel, name, **options)
        found = daemon.command("doctor", "--config", str(daemon.config), expect=1)
        assert len(re.findall(rf"^database(?:\.direct)? +FAULT .*{said}", found, re.M)) == 2, found


def main():
    with Citadel() as citadel:
        encrypt_servers(citadel, make_certificates(citadel))
        check_served(citadel)
        check_refused(citadel)


main()
