"""What the tests of the audit trail share: events, its API and its state, of a running `citadel up`, and its tables as a superuser
sees and changes them."""
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
import uuid


def event(number=0, **more):
    return dict({"actor": {"type": "user", "id": "ada"}, "action": "model_version.promote",
                 "object": {"type": "model_version", "id": f"fraud/{number}"}, "outcome": "success"}, **more)


def uuid7(milliseconds=None):
    raw = (int(time.time() * 1000) if milliseconds is None else milliseconds) << 80 | uuid.uuid4().int & ((1 << 76) - 1)
    return str(uuid.UUID(int=(raw & ~(0xF << 76) & ~(0x3 << 62)) | 7 << 76 | 2 << 62))


def call(url, key, method, path, body=None, headers=None, timeout=60):
    """Status and answer as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url + path, method=method, data=data)
    request.add_header("Authorization", "Bearer " + key)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def psql(servers, sql, user="postgres", database="citadel_ai"):
    """Past Pgpool-II, in one transaction."""
    password = (servers.data / "secrets" / f"{user}.password").read_text().strip()
    done = subprocess.run(["psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p",
                           str(servers.postgres), "-U", user, "-d", database, "-1", "-f", "-"], input=sql, capture_output=True,
                          text=True, check=False, timeout=120, env=dict(os.environ, PGPASSWORD=password))
    assert done.returncode == 0, f"{sql[:2000]}: {done.stderr}"
    return done.stdout.strip()


def triggers(how):
    """Triggers that are ENABLE ALWAYS fire in every role, so each is named, those of partitions too."""
    return ("DO $$ DECLARE t text; BEGIN FOR t IN SELECT format('ALTER TABLE %s " + how + " TRIGGER %I', tgrelid::regclass, tgname) "
            "FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE c.relnamespace = 'audit'::regnamespace AND NOT tgisinternal "
            "LOOP EXECUTE t; END LOOP; END $$; ")


def past_triggers(sql):
    """With no trigger on, as only a superuser can; the log's lock first, as the sequencer has it, or the two lock each other out."""
    return "SELECT pg_advisory_xact_lock(4850147, 2); SET session_replication_role = replica; " + triggers("DISABLE") + sql + "; " + triggers("ENABLE ALWAYS")


class AuditApi:
    def __init__(self, citadel):
        self.citadel = citadel

    def call(self, method, path, body=None, headers=None):
        return call(self.citadel.url, (self.citadel.data / "admin.key").read_text().strip(), method, path, body, headers)

    def psql(self, sql, user="postgres"):
        return psql(self.citadel, sql, user)

    def record(self, count=1, ack="database", **more):
        """Records events and gives the answer; fails the test where they are not acknowledged as asked."""
        status, answer = self.call("POST", f"/v1/audit/events?ack={ack}", [event(n, **more) for n in range(count)])
        assert status == 200, (status, answer)
        return answer

    def status(self):
        return json.loads(self.citadel.get("/v1/status"))["audit"]

    def dependency(self, name):
        """Of /readyz, whether the daemon is ready or not."""
        try:
            text = self.citadel.get("/readyz")
        except urllib.error.HTTPError as error:
            text = error.read()
        return next((d for d in json.loads(text)["dependencies"] if d["name"] == name), None)

    def metric(self, name):
        return sum(float(line.split()[-1]) for line in self.citadel.get("/metrics").splitlines()
                   if line.split("{")[0].split(" ")[0] == name)

    def entries(self, **query):
        """All entries that a search finds, newest first."""
        found, cursor = [], None
        while True:
            parameters = [f"{key}={value}" for key, value in query.items()] + ([f"cursor={cursor}"] if cursor else [])
            status, page = self.call("GET", "/v1/audit/events?" + "&".join(parameters))
            assert status == 200, page
            found += page["events"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found
