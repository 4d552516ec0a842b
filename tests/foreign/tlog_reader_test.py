#!/usr/bin/env python3
"""A log that our code wrote is verified by Go's, from a folder and over HTTP with a key; a flipped byte in a tile, an
entry, the checkpoint or a cosignature, and another key, are refused by it."""
import functools
import http.server
import os
import pathlib
import random
import subprocess
import tempfile
import threading

READER, WRITER = os.environ["CITADEL_TLOG_READER"], os.environ["CITADEL_TLOG_WRITER"]
ENTRIES = 1 + 254 + 1 + 700 + 4000 + 3 + 77
KEY = "a key of the test"


def read(location, *keys, key=None):
    environment = {"CITADEL_TLOG_KEY": key} if key else {}
    return subprocess.run([READER, str(location), *keys], env=environment, capture_output=True, text=True, timeout=300)


def expect_verified(done):
    assert done.returncode == 0 and done.stdout == f"verified {ENTRIES} entries\n", done


def expect_refused(done, what):
    assert done.returncode == 1 and done.stdout == "" and what in done.stderr, (what, done)


def flip(file, at):
    """Flips a bit of one byte of the file, and gives what undoes it."""
    before = file.read_bytes()
    after = bytearray(before)
    after[at] ^= 1
    file.write_bytes(after)
    return lambda: file.write_bytes(before)


class Guarded(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self.send_error(401)
            return
        super().do_GET()

    def log_message(self, *_):
        pass


def main():
    with tempfile.TemporaryDirectory(prefix="citadel-tlog-") as folder:
        log = pathlib.Path(folder) / "tlog"
        log.mkdir()
        written = subprocess.run([WRITER, log], check=True, capture_output=True, text=True, timeout=120)
        log_key, witness_key = written.stdout.split()
        expect_verified(read(log, log_key))
        expect_verified(read(log, log_key, witness_key))

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Guarded, directory=folder))
        threading.Thread(target=server.serve_forever).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/tlog"
            expect_verified(read(url, log_key, witness_key, key=KEY))
            expect_refused(read(url, log_key), "401")
        finally:
            server.shutdown()
            server.server_close()

        # Any byte of what makes up the current tree.
        seed = int.from_bytes(os.urandom(4), "big")
        print("seed", seed)
        chance = random.Random(seed)
        last = f"{ENTRIES // 256:03}"
        for path in ["tile/0/000", "tile/0/011", f"tile/0/{last}.p/{ENTRIES % 256}", f"tile/1/000.p/{ENTRIES // 256}",
                     "tile/entries/000", f"tile/entries/{last}.p/{ENTRIES % 256}", "checkpoint"]:
            size = (log / path).stat().st_size
            for at in [0, size - 1, chance.randrange(size)]:
                undo = flip(log / path, at)
                expect_refused(read(log, log_key, witness_key), "tlog_reader: ")
                undo()
        for path in ["tile/0/007", "tile/entries/007"]:
            content = (log / path).read_bytes()
            (log / path).unlink()
            expect_refused(read(log, log_key), "no such file")
            (log / path).write_bytes(content)
        expect_refused(read(log, "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"), "no verifiable")
        expect_verified(read(log, log_key, witness_key))


if __name__ == "__main__":
    main()
