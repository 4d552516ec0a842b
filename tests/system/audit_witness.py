"""A witness of Go's code (tests/foreign/witness.go) as a process of a test."""
import os
import pathlib
import subprocess

from citadel_process import reserve_port

TOOLS = pathlib.Path(os.environ["CITADEL_TEST_TLOG_READER"]).parent


class Witness:
    """On 127.0.0.1; by https where it has the name of a certificate in `tls`."""

    def __init__(self, citadel, name, log_key, tls=None):
        self.folder = citadel.folder
        self.name, self.log_key, self.port, self.tls = name, log_key, reserve_port(), tls
        self.key_file, self.state = self.folder / f"{name}.key", self.folder / f"{name}.state"
        self.key = subprocess.run([TOOLS / "witness", "new", f"witness.example/{name}", self.key_file], check=True,
                                  capture_output=True, text=True, timeout=30).stdout.strip()
        self.start()

    def start(self):
        self.process = subprocess.Popen([TOOLS / "witness", "serve", self.key_file, self.log_key, self.state,
                                         f"127.0.0.1:{self.port}",
                                         *([f"{self.tls}.pem", f"{self.tls}.key"] if self.tls else [])],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().strip()
        assert self.url.startswith("https://" if self.tls else "http://"), self.url

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def size(self):
        return int(self.state.read_text().split()[0]) if self.state.exists() else 0


def cosignatures(checkpoint):
    return checkpoint.count("\n— witness.example/")
