#!/usr/bin/env python3
"""Who may call what: each role on each route, keys that are made, rotated, revoked and expire, tenants that do not see each other,
two daemons on one database, and a database that is away."""
import os
import re
import stat
import subprocess

from audit_api import AuditApi, call, psql
from audit_trail import AuditDaemon
from citadel_process import BINARY, SOURCE, Citadel, wait_until

ROLES = {"A": "admin", "O": "operator", "G": "gateway", "M": "model_service", "U": "auditor", "R": "reader"}
# What was promised; where a sanitizer makes everything slow, that it comes.
PROMISED_SECONDS = 60 if os.environ.get("CITADEL_TEST_SANITIZER") else 5


def rules():
    """Method, pattern, reach and roles of each line of the table."""
    found = re.findall(r'\{"([A-Z]+)",\s+"([^"]+)",\s+Reach::(\w+),\s+([^}]+)\}', (SOURCE / "src/access/routes.cpp").read_text())
    assert len(found) > 40, found
    return [(method, pattern, reach, set(ROLES.values()) if roles == "everybody" else {ROLES[r] for r in roles.split(" | ")})
            for method, pattern, reach, roles in found]


def new_key(citadel, principal, *more):
    return citadel.run_json("key", "create", "--principal", principal, *more)


def status(daemon, key, method="GET", path="/v1/keys", body=None):
    return call(daemon.url, key, method, path, body)


def check_roles(citadel):
    """No such parameter is known: who is let in gets 400 and nothing is done."""
    for tenant in ("default", "acme"):
        for role in ROLES.values():
            citadel.run("principal", "create", f"{role}-1", "--role", role, "--tenant", tenant)
            key = new_key(citadel, f"{role}-1", "--tenant", tenant)["key"]
            for method, pattern, reach, roles in rules():
                path = re.sub(r"\{[^}]*\}", "x", pattern) + "?no_such=1"
                code, answer = status(citadel, key, method, path)
                allowed = reach == "open" or (role in roles and (reach == "tenant" or tenant == "default"))
                assert (code == 403) != allowed and code != 401, (tenant, role, method, pattern, code, answer)
                if not allowed:
                    assert answer["type"] == "/problems/permission_denied", answer
    wait_until(lambda: status(citadel, "ck_Abcdef12_" + "x" * 32)[0] == 401, "what is no key here is not valid")
    assert status(citadel, "nonsense")[0] == 401


def check_tenants(citadel):
    """A tenant's own admin sees and changes its tenant alone; so does the daemon's role in the database."""
    acme = new_key(citadel, "admin-1", "--tenant", "acme")["key"]
    other = citadel.run_json("key", "list")["keys"][0]
    code, answer = status(citadel, acme)
    assert code == 200 and {key["tenant"] for key in answer["keys"]} == {"acme"}, answer
    assert status(citadel, acme, path="/v1/keys?tenant=default")[0] == 403
    assert status(citadel, acme, "POST", "/v1/principals", {"name": "x", "role": "reader", "tenant": "default"})[0] == 403
    assert status(citadel, acme, "POST", f"/v1/keys/{other['id']}/revoke", {})[0] == 404
    code, made = status(citadel, acme, "POST", "/v1/principals", {"name": "own", "role": "reader"})
    assert code == 201 and made["tenant"] == "acme", made
    for table in ("tenant", "principal", "api_key"):
        assert psql(citadel, f"select count(*) from access.{table}", "citadel_app") == "0", table


def check_requests_and_usage(citadel):
    """A tenant's service writes for its tenant, and its reader reads what is of its tenant."""
    admin = (citadel.data / "admin.key").read_text().strip()
    writer = new_key(citadel, "gateway-1", "--tenant", "acme")["key"]
    reader = new_key(citadel, "reader-1", "--tenant", "acme")["key"]
    record = {"model": "m", "prompt_tokens": 3, "completion_tokens": 4}
    code, answer = status(citadel, admin, "POST", "/v1/requests", [record, dict(record, tenant="acme"), dict(record, tenant="other")])
    assert code == 202, answer
    of_default, of_acme, of_other = answer["ids"]
    code, answer = status(citadel, writer, "POST", "/v1/requests", [record, dict(record, tenant="acme")])
    assert code == 202, answer
    own = {of_acme, *answer["ids"]}
    code, answer = status(citadel, writer, "POST", "/v1/requests", [record, dict(record, tenant="other")])
    assert code == 400 and answer["field"] == "/1/tenant", answer
    citadel.wait_drained()
    code, answer = status(citadel, reader, path="/v1/requests")
    assert code == 200 and {r["id"] for r in answer["requests"]} == own, answer
    code, answer = status(citadel, reader, path="/v1/usage")
    assert code == 200 and answer["totals"]["requests"] == 3 and answer["totals"]["prompt_tokens"] == 9, answer
    code, answer = status(citadel, reader, path="/v1/usage?group_by=tenant")
    assert {b["tenant"] for b in answer["buckets"]} == {"acme"}, answer
    assert status(citadel, reader, path=f"/v1/requests/{of_acme}")[0] == 200
    missing = status(citadel, reader, path="/v1/requests/019a0000-0000-7000-8000-000000000000")
    for foreign in (of_default, of_other):
        code, answer = status(citadel, reader, path=f"/v1/requests/{foreign}")
        assert code == 404 and answer["detail"].replace(foreign, "") == missing[1]["detail"].replace(
            "019a0000-0000-7000-8000-000000000000", ""), (answer, missing)
    for path in ("/v1/requests?tenant=other", "/v1/usage?tenant=other"):
        code, answer = status(citadel, reader, path=path)
        assert code == 403 and answer["field"] == "tenant", (path, code, answer)
    code, answer = status(citadel, admin, path="/v1/usage?group_by=tenant")
    assert {b["tenant"] for b in answer["buckets"]} == {"default", "acme", "other"}, answer
    assert status(citadel, admin, path=f"/v1/requests/{of_other}")[0] == 200


