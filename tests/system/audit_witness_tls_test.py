#!/usr/bin/env python3
"""Witnesses over https, each a real server of Go's code with a certificate that openssl made: one whose certificate is good
cosigns; one for another name, of another CA, that is over, and one that does not speak TLS are not asked, with an error that
says what, where and what to do, and the log goes on."""
import subprocess

from audit_api import AuditApi
from audit_witness import Witness, cosignatures
from certificates import make_ca, make_certificate
from citadel_process import BINARY, Citadel, wait_until

# Name, names in the certificate, CA, days, and what is said of it.
WITNESSES = [("good", "IP:127.0.0.1", "ca", 2, None),
             ("named", "DNS:localhost", "ca", 2, None),
             ("other-host", "IP:127.0.0.2,DNS:localhost", "ca", 2, ("IP address mismatch", "use a name that stands in it")),
             ("other-ca", "IP:127.0.0.1", "other", 2, ("unable to get local issuer", "name its issuer in the file of trusted CAs")),
             ("over", "IP:127.0.0.1", "ca", -1, ("certificate has expired", "have it renewed"))]


def start_witnesses(citadel, key):
    folder = citadel.folder / "tls"
    folder.mkdir()
    for ca in ("ca", "other"):
        make_ca(folder, ca)
    witnesses = {}
    for name, names, ca, days, _ in WITNESSES:
        make_certificate(folder, name, names, ca, days)
        witnesses[name] = Witness(citadel, name, key, tls=folder / name)
    witnesses["plain"] = Witness(citadel, "plain", key)
    return witnesses


def write_policy(citadel, witnesses):
    policy = citadel.folder / "policy"
    urls = {w.name: w.url for w in witnesses.values()}
    urls["named"] = urls["named"].replace("127.0.0.1", "localhost")
    urls["plain"] = urls["plain"].replace("http://", "https://")
    policy.write_text("".join(f"witness {w.name} {w.key} {urls[w.name]}\n" for w in witnesses.values()) +
                      "group two 2 good named\nquorum two\n")
    citadel.environment["CITADEL_AUDIT_WITNESS_POLICY_FILE"] = str(policy)
    return policy, urls


def check_trusted(audit, witnesses, urls):
    citadel = audit.citadel
    answer = audit.record(3, ack="checkpoint")
    assert cosignatures(answer["checkpoint"]) == 2 and "note" not in answer, answer
    states = {w["name"]: w for w in audit.status()["witnesses"]["witnesses"]}
    assert [states[name]["state"] for name in ("good", "named")] == ["cosigned"] * 2, states
    for name, _, _, _, said in WITNESSES:
        if said:
            error = states[name]["last_error"]
            assert states[name]["state"] == "away" and all(text in error for text in (*said, urls[name], "audit.witness_ca_file")), states
            assert not witnesses[name].size(), "it was asked"
    assert states["plain"]["state"] == "away" and "TLS" in states["plain"]["last_error"], states
    assert audit.dependency("audit_witnesses")["ready"] and audit.metric("citadel_audit_witness_failures_total") >= 4
    shown = {f["subject"]: f for f in citadel.run_json("doctor", "--data", str(citadel.data))["findings"]}
    assert shown["audit witness good"]["severity"] == "good" and urls["good"] in shown["audit witness good"]["found"], shown
    assert shown["audit witness over"]["severity"] == "warning" and "has expired" in shown["audit witness over"]["found"], shown
    assert citadel.run_json("audit", "verify", "--witness", witnesses["good"].key)["passed"]


def check_kept_connection_closed(audit, witnesses):
    """A witness that was started anew has closed the kept connection: the next checkpoint is cosigned all the same."""
    failures = {w["name"]: w["failures_total"] for w in audit.status()["witnesses"]["witnesses"]}
    witnesses["good"].kill()
    witnesses["good"].start()
    assert cosignatures(audit.record(1, ack="checkpoint")["checkpoint"]) == 2
    again = {w["name"]: w["failures_total"] for w in audit.status()["witnesses"]["witnesses"]}
    assert again["good"] == failures["good"], (failures, again)


def check_renewed(audit, witnesses):
    """A certificate that was over is renewed: the witness cosigns by itself."""
    folder = audit.citadel.folder / "tls"
    witnesses["over"].kill()
    make_certificate(folder, "over", "IP:127.0.0.1")
    witnesses["over"].start()
    wait_until(lambda: audit.status()["witnesses"]["cosignatures"] == 3, "the renewed one has cosigned")


def check_system_trust(audit, witnesses):
    """Without audit.witness_ca_file the system's CAs are believed, which do not know ours."""
    citadel = audit.citadel
    citadel.stop()
    del citadel.environment["CITADEL_AUDIT_WITNESS_CA_FILE"]
    citadel.start()
    answer = audit.record(2, ack="checkpoint")
    assert cosignatures(answer["checkpoint"]) == 0 and "quorum" in answer["note"], answer
    error = audit.status()["witnesses"]["witnesses"][0]["last_error"]
    assert "unable to get local issuer" in error and "the system's" in error, error
    # OpenSSL's own variable says which those are.
    citadel.stop()
    citadel.environment["SSL_CERT_FILE"] = str(citadel.folder / "tls" / "ca.pem")
    citadel.start()
    wait_until(lambda: audit.status()["witnesses"]["quorum_met"], "those of the system are believed")
    del citadel.environment["SSL_CERT_FILE"]


def check_configuration(citadel):
    def check(ca_file):
        environment = dict(citadel.environment, CITADEL_AUDIT_WITNESS_CA_FILE=str(ca_file))
        return subprocess.run([BINARY, "config", "check"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert check(citadel.folder / "tls" / "ca.pem").returncode == 0
    for ca_file in (citadel.folder / "no-such.pem", citadel.folder / "tls" / "ca.key"):
        done = check(ca_file)
        assert done.returncode == 1 and "audit.witness_ca_file: " + str(ca_file) in done.stderr, done
        assert "no certificates can be read" in done.stderr and "leave the key out" in done.stderr, done


def main():
    with Citadel() as citadel:
        audit = AuditApi(citadel)
        key = citadel.run("audit", "key").strip()
        citadel.stop()
        witnesses = start_witnesses(citadel, key)
        try:
            _, urls = write_policy(citadel, witnesses)
            citadel.environment["CITADEL_AUDIT_WITNESS_CA_FILE"] = str(citadel.folder / "tls" / "ca.pem")
            citadel.start()
            check_trusted(audit, witnesses, urls)
            check_kept_connection_closed(audit, witnesses)
            check_renewed(audit, witnesses)
            check_system_trust(audit, witnesses)
            check_configuration(citadel)
        finally:
            for witness in witnesses.values():
                witness.kill()


main()
