"""What the tests of the audit trail's outward part share: its API and its state, of a running `citadel up`."""
import json
import urllib.error
import urllib.request


class AuditApi:
    def __init__(self, citadel):
        self.citadel = citadel

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.citadel.url + path, method=method, data=data)
        request.add_header("Authorization", "Bearer " + (self.citadel.data / "admin.key").read_text().strip())
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

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


def event(number=0, **more):
    return dict({"actor": {"type": "user", "id": "ada"}, "action": "model_version.promote",
                 "object": {"type": "model_version", "id": f"fraud/{number}"}, "outcome": "success"}, **more)