def check_wrong_input(citadel):
    admin = (citadel.data / "admin.key").read_text().strip()
    for method, path, body, code, field in (
            ("POST", "/v1/tenants", {"name": "a b"}, 400, "name"), ("POST", "/v1/tenants", {"name": "acme"}, 409, "name"),
            ("POST", "/v1/tenants", {}, 400, "/name"),
            ("POST", "/v1/principals", {"name": "x", "role": "root"}, 400, "/role"),
            ("POST", "/v1/principals", {"name": "x", "role": "reader", "tenant": "none"}, 404, None),
            ("POST", "/v1/keys", {"principal": "nobody"}, 404, None),
            ("POST", "/v1/keys", {"principal": "admin-1", "valid_seconds": 0}, 400, "/valid_seconds"),
            ("POST", "/v1/principals/nobody/disable", {}, 404, None), ("POST", "/v1/principals/x/enable", {"x": 1}, 400, "/x"),
            ("POST", "/v1/keys/x/rotate", {"overlap_seconds": 1}, 400, "id"),
            ("POST", "/v1/keys/x/revoke", {}, 400, "id"),
            ("POST", "/v1/keys/019a0000-0000-7000-8000-000000000000/rotate", {}, 400, "/overlap_seconds"),
            ("POST", "/v1/keys/019a0000-0000-7000-8000-000000000000/revoke", {}, 404, None)):
        found, answer = status(citadel, admin, method, path, body)
        assert (found, answer.get("field")) == (code, field) and answer["status"] == code, (path, body, found, answer)


def check_life_of_a_key(citadel, second):
    """Two daemons: what is done at the one is felt at the other."""
    made = new_key(citadel, "reader-1")
    citadel.run("principal", "create", "ada", "--role", "admin")
    both = (citadel, second)
    ada = new_key(citadel, "ada")["key"]
    for daemon in both:
        wait_until(lambda: status(daemon, ada)[0] == 200, "the key is known", PROMISED_SECONDS)

    # Both are valid for the overlap.
    code, rotated = status(second, ada, "POST", f"/v1/keys/{made['id']}/rotate", {"overlap_seconds": 3600})
    assert code == 201 and rotated["key"] != made["key"] and rotated["principal"] == "reader-1", rotated
    for daemon in both:
        wait_until(lambda: status(daemon, rotated["key"], path="/v1/usage")[0] == 200, "the new one is known", PROMISED_SECONDS)
        assert status(daemon, made["key"], path="/v1/usage")[0] == 200
    code, answer = status(second, ada, "POST", f"/v1/keys/{made['id']}/rotate", {"overlap_seconds": 1})
    assert code == 409, answer

    # Revoked at the one, felt at the other; at the one at once.
    said = citadel.run("key", "revoke", rotated["id"])
    assert rotated["id"] in said and "default/reader-1" in said, said
    assert status(citadel, rotated["key"], path="/v1/usage")[0] == 401
    wait_until(lambda: status(second, rotated["key"], path="/v1/usage")[0] == 401, "the revocation is felt", PROMISED_SECONDS)
    assert "revoked" in status(second, rotated["key"], path="/v1/usage")[1]["detail"]

    # An overlap ends by itself, and so does a key's time.
    brief = new_key(citadel, "reader-1")
    citadel.run("key", "rotate", brief["id"], "--overlap", "1", "--out", str(citadel.folder / "rotated.key"))
    expiring = new_key(citadel, "reader-1", "--valid", "1")
    assert expiring["expires_at"] > expiring["created_at"], expiring
    for key, why in ((brief["key"], "revoked"), (expiring["key"], "expired")):
        for daemon in both:
            wait_until(lambda: why in status(daemon, key, path="/v1/usage")[1].get("detail", ""), why)
            assert status(daemon, key, path="/v1/usage")[0] == 401
    return ada, made


