#!/usr/bin/env python3
"""A real nginx with auth_request in front of a model service: who is let through, with which headers, and what becomes of it when
the database is away."""
import http.server
import json
import os
import signal
import subprocess
import threading
import urllib.error
import urllib.request

from audit_trail import AuditDaemon
from citadel_process import Citadel, reserve_port, wait_until

# As docs/security.md has it, but for ports and paths.
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  access_log off;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      auth_request /_authz;
      auth_request_set $citadel_tenant $upstream_http_x_citadel_tenant;
      auth_request_set $citadel_principal $upstream_http_x_citadel_principal;
      auth_request_set $citadel_role $upstream_http_x_citadel_role;
      auth_request_set $citadel_key $upstream_http_x_citadel_key;
      auth_request_set $citadel_age $upstream_http_age;
      # nginx knows 401 and 403; whatever else the subrequest says is a 500 to it.
      error_page 500 = @authz_unknown;
      proxy_set_header X-Citadel-Tenant $citadel_tenant;
      proxy_set_header X-Citadel-Principal $citadel_principal;
      proxy_set_header X-Citadel-Role $citadel_role;
      proxy_set_header X-Citadel-Key $citadel_key;
      proxy_set_header Authorization "";
      proxy_set_header X-Api-Key "";
      add_header X-Age $citadel_age;
      proxy_pass http://127.0.0.1:{service};
    }}
    location = /_authz {{
      internal;
      proxy_pass http://127.0.0.1:{daemon}/authz$request_uri;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }}
    location @authz_unknown {{
      add_header Retry-After 1 always;
      return 503;
    }}
  }}
}}
"""


class ModelService(http.server.BaseHTTPRequestHandler):
    """Says what the gateway has told it."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Gateway:
    def __init__(self, folder, daemon):
        self.service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ModelService)
        threading.Thread(target=self.service.serve_forever, daemon=True).start()
        self.port = reserve_port()
        configuration = folder / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(folder=folder, port=self.port, daemon=daemon.port,
                                                      service=self.service.server_port))
        self.process = subprocess.Popen(["nginx", "-e", str(folder / "nginx.log"), "-p", str(folder), "-c", str(configuration)])
        wait_until(lambda: self.call(None) is not None, "nginx answers")

    def call(self, key, body=b'{"prompt":"hello"}', path="/v1/chat/completions?x=1", headers=None):
        """Status, headers and body; None where nobody answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body)
        if key:
            request.add_header("Authorization", "Bearer " + key)
        # What a client says of itself must not reach the service.
        for name in ("Tenant", "Principal", "Role", "Key"):
            request.add_header(f"X-Citadel-{name}", "mallory")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, dict(answer.headers), json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read().decode()
        except urllib.error.URLError:
            return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)
        self.service.shutdown()
        self.service.server_close()


def new_key(citadel, name, role, tenant):
    citadel.run("principal", "create", name, "--role", role, "--tenant", tenant)
    return citadel.run_json("key", "create", "--principal", name, "--tenant", tenant)


def ask(daemon, key, method="GET"):
    """The subrequest itself, past nginx."""
    request = urllib.request.Request(f"{daemon.url}/authz/v1/models", method=method)
    request.add_header("X-Api-Key", key)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers)


def check_let_through(citadel, daemon, gateway, app, auditor):
    wait_until(lambda: gateway.call(app["key"])[0] == 200, "the daemon knows the key", 30)
    status, headers, told = gateway.call(app["key"])
    assert status == 200 and int(headers["X-Age"]) <= 5, (status, headers)
    for name, value in (("tenant", "acme"), ("principal", "acme/app"), ("role", "gateway"), ("key", app["prefix"])):
        assert told[f"x-citadel-{name}"] == value, told
    assert "authorization" not in told, told
    status, _, told = gateway.call(None, headers={"X-Api-Key": app["key"]})
    assert status == 200 and app["key"] not in json.dumps(told), told
    # What the request that is asked about holds is no matter of the subrequest's.
    for path in ("/v1/x?a=1&a=2", "/v1/x?q=100%", "/", "//x", "/?" + "&".join(f"p{i}=1" for i in range(100))):
        assert gateway.call(app["key"], path=path)[0] == 200, path
    for coding in ("gzip", "br"):
        assert gateway.call(app["key"], headers={"Content-Encoding": coding})[0] == 200, coding
    assert gateway.call(app["key"], body=b"x" * 900_000)[0] == 200, "a body is no matter of the subrequest's"
    assert ask(daemon, "nonsense", "OPTIONS")[0] == 401
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        status, headers = ask(daemon, app["key"], method)
        assert status == 200 and headers["X-Citadel-Role"] == "gateway" and headers["X-Citadel-Key"] == app["prefix"], headers
        assert headers["Cache-Control"] == "no-store", headers
    status, headers = ask(daemon, daemon.key)
    assert status == 200 and headers["X-Citadel-Principal"] == "admin" and "Age" not in headers, headers

    for key in (None, "nonsense", app["key"][:-1] + ("x" if app["key"][-1] != "x" else "y")):
        status, headers, _ = gateway.call(key)
        assert status == 401, (key, status, headers)
    assert gateway.call(auditor["key"])[0] == 403
    citadel.run("principal", "disable", "app", "--tenant", "acme")
    wait_until(lambda: gateway.call(app["key"])[0] == 401, "a disabled principal's keys are not valid", 30)
    citadel.run("principal", "enable", "app", "--tenant", "acme")
    wait_until(lambda: gateway.call(app["key"])[0] == 200, "an enabled one's are", 30)


def check_outage(citadel, daemon, gateway, app):
    """From memory at first, and then nobody knows: 503, never 401."""
    assert citadel.stop() == 0
    wait_until(lambda: int(gateway.call(app["key"])[1].get("X-Age", 0)) >= 3, "the age is told")
    seen = set()

    def unknown():
        answer = gateway.call(app["key"])
        seen.add(answer[0])
        return answer[0] == 503 and answer[1]["Retry-After"] == "1"
    wait_until(unknown, "it cannot be known any more")
    assert seen <= {200, 503}, seen
    status, headers = ask(daemon, app["key"])
    assert status == 503 and headers["Retry-After"], headers
    citadel.start()
    wait_until(lambda: gateway.call(app["key"])[0] == 200, "keys are followed again")


def main():
    with Citadel() as citadel:
        citadel.run("tenant", "create", "acme")
        app = new_key(citadel, "app", "gateway", "acme")
        auditor = new_key(citadel, "eve", "auditor", "acme")
        pepper = citadel.data / "access.pepper"
        with AuditDaemon(citadel, "second", f'[access]\npepper_file = "{pepper}"\nstale_max = "10s"') as daemon:
            with Gateway(daemon.folder, daemon) as gateway:
                check_let_through(citadel, daemon, gateway, app, auditor)
                check_outage(citadel, daemon, gateway, app)


os.umask(0o077)
main()