def check_commands(citadel, secrets):
    """A secret is in the answer, or in its file, and nowhere else."""
    file = citadel.folder / "written.key"
    shown = citadel.run("key", "create", "--principal", "reader-1", "--out", str(file))
    key = file.read_text().strip()
    assert shown == "" and stat.S_IMODE(file.stat().st_mode) == 0o600, (shown, oct(file.stat().st_mode))
    as_reader = dict(citadel.client_environment(), CITADEL_KEY_FILE=str(file))
    done = subprocess.run([BINARY, "usage", "--json"], env=as_reader, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done
    done = subprocess.run([BINARY, "key", "list"], env=as_reader, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and "the role reader may not call GET /v1/keys" in done.stderr, done
    printed = citadel.run("key", "create", "--principal", "reader-1").strip()
    assert re.fullmatch(r"ck_[A-Za-z0-9]{8}_[A-Za-z0-9]{32}", printed), printed
    for wrong in (("--valid", "0"), ("--valid", "-5")):
        citadel.run("key", "create", "--principal", "reader-1", *wrong, expect=2)
    citadel.run("key", "create", "--principal", "reader-1", "--out", "-", expect=2)
    table = citadel.run("key", "list")
    assert "prefix" in table and printed[3:11] in table and printed not in table, table
    assert "acme" in citadel.run("tenant", "list") and "auditor-1" in citadel.run("principal", "list", "--tenant", "acme")
    logs = "".join(path.read_text(errors="replace") for path in citadel.folder.glob("**/*.log"))
    rows = psql(citadel, "select string_agg(k::text, ' ') from access.api_key k")
    for secret in [key, printed, *secrets]:
        assert secret.split("_")[2] not in logs and secret.split("_")[2] not in rows, "a secret is where it must not be"


def check_entries(citadel, made):
    """Each change by whom it was and of which tenant, in the trail, without what makes a key."""
    audit = AuditApi(citadel)
    wait_until(lambda: audit.entries(actor="default/ada", action="database.update"), "the entries are in the log")
    rotated = audit.entries(actor="default/ada", action="database.update")
    assert [(e["event"]["object"], e["event"]["actor"]["type"]) for e in rotated] == \
        [({"type": "access.api_key", "id": made["id"]}, "principal")], rotated
    by_admin = audit.entries(actor="admin", action="database.insert", tenant="acme")
    assert {e["event"]["object"]["type"] for e in by_admin} == {"access.tenant", "access.principal", "access.api_key"}, by_admin
    code, opened = audit.call("GET", f"/v1/audit/entries/{rotated[0]['index']}?open=groups")
    assert code == 200 and opened["event"]["details"]["after"]["replaced_by"], opened
    assert "hash" not in opened["event"]["details"]["after"] and "hash" not in opened["event"]["details"]["before"], opened
    # Who still uses a key that has ended.
    refused = audit.entries(action="auth.failure", actor="default/reader-1")
    assert refused and refused[0]["event"]["actor"]["auth_method"].startswith("api_key:"), refused
    assert audit.entries(action="auth.success", tenant="acme"), "what a tenant's principals do is under its name"
    denied = audit.entries(action="key.denied")
    assert denied and all(e["event"]["outcome"] == "denied" for e in denied), denied
    citadel.run("audit", "verify")


def check_outage(citadel, second, ada):
    """The servers go; the second daemon stays."""
    admin = second.key
    assert citadel.stop() == 0
    code, answer = status(second, ada, path="/v1/status")
    assert code == 200, answer
    # A key that was never here may be a new one: nobody knows.
    stranger = "ck_Abcdef12_" + "x" * 32
    wait_until(lambda: status(second, stranger, path="/v1/status")[0] == 503, "a key that is not here is not known")
    assert status(second, "nonsense", path="/v1/status")[0] == 401
    wait_until(lambda: status(second, ada, path="/v1/status")[0] == 503, "keys are too old")
    code, answer = status(second, ada, path="/v1/status")
    assert code == 503 and "access.stale_max" in answer["detail"] and answer["type"] == "/problems/unavailable", answer
    code, answer = status(second, admin, path="/v1/status")
    assert code == 200, answer
    code, answer = status(second, admin, "POST", "/v1/keys", {"principal": "ada"})
    assert code in (503, 504), answer
    citadel.start()
    wait_until(lambda: status(second, ada, path="/v1/status")[0] == 200, "keys are followed again")
    assert status(citadel, ada, path="/v1/status")[0] == 200


def main():
    with Citadel() as citadel:
        pepper = citadel.data / "access.pepper"
        assert stat.S_IMODE(pepper.stat().st_mode) == 0o600
        citadel.run("tenant", "create", "acme")
        check_roles(citadel)
        check_tenants(citadel)
        check_requests_and_usage(citadel)
        check_wrong_input(citadel)
        with AuditDaemon(citadel, "second", f'[access]\npepper_file = "{pepper}"\nstale_max = "10s"') as second:
            ada, made = check_life_of_a_key(citadel, second)
            check_commands(citadel, [ada, made["key"]])
            check_entries(citadel, made)
            check_outage(citadel, second, ada)


main()
